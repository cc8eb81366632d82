"""The one error tree.

::

    BatchError
    ├── NothingSpentError            found before a paid call. Repeating the task costs nothing
    │   ├── ConfigError              connection or task parameters
    │   │   ├── NoConnectionError    no connection of that name
    │   │   └── ModelKindError       a model of the other kind: vectors are asked for, or text
    │   ├── InputError               the input file or a row of it
    │   │   └── EmptyInputError      no row at all
    │   ├── FileNotReadyError        the uploaded file never became usable
    │   └── SubmitRefusedError       the create call had no effect
    ├── TemporaryError               something that failed this time and may work the next
    ├── LedgerError                  the record of what was sent cannot be used. Nothing was sent or cancelled
    ├── StorageError                 a disk or an object store failed
    ├── SupersededError              another try of the same task has taken over
    ├── SubmitUnknownError           a create call with an unknown outcome: a job may exist
    ├── AnswerLostError              a single call whose answer did not arrive: it may be billed
    ├── ApiError                     the API answered a call with an error
    │   ├── AuthError                401 or 403
    │   ├── NotFoundError            404
    │   └── QuotaError               429
    ├── ApiUnreachableError          no answer at all: connection, TLS, timeout
    ├── ProtocolError                an answer that is not what the API's reference describes
    └── JobError                     a job exists and did not give usable results
        ├── JobFailedError           the API ended the job as failed
        ├── JobExpiredError          the API gave up after 48 h
        ├── JobCancelledError        a person or a program cancelled the job
        ├── JobTimeoutError          our own deadline passed. The job still runs
        ├── JobUnreadableError       the job cannot be asked about any more. It may still run
        ├── ResultsNotReadyError     the job ended and its results are not there (yet)
        └── PartialResultsError      landed, but more rows failed than the task allows

The line that matters runs between :class:`NothingSpentError` and the rest: above it nothing was paid for.
Messages have four parts: what is wrong, where, what happens to the job and the money, what to do next.
The facts are attributes as well. No message ever holds a credential or the content of a row.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_batch.redaction import blanked

FINAL = frozenset(
    {"AGB-C05", "AGB-C06", "AGB-C13", "AGB-C14", "AGB-S09", "AGB-J03", "AGB-R02"}
    | {"AGB-T01", "AGB-T02", "AGB-T03", "AGB-T04"}
)
"""Codes of errors that stay until a person does something about them. The code that raises one may know better."""

PASSING = frozenset({"AGB-I06", "AGB-I08", "AGB-I12", "AGB-I18", "AGB-I22", "AGB-I25"})
"""Findings in rows that may pass: files that are still being written or copied, functions that ask a service."""


PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass by themselves."""

FOREIGN = frozenset({"AGB-A01", "AGB-A06"})
"""Codes of answers that are not the API's: a proxy's page in its place may pass, too."""


class BatchError(Exception):
    """Anything this package raises on purpose.

    :param message: What is wrong and where, one sentence, without a credential or row content.
    :param code: Stable identifier to search for, such as ``AGB-I14``. Empty where none is assigned.
    :param remedy: What to do next, one sentence.
    :ivar is_final: Another try of the task would end the same way, as far as is known.
    """

    def __init__(self, message: str, *, code: str = "", remedy: str = "") -> None:
        # The words of others, which may hold a key, come into an error by many ways.
        self.message = message = blanked(message)
        self.is_final = code in FINAL
        self.code = code
        self.remedy = remedy
        # Others' words at the end of a message may have no full stop.
        text = f"{message}." if remedy and message and message[-1] not in ".!?:\n" else message
        # Bad rows have lines of their own. What to do next begins a new one.
        end = f"{text}{remedy}" if text.endswith("\n") else " ".join(part for part in (text, remedy) if part)
        super().__init__(" ".join(part for part in (code, end) if part))

    @property
    def may_pass(self) -> bool:
        """The same may work a little later, with nothing changed by a person."""
        return False


class NothingSpentError(BatchError):
    """Raised before any paid call: fix the cause and run the task again, it costs nothing."""


class ConfigError(NothingSpentError):
    """A connection or a task parameter that cannot work."""


class NoConnectionError(ConfigError):
    """There is no Airflow connection of that name."""


class ModelKindError(ConfigError):
    """A model of the other kind: vectors are asked for and it gives text, or the other way round."""


class BudgetError(NothingSpentError):
    """A batch that may cost more than it is allowed to, or whose cost is not known."""


class BadRow(NamedTuple):
    """A row that cannot be sent.

    :param place: Where it is, such as ``line 3``, with its file if the input is more than one.
    :param key: Its key as it is shown, empty if there is none that can be read.
    :param code: As that of an error.
    :param what: What is wrong with it, and mostly what to do about it.
    """

    place: str
    key: str
    code: str
    what: str

    @property
    def in_words(self) -> str:
        """What is wrong, and where, in a line."""
        return f"{self.code} {self.at}: {self.what}{'' if self.what.endswith(('.', '?')) else '.'}"

    @property
    def at(self) -> str:
        """Where it is, with its key if it has one that can be read."""
        return f"{self.place} (key {self.key})" if self.key else self.place


class InputError(NothingSpentError):
    """An input that cannot be sent.

    :param message: The finding, or the findings, each with file, line and key.
    :param source: The input's URI or path.
    :param line: 1-based line of the first finding, None if the whole file is meant.
    :param rows: The first bad rows, none if the whole input is meant.
    :param bad_rows: How many there are.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str,
        line: int | None = None,
        code: str = "",
        remedy: str = "",
        rows: tuple[BadRow, ...] = (),
        bad_rows: int = 0,
    ) -> None:
        self.source = source
        self.line = line
        self.rows = rows
        self.bad_rows = bad_rows
        super().__init__(message, code=code, remedy=remedy)
        # One row that cannot be sent the next time either is enough.
        self.is_final = any(row.code not in PASSING for row in rows)

    def in_one_line(self) -> InputError:
        """The same for a log that has the bad rows on lines of their own already."""
        if not self.rows:
            return self
        count = "1 bad row" if self.bad_rows == 1 else f"{self.bad_rows} bad rows, the first"
        return InputError(
            f"{self.source} has {count} at {self.rows[0].at}.",
            source=self.source,
            line=self.line,
            code=self.code,
            remedy=self.remedy,
            rows=self.rows,
            bad_rows=self.bad_rows,
        )


class EmptyInputError(InputError):
    """An input without a row."""


class FileNotReadyError(NothingSpentError):
    """An uploaded file that the server could not process, or not in time.

    :param file_name: The file, ``files/...``.
    """

    def __init__(self, message: str, *, file_name: str, code: str = "", remedy: str = "") -> None:
        self.file_name = file_name
        super().__init__(message, code=code, remedy=remedy)


class SubmitRefusedError(NothingSpentError):
    """The create call had no effect: the API said no, or the request never left. No job exists.

    :param cause: The API's answer, or what kept the request from leaving.
    """

    def __init__(self, message: str, *, cause: BatchError, code: str = "", remedy: str = "") -> None:
        self.cause = cause
        super().__init__(message, code=code, remedy=remedy)


class TemporaryError(BatchError):
    """Something that failed this time and may work the next. Nothing was sent."""

    @property
    def may_pass(self) -> bool:
        """Always."""
        return True


class TrialError(BatchError):
    """The rows of a trial have too few usable answers. No batch was sent. The trial itself was paid for."""


class LedgerError(BatchError):
    """The ledger is unreadable, damaged, of a newer version or of another owner. Nothing was sent or cancelled."""


class StorageError(BatchError):
    """A disk or an object store did not take or give a file. What was paid for is where it was."""


class SupersededError(BatchError):
    """Another try of the same task instance works on it, so this one sent nothing and lets go."""


class SubmitUnknownError(BatchError):
    """A create call was sent and its outcome is unknown: a job may exist, nothing was sent again.

    :param display_name: The name under which the job can be found if it exists.
    """

    def __init__(self, message: str, *, display_name: str, code: str = "", remedy: str = "") -> None:
        self.display_name = display_name
        super().__init__(message, code=code, remedy=remedy)


class AnswerLostError(BatchError):
    """The answer to a single call did not arrive or cannot be read. It may be billed, and is not asked for again.

    :param cause: What was seen in its place.
    """

    def __init__(self, message: str, *, cause: BatchError, code: str = "", remedy: str = "") -> None:
        self.cause = cause
        super().__init__(message, code=code, remedy=remedy)

    @property
    def may_pass(self) -> bool:
        """As what was seen in its place."""
        return self.cause.may_pass


class ApiError(BatchError):
    """The API answered a call with an error.

    :param call: What was asked, such as ``get batches/abc``.
    :param http_status: HTTP status code.
    :param rpc_status: google.rpc status name such as ``RESOURCE_EXHAUSTED``. Empty if the body had none.
    :param detail: The server's own message.
    :param reason: ``google.rpc.ErrorInfo.reason`` such as ``API_KEY_INVALID``. Empty if absent.
    :param retry_after_s: The server's hint in seconds, None if it gave none.
    """

    def __init__(
        self,
        *,
        call: str,
        http_status: int,
        rpc_status: str = "",
        detail: str = "",
        reason: str = "",
        retry_after_s: float | None = None,
        remedy: str = "",
    ) -> None:
        self.call = call
        self.http_status = http_status
        self.rpc_status = rpc_status
        self.detail = detail = blanked(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s
        hint = f" The server asks to wait {retry_after_s:g} s." if retry_after_s is not None else ""
        status = f"{http_status} {rpc_status}".strip()
        text = f": {detail.strip()}" if detail.strip() else "."
        super().__init__(f"The Gemini API answered {call} with {status}{text}{hint}", remedy=remedy)

    @property
    def may_pass(self) -> bool:
        """By its HTTP status."""
        return self.http_status in PASSING_STATUSES


class AuthError(ApiError):
    """401 or 403: the credential is missing, wrong, or may not see this file or job."""


class NotFoundError(ApiError):
    """404: the file, job or model does not exist."""


class QuotaError(ApiError):
    """429: a rate, storage or queued-token limit of the project."""


class ApiUnreachableError(BatchError):
    """No answer: the connection failed, broke or timed out.

    :param call: What was asked.
    :param was_sent: False only if it is certain that no byte of the request left this machine.
    """

    def __init__(self, *, call: str, reason: str, was_sent: bool) -> None:
        self.call = call
        self.was_sent = was_sent
        super().__init__(
            f"No answer from the Gemini API to {call}: {reason}.",
            remedy="Check the connection's host, DNS, proxies and firewalls.",
        )
        self._is_distrust = "CERTIFICATE_VERIFY_FAILED" in reason

    @property
    def may_pass(self) -> bool:
        """Unless the certificate of the other side is not trusted: a person decides about that."""
        return not self._is_distrust


class ProtocolError(BatchError):
    """An answer that is not what the API's reference describes, such as HTML from a captive proxy."""

    @property
    def may_pass(self) -> bool:
        """If it is not the API's at all."""
        return self.code in FOREIGN


class JobError(BatchError):
    """A job exists and did not give usable results.

    :param job_name: The job, ``batches/...``.
    """

    def __init__(self, message: str, *, job_name: str, code: str = "", remedy: str = "") -> None:
        self.job_name = job_name
        super().__init__(message, code=code, remedy=remedy)


class JobFailedError(JobError):
    """The API ended the job as failed."""


class JobExpiredError(JobError):
    """The API gave up on the job: it was pending or running for more than 48 h."""


class JobCancelledError(JobError):
    """The job was cancelled before it finished."""


class JobTimeoutError(JobError):
    """Our own deadline passed. The job was left alone and still runs."""


class JobUnreadableError(JobError):
    """The job cannot be asked about any more. It was left alone and may still run."""


class ResultsNotReadyError(JobError):
    """Rows of an ended job are finished, and their results are not there, or what is there cannot be believed."""

    @property
    def may_pass(self) -> bool:
        """They may come a little later."""
        return True


class PartialResultsError(JobError):
    """Results were landed, but more rows failed than the task was told to accept."""
