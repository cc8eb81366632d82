"""How the pages and the docstrings read: lengths of sentences, semicolons, words to avoid. A report, not a gate.

Without arguments it prints a line for each page and for each room's docstrings. With the names of pages or modules
it prints their long sentences.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_batch"

LONG, VERY_LONG = 20, 30
"""Words of a sentence that is long, and of one that is too long."""

AVOIDED = re.compile(r"\b(whoever|whatever|somebody|nobody|anybody|such|of which)\b", re.IGNORECASE)
NESTED = re.compile(r"\([^()]*\([^()]*\)[^()]*\)")


def main(pages: list[str]) -> None:
    """Print the report, or what it is made of for some pages."""
    if pages:
        for page in pages:
            explain(Path(page))
        return
    print(f"{'':38} words  sentences  > {LONG} words  > {VERY_LONG} words  ; per 100  avoided")
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        show(str(page.relative_to(ROOT)), list(sentences(markdown(page.read_text(encoding="utf-8")))))
    for room in sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}):
        files = sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / room]
        texts = (text for file in files for text in docstrings(file))
        show(f"docstrings of {room}", [one for text in texts for one in sentences(text)])


def show(name: str, said: list[str]) -> None:
    """Print the line of one page or room."""
    if not said:
        return
    lengths = [len(one.split()) for one in said]
    long, very_long = (sum(length > most for length in lengths) / len(said) for most in (LONG, VERY_LONG))
    semicolons = 100 * sum(one.count(";") for one in said) / len(said)
    avoided = sum(len(AVOIDED.findall(one)) for one in said)
    print(
        f"{name:38} {sum(lengths):5} {len(said):10} {long:11.0%} {very_long:11.0%} {semicolons:10.0f} {avoided:8}"
    )


def explain(page: Path) -> None:
    """Print what should be read once more, the longest sentence first."""
    text = page.read_text(encoding="utf-8")
    said = (
        sentences(markdown(text)) if page.suffix == ".md" else (s for d in docstrings(page) for s in sentences(d))
    )
    for one in sorted(said, key=lambda one: -len(one.split())):
        reasons = [f"{len(one.split())} words"] if len(one.split()) > LONG else []
        reasons += [";"] if ";" in one else []
        reasons += AVOIDED.findall(one)
        reasons += ["a parenthesis in a parenthesis"] if NESTED.search(one) else []
        if reasons:
            print(f"{page} [{', '.join(reasons)}] {one}")


def markdown(text: str) -> str:
    """The prose of a page: no code, no headings; each list item and each cell of a table is a paragraph."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^#.*$|^\|[-:| ]+\|$|^!!!.*$|^--8<--.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\|", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"(?<!\\)\|", "\n\n", text)
    text = re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|\[\^\w+\]", "", text)


def docstrings(file: Path) -> Iterator[str]:
    """Docstrings of a file, each field a paragraph of its own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            text = re.sub(
                r"^\s*:(param|return|raises|ivar|cvar)\b[^:]*: ?", "\n\n", node.value.value, flags=re.MULTILINE
            )
            yield re.sub(r":\w+:`~?([^`]*)`", r"\1", text)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without what is code in them. Code may begin a sentence, but not after a colon."""
    text = re.sub(r"``[^`]*``|`[^`]*`", "`code`", text)
    for paragraph in re.split(r"\n\s*\n", text):
        for one in re.split(r"(?<=[.!?:])\s+(?=[A-Z*\"(])|(?<=[.!?])\s+(?=`)", " ".join(paragraph.split())):
            if any(character.isalpha() for character in one):
                yield one


if __name__ == "__main__":
    main(sys.argv[1:])
