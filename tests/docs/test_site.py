"""The built site asks nobody else for anything, and the tests that its pages name exist."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.docs.blocks import PAGES, ROOT

loads = runpy.run_path(str(ROOT / "scripts" / "check_site.py"))["loads_from_elsewhere"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", '<script src="https://cdn.example/a.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/css">'),
        ("a.html", '<link rel="preconnect" href="https://fonts.example">'),
        ("a.html", '<img src="a.png" srcset="https://img.example/b.png 2x">'),
        ("a.html", '<p style="background: url(https://img.example/b.png)">'),
        ("a.html", '<iframe src="https://video.example"></iframe>'),
        ("a.css", "@font-face { src: url('https://fonts.example/a.woff2') }"),
        ("a.css", '@import "//fonts.example/css";'),
    ],
)
def test_what_a_page_fetches_from_elsewhere_is_found(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert len(list(loads(tmp_path))) == 1


def test_a_link_that_a_reader_may_follow_is_left_alone(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">a</a><img src="a.png"><script src="a.js"></script>'
    )
    assert list(loads(tmp_path)) == []


def test_every_test_that_a_page_names_exists():
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    # The page of conformance names tests of others; make test-conformance compares those with what runs.
    pages = [page for page in PAGES if page != "docs/conformance.md"]
    named = {name for page in pages for name in re.findall(r"`(test_[a-z_]+)`", (ROOT / page).read_text())}
    assert {name for name in named if f"def {name}(" not in written} == set()
    assert len(named) > 10
