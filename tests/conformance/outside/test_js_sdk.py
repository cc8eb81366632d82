"""The JavaScript SDK on the emulator, and what docs say of the outside suites. See ``make test-conformance``."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from airflow_provider_batch.emulator import running_emulator
from tests.conformance.outside.exceptions import EXCEPTIONS

CHECKS = Path(__file__).with_name("js_sdk.mjs")
PAGE = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text()


@pytest.mark.skipif("JS_SDK" not in os.environ, reason="make test-conformance installs the JavaScript SDK")
def test_javascript_sdk_works_but_for_what_is_listed() -> None:
    with running_emulator() as emulator:
        command = ["node", "--test", "--test-reporter=spec", str(CHECKS)]
        ended = subprocess.run(command, env={**os.environ, "EMULATOR": emulator.base_url}, check=False)

    assert ended.returncode == 0


def test_page_lists_every_failure_of_googles_own_tests() -> None:
    assert [name for name in EXCEPTIONS if f"`{name.partition('::')[2]}`" not in PAGE] == []


def test_page_lists_every_failure_of_the_javascript_sdk() -> None:
    names = re.findall(r"  failing\('([^']+)'", CHECKS.read_text())

    assert len(names) == 4
    assert [name for name in names if name not in PAGE] == []
