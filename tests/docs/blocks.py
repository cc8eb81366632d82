"""The fenced blocks of README and docs, wherever they stand, and what runs them."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PAGES = [
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
]

_FENCE = re.compile(
    r"(?:^ *<!-- not run: (?P<why>[^\n]+) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_INCLUDED = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)


class Block(NamedTuple):
    """A fenced block.

    :param number: From 0, among the blocks of its language on its page.
    :param not_run: Why no test runs it, from the comment above it; empty if one must.
    """

    page: str
    language: str
    number: int
    source: str
    not_run: str

    @property
    def place(self) -> str:
        """What a failing test says."""
        return f"{self.page}, {self.language} block {self.number}"

    @property
    def included(self) -> list[str]:
        """Files of the repository that the site puts in its place."""
        return _INCLUDED.findall(self.source)


def blocks_of(page: str) -> list[Block]:
    """All blocks of a page."""
    counts: dict[str, int] = {}
    found = []
    for fence in _FENCE.finditer((ROOT / page).read_text()):
        language = fence["language"]
        number = counts.get(language, 0)
        counts[language] = number + 1
        found.append(Block(page, language, number, textwrap.dedent(fence["body"]), fence["why"] or ""))
    return found


ALL = [block for page in PAGES for block in blocks_of(page)]


def block(page: str, language: str, number: int) -> str:
    """The source of one block."""
    (found,) = [one for one in ALL if one[:3] == (page, language, number)]
    return found.source


def commands(one: Block) -> list[list[str]]:
    """The commands of a block, split as a shell does, without prompts and comments."""
    lines = one.source.replace("\\\n", " ").splitlines()
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [words for words in split if words]
