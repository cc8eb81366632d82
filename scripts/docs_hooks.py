"""What mkdocs does beyond Markdown: pages from the root of the repository, and links that lead out of docs/."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

FROM_ROOT = {"readme.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Pages of the site that are written for the repository."""

EXAMPLES = "example_dags/gemini_batch_"
LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\]]*\][^\[\]]*)*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from the root. Their badges are pictures of another host, so they stay out."""
    for page, source in FROM_ROOT.items():
        text = (ROOT / source).read_text()
        text = re.sub(r"^\[!\[.*\n", "", text, flags=re.MULTILINE)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository into links to pages, or into their text where there is no page."""
    uri = page.file.src_uri
    source = FROM_ROOT.get(uri, f"docs/{uri}")

    def turned(link: re.Match[str]) -> str:
        sign, text, target = link.groups()
        if re.match(r"[a-z]+:|#", target):
            return link.group()
        path, _, anchor = target.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (ROOT / wanted).exists():
            return link.group()  # mkdocs says so
        place = place_of(wanted)
        if place is None or place == uri:
            return text
        relative = posixpath.relpath(place, posixpath.dirname(uri) or ".")
        return f"{sign}[{text}]({relative}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if n % 2 else LINK.sub(turned, part) for n, part in enumerate(parts))


def place_of(path: str) -> str | None:
    """The page that shows a file of the repository."""
    pages = {source: page for page, source in FROM_ROOT.items()}
    if path in pages:
        return pages[path]
    if path == "docs/decisions":
        return sorted(f"decisions/{file.name}" for file in (ROOT / path).glob("*.md"))[0]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith(EXAMPLES):
        return f"how-to/{path.removeprefix(EXAMPLES).removesuffix('.py').replace('_', '-')}.md"
    return None


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Docstrings are written for Sphinx, too: its roles are no words."""
    return re.sub(r":(?:class|func|meth|mod|data|attr):(?=<code>)", "", html)
