"""The page about troubleshooting has each code of the source, once, and no other."""

from __future__ import annotations

import re

from tests.docs.blocks import PAGES, ROOT

PAGE = "docs/troubleshooting.md"
CODE = re.compile(r"AGB-[A-Z0-9]+")
WHOLE_CODE = re.compile(r"AGB-(?:[A-Z]\d\d|ACK)")


def codes_of_the_source() -> set[str]:
    return {
        code for path in (ROOT / "airflow_provider_batch").rglob("*.py") for code in CODE.findall(path.read_text())
    }


def entries() -> list[tuple[str, list[str]]]:
    rows = re.findall(r"^\| `(AGB-[A-Z0-9]+)` \| (.*) \|$", (ROOT / PAGE).read_text(), re.MULTILINE)
    return [(code, cells.split(" | ")) for code, cells in rows]


def test_every_code_of_the_source_has_one_entry_and_every_entry_is_in_the_source():
    assert sorted(code for code, _ in entries()) == sorted(codes_of_the_source())


def test_every_entry_says_what_it_means_and_what_to_do():
    assert [code for code, cells in entries() if len(cells) < 2 or not all(cell.strip() for cell in cells)] == []


def test_every_family_says_what_happened_to_jobs_and_money():
    text = (ROOT / PAGE).read_text()
    families = {code[4] for code, _ in entries()}
    for family in families:
        section = text.split(f"\n## {family}: ", 1)[1].split("\n## ", 1)[0]
        assert re.search(r"jobs and money|[Nn]othing|billed|never created twice", section), family


def test_every_code_that_a_page_names_exists():
    known = codes_of_the_source()
    named = {(page, code) for page in PAGES for code in WHOLE_CODE.findall((ROOT / page).read_text())}
    assert {pair for pair in named if pair[1] not in known} == set()
