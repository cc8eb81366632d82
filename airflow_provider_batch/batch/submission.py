"""What a task that does not wait hands on to those who do."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.manifest import wrong_fields


class Submission(BaseModel):
    """The jobs of a batch and where its ledger is: small, JSON, free of secrets.

    :param job_name: The first job, ``batches/...``.
    :param job_names: All of them.
    :param result_path: Folder for the results.
    :param ledger: The ledger, from which the results are landed.
    :param request_count: Rows sent.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_name: str
    job_names: tuple[str, ...] = ()
    model: str
    result_path: str
    ledger: str
    request_count: int
    submitted_at: datetime | None = None

    def to_xcom(self) -> dict[str, object]:
        """Plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def load(cls, source: object) -> Submission:
        """Read back what :meth:`to_xcom` gave.

        :raises ConfigError: It is not a submission.
        """
        try:
            return cls.model_validate(source)
        except ValidationError as error:
            raise ConfigError(
                f"This is not what a task returns that only submits ({wrong_fields(error)}).",
                code="AGB-C08",
                remedy="Pass the output of a task with wait_for_completion=False.",
            ) from None
