"""Every vector of the wire reference has a test that says so: a comment ``# T12`` behind the test's head."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
VECTORS = 50


def test_every_vector_has_a_test():
    heads = [
        line for file in TESTS.rglob("test_*.py") for line in file.read_text().splitlines() if "  # T" in line
    ]
    named = {int(number) for head in heads for number in re.findall(r"\bT(\d+)\b", head.partition("  # ")[2])}
    assert named == set(range(1, VECTORS + 1))
