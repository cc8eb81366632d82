"""No type of httpx is in a public signature: users may pass and get values of ours, Airflow's and Python's only.

What is read: the annotations of parameters, results and fields of all functions and classes whose names have no
underscore, in every module but ``gemini/client/transport.py``, which makes requests and reads answers for the two
clients. A name for a type and a class below one count as the type, in whatever module they are made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_batch

PACKAGE = Path(airflow_provider_batch.__file__).parent
INTERNAL = "airflow_provider_batch.gemini.client.transport"
SPECIAL = {"__init__", "__call__", "__enter__", "__aenter__", "__iter__", "__exit__"}
TREES = {
    str(path.relative_to(PACKAGE.parent).with_suffix("")).replace("/", ".").removesuffix(".__init__"): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in PACKAGE.rglob("*.py")
}

Names = dict[str, set[str]]


def test_no_public_signature_has_a_type_of_httpx():
    foreign = foreign_names(TREES)
    found = [
        f"{module}: {place}"
        for module, tree in TREES.items()
        if module != INTERNAL
        for place in signatures_with(tree, foreign[module])
    ]
    assert found == []


def test_the_module_that_is_left_out_would_be_found():
    assert "api_date" in signatures_with(TREES[INTERNAL], foreign_names(TREES)[INTERNAL])


@pytest.mark.parametrize(
    "code",
    [
        "import httpx\ndef ask(client: httpx.Client) -> None: ...",
        "from httpx import Response as Answer\ndef ask() -> list[Answer]: ...",
        "if TYPE_CHECKING:\n    import httpx\nclass Asks:\n    http: httpx.Client",
        "import httpx\nclass Asks:\n    def __init__(self, *, http: 'httpx.Client | None' = None) -> None: ...",
        "from airflow_provider_batch.other import Taken\nasync def ask() -> Taken: ...",
        "import httpx\nclass Lost(httpx.TransportError): ...\ndef ask() -> Lost: ...",
    ],
    ids=["parameter", "result", "field", "text in a constructor", "name made elsewhere", "class below"],
)
def test_such_a_type_is_found_wherever_it_stands(code):
    other = "import httpx\nTaken = httpx.Response | None"
    trees = {"airflow_provider_batch.other": ast.parse(other), "airflow_provider_batch.new": ast.parse(code)}
    assert [
        *signatures_with(trees["airflow_provider_batch.new"], foreign_names(trees)["airflow_provider_batch.new"])
    ]


def test_a_private_function_may_have_such_a_type():
    tree = ast.parse("import httpx\ndef _ask(client: httpx.Client) -> None: ...")
    assert not [*signatures_with(tree, {"httpx"})]


def foreign_names(trees: dict[str, ast.Module]) -> Names:
    """What httpx and its types are called in each module; repeated until no module learns another name."""
    names: Names = {module: set() for module in trees}
    size = -1
    while size != (size := sum(map(len, names.values()))):
        for module, tree in trees.items():
            names[module] |= set(_bound(tree, names))
    return names


def _bound(tree: ast.Module, names: Names) -> Iterator[str]:
    known: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {one.asname or "httpx" for one in node.names if one.name.partition(".")[0] == "httpx"}
        elif isinstance(node, ast.ImportFrom):
            theirs = names.get(node.module or "", set())
            is_httpx = (node.module or "").partition(".")[0] == "httpx"
            known |= {one.asname or one.name for one in node.names if is_httpx or one.name in theirs}
    yield from known
    for node in tree.body:
        # Only a name for a type: an instance at the top of a module is none.
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call) and mentions(node.value, known):
            yield from (one.id for one in node.targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.ClassDef) and any(mentions(base, known) for base in node.bases):
            yield node.name


def signatures_with(tree: ast.Module, foreign: set[str]) -> Iterator[str]:
    """The public functions and fields whose annotations hold one of the names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (f"{node.name}.{place}" for place in _in_body(node.body, foreign))
    yield from _in_body([node for node in tree.body if not isinstance(node, ast.AnnAssign)], foreign)


def _in_body(body: list[ast.stmt], foreign: set[str]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given += [one for one in (node.args.vararg, node.args.kwarg) if one]
            annotations = [*(one.annotation for one in given), node.returns]
            is_public = node.name in SPECIAL or not node.name.startswith("_")
            if is_public and any(mentions(one, foreign) for one in annotations if one):
                yield node.name
        elif isinstance(node, ast.AnnAssign) and mentions(node.annotation, foreign):
            name = ast.unparse(node.target)
            if not name.startswith("_"):
                yield name


def mentions(expression: ast.expr, names: set[str]) -> bool:
    """One of the names is in it, also where it is written as a text."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id in names:
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inside = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                continue
            if not isinstance(inside, ast.Constant) and mentions(inside, names):
                return True
    return False
