"""The fault matrix in short, and proof that each case notices the bug that it guards against."""

from __future__ import annotations

import pytest

from faults.__main__ import run_case, seeds_of
from faults.cases import CASES
from faults.plants import PLANTS

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_nothing_is_paid_twice_and_nothing_is_lost_when(case):
    tally = run_case(case, seeds_of(case, 2, seed=7_000))
    assert tally.broken == []


@pytest.mark.parametrize(("plant", "name"), PLANTS.items(), ids=[plant.__name__ for plant in PLANTS])
def test_the_harness_notices_a_worker_that(plant, name):
    case = BY_NAME[name]
    for seed in seeds_of(case, 30, seed=9_000):
        if run_case(case, [seed], plant).broken:
            return
    pytest.fail(f"{name!r} does not notice it")
