"""How the arguments of a task are checked. Where the DAG is read, or in the task if Airflow renders them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_batch.airflow_compat import plain
from airflow_provider_batch.argument_checks import Check, is_template, path_text, wrong
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self


class Options:
    """A group of arguments, as a frozen dataclass. Airflow renders what is templated in it.

    :cvar checks: Of each field.
    :cvar templated: Fields that Airflow renders.
    """

    checks: ClassVar[Mapping[str, Check]]
    templated: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None) -> Self:
        """The options of an argument: themselves, a dict of their fields, or None for what is so by default."""
        if isinstance(given, cls):
            return given
        return cls(**given or {})  # type: ignore[arg-type]

    def rendered(self, render: Callable[[Any], Any]) -> Self:
        """The same with its templates rendered."""
        given = {name: getattr(self, name) for name in self.templated}
        return replace(self, **{name: render(value) for name, value in given.items() if value})  # type: ignore[type-var]


class CheckedArguments:
    """A task whose arguments are checked. A check's name is the attribute's.

    Attributes are what was given, until the task runs. Airflow's own class stands first among the bases: it takes
    the first one's ``__init__`` for that of the task.

    :cvar checks: Of this class. A template is left alone until it is rendered.
    :cvar rendered_checks: In place of those, for what a template gave.
    """

    checks: ClassVar[Mapping[str, Check]] = {}
    rendered_checks: ClassVar[Mapping[str, Check]] = {}
    template_fields: Collection[str]

    _pending: frozenset[str] = frozenset()

    def _check_given(self) -> None:
        """Check what is there when the DAG is read.

        :raises ConfigError: A value cannot be meant, or a template stands where nothing is rendered.
        """
        self._pending = frozenset(
            name for name in self.checks if name in self.template_fields and is_template(getattr(self, name))
        )
        for name, check in self.checks.items():
            value = getattr(self, name)
            if name in self._pending:
                ensure_jinja(argument(name), value)
            else:
                check(argument(name), value)

    def _checked(self) -> dict[str, Any]:
        """The checked values by attribute, after Airflow has rendered them.

        :raises ConfigError: A value cannot be meant.
        """
        values = {}
        for name, check in self.checks.items():
            if name in self._pending:
                check = self.rendered_checks.get(name, check)
            values[name] = check(argument(name), plain(getattr(self, name)))
        return values

    def _check_rendered(self) -> None:
        """Replace each attribute by its checked value, in the task.

        :raises ConfigError: A value cannot be meant.
        """
        for name, value in self._checked().items():
            setattr(self, name, value)


def argument(field: str) -> str:
    """The argument that an attribute holds: ``is_dry_run`` holds ``dry_run``, which Airflow has a method of."""
    return field.removeprefix("is_")


def rendered(content: Any, render: Callable[[Any], Any]) -> Any:
    """What Airflow makes of an argument. A path becomes text before, and options are rendered inside.

    :param render: Airflow's own way.
    """
    if isinstance(content, Options):
        return content.rendered(lambda value: render(path_text(value)))
    return render(path_text(content))


def options(kind: type[Options]) -> Check:
    """Options of that class, or a dict of its fields. None = all of them as they are by default.

    A template in it passes, as it is checked once more when Airflow has rendered it.
    """

    def check(name: str, value: Any) -> Options:
        if isinstance(value, Mapping) and (stray := [field for field in value if field not in kind.checks]):
            raise ConfigError(
                f"{name} has no option {stray[0]!r}.",
                code="AGB-C06",
                remedy=f"Its options are {', '.join(kind.checks)}.",
            )
        if not isinstance(value, kind | Mapping | None):
            raise wrong(name, f"{kind.__name__}(...)", value)
        given = kind.of(value)
        checked = {}
        for field, field_check in kind.checks.items():
            where, inner = f"{name}.{field}", getattr(given, field)
            if field in kind.templated and is_template(inner):
                ensure_jinja(where, inner)
                checked[field] = inner
            else:
                checked[field] = field_check(where, inner)
        return replace(given, **checked)  # type: ignore[type-var]

    return check


def ensure_one_knob(max_failed_fraction: float | None, fail_on_partial_error: bool) -> None:
    """Make sure that one argument says how many rows may fail.

    :raises ConfigError: Both do.
    """
    if max_failed_fraction is not None and fail_on_partial_error is True:
        raise ConfigError(
            "max_failed_fraction and fail_on_partial_error exclude each other.",
            code="AGB-C06",
            remedy="Leave one of them out. fail_on_partial_error=True is max_failed_fraction=0.",
        )


def ensure_waits(wait_for_completion: object, ready_by: object, at_timeout: object) -> None:
    """Make sure that a task which is to do something about late jobs waits for them.

    :raises ConfigError: It does not.
    """
    if wait_for_completion is not False or (ready_by is None and at_timeout not in ("cancel", "answer")):
        return
    what = "ready_by" if ready_by is not None else f"at_timeout={at_timeout!r}"
    raise ConfigError(
        f"{what} needs wait_for_completion=True: a task that has ended can do nothing about late jobs.",
        code="AGB-C06",
        remedy="Give ready_by and at_timeout to the GeminiBatchFetchResultsOperator that lands the results. Or "
        "leave wait_for_completion out.",
    )


def ensure_no_old_names(kind: str, given: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
    """Make sure that no argument has a name of the version before.

    :param kind: The operator's class, for the message.
    :raises ConfigError: One has. Names what took its place.
    """
    for name in renamed.keys() & given.keys():
        raise ConfigError(
            f"{kind} has no argument {name!r} any more.", code="AGB-C06", remedy=f"Use {renamed[name]}."
        )


def ensure_jinja(name: str, value: Any) -> None:
    """Make sure that a text is a Jinja template.

    :raises ConfigError: It is none, such as JSON whose braces are doubled.
    """
    if not isinstance(value, str):
        return
    import jinja2

    try:
        jinja2.Environment().parse(value)  # noqa: S701 (nothing is rendered)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"{name} cannot be rendered by Jinja: line {error.lineno}: {error.message}.",
            code="AGB-C13",
            remedy="Correct the template, or put text with {{ or {% between {% raw %} and {% endraw %}.",
        ) from None
