"""Makes sure that the built site loads nothing from anywhere else: no script, style, font, picture or frame.

Usage: check_site.py FOLDER
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
LOADING_RELATIONS = {
    "stylesheet",
    "preload",
    "preconnect",
    "dns-prefetch",
    "prefetch",
    "icon",
    "modulepreload",
    "manifest",
}
IN_STYLES = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")]+)")


class _Loads(HTMLParser):
    """Collects the addresses that a browser fetches by itself. A link that a reader may follow is none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        has = {name: value or "" for name, value in attrs}
        if tag in LOADED:
            self.found += [has.get(LOADED[tag], ""), *has.get("srcset", "").split()]
        if tag == "link" and LOADING_RELATIONS & set(has.get("rel", "").split()):
            self.found.append(has.get("href", ""))
        self.found += IN_STYLES.findall(has.get("style", ""))


def loads_from_elsewhere(folder: Path) -> Iterator[str]:
    """What the pages and styles of a folder fetch from another host."""
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".html":
            page = _Loads()
            page.feed(file.read_text())
            found = page.found
        elif file.suffix == ".css":
            found = IN_STYLES.findall(file.read_text())
        else:
            continue
        yield from (f"{file}: {address}" for address in found if re.match(r"(?:https?:)?//", address))


def main(folder: Path) -> int:
    """Print what is wrong; 0 if nothing is."""
    pages = len(list(folder.rglob("*.html")))
    found = list(loads_from_elsewhere(folder))
    sys.stdout.write("".join(f"fetched from elsewhere: {one}\n" for one in found))
    sys.stdout.write(f"{pages} pages in {folder}, {len(found)} addresses are fetched from elsewhere.\n")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
