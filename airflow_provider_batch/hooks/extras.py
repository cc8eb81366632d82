"""Values of the extra of a connection."""

from __future__ import annotations

from airflow_provider_batch import argument_checks
from airflow_provider_batch.errors import ConfigError


def count(extra: dict[str, object], name: str) -> int | None:
    """A whole number above 0, None if it is not there.

    :raises ConfigError: It is something else.
    """
    value = extra.get(name)
    if value in (None, ""):
        return None
    if not str(value).isdigit() or int(str(value)) == 0:
        raise ConfigError(
            f"The extra {name} must be a whole number above 0.",
            code="AGB-C02",
            remedy="Correct the extra in the connection form.",
        )
    return int(str(value))


def choice(extra: dict[str, object], name: str, values: tuple[str, ...]) -> str:
    """One of these words, the first if it is not there.

    :raises ConfigError: It is something else.
    """
    value = extra.get(name) or values[0]
    if value not in values:
        raise ConfigError(
            f"The extra {name} must be one of {', '.join(values)}.",
            code="AGB-C02",
            remedy="Correct the extra in the connection form.",
        )
    return str(value)


def flag(extra: dict[str, object], name: str) -> bool:
    """Yes or no, no if it is not there.

    :raises ConfigError: It is something else.
    """
    value = extra.get(name)
    if value in (None, ""):
        return False
    try:
        return argument_checks.flag(name, value)
    except ConfigError:
        raise ConfigError(
            f"The extra {name} must be true or false.",
            code="AGB-C02",
            remedy="Correct the extra in the connection form.",
        ) from None
