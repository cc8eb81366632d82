"""The sizes that ``docs/architecture.md`` states are those of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "airflow_provider_batch"
FILES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, str, Function]]:
    """Each function with its file and its class."""
    for file, text in FILES.items():
        for owner in ast.walk(ast.parse(text)):
            if isinstance(owner, ast.Module | ast.ClassDef | Function):
                for inner in owner.body:
                    if isinstance(inner, Function):
                        yield file, getattr(owner, "name", ""), inner


def code_lines(function: Function) -> int:
    """Lines without the docstring."""
    first = function.body[0]
    is_documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def parameters(function: Function) -> int:
    """How many arguments a caller may give by name or place."""
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return sum(one.arg not in ("self", "cls") for one in given)


def is_public(file: str, owner: str, function: Function) -> bool:
    is_overload = any(getattr(one, "id", "") == "overload" for one in function.decorator_list)
    return not function.name.startswith("_") and not owner.startswith("_") and not is_overload


FIGURES = {
    "the longest file, in lines": max(text.count("\n") for text in FILES.values()),
    "files of at most 400 lines": sum(text.count("\n") <= 400 for text in FILES.values()) / len(FILES),
    "functions of at most 40 lines": (
        sum(code_lines(one) <= 40 for _, _, one in functions()) / sum(1 for _ in functions())
    ),
    "public functions with a docstring": (
        sum(ast.get_docstring(one) is not None for file, owner, one in functions() if is_public(file, owner, one))
        / sum(is_public(*one) for one in functions())
    ),
    "functions of more than six parameters": sum(
        parameters(one) > 6 for _, _, one in functions() if one.name != "__init__"
    ),
    "`Any` in 1,000 lines": (
        1000
        * sum(len(re.findall(r"\bAny\b", text)) for text in FILES.values())
        / sum(text.count("\n") for text in FILES.values())
    ),
}


@pytest.mark.parametrize(
    ("figure", "least", "most"),
    [
        ("the longest file, in lines", 0, 400),
        ("files of at most 400 lines", 1.0, 1.0),
        ("functions of at most 40 lines", 0.99, 1.0),
        ("public functions with a docstring", 0.95, 1.0),
        ("functions of more than six parameters", 0, 10),
        ("`Any` in 1,000 lines", 0, 10),
    ],
)
def test_the_package_keeps_to_its_sizes(figure, least, most):
    assert least <= FIGURES[figure] <= most
    assert f"| {figure} |" in (ROOT / "docs/architecture.md").read_text()
