"""The tables of ``make test-airflow`` and ``make test-distributed`` claim nothing of a test that was cut off."""

from __future__ import annotations

import re
from collections import Counter

from tests.distributed.report import Trial, slots, work
from tests.real_airflow.case import Figures, table

WHOLE = Figures("nothing happens", runs=1, creates=2, lost=0, unlanded=1, cancels=0, recovery_s=1.5)
CUT = Figures("a worker dies", runs=1, creates=0, lost=40, unlanded=0, cancels=0, recovery_s=None, ended=False)
CUT_LATER = Figures("nothing happens", 1, 0, 0, 0, 0, None, ended=False)


def trial(figures):
    return Trial(figures, wall_s=9, tries=1, executions=[], woken=Counter())


def lines(table):
    """The cells of each line below the heads."""
    return [re.split(" {2,}", line) for line in table.splitlines()[1:]]


def test_a_fault_whose_test_was_cut_off_has_no_figures():
    whole, cut = lines(table([WHOLE, CUT]))
    assert whole == ["nothing happens", "1", "2", "1", "0", "1", "0", "1.5"]
    assert cut == ["a worker dies (not ended)", *"-------"]


def test_a_fault_that_was_cut_off_once_has_no_sums():
    assert lines(table([WHOLE, CUT_LATER])) == [["nothing happens (not ended)", *"-------"]]


def test_partitions_that_were_cut_off_have_no_duplicates():
    whole, cut = lines(work([trial(WHOLE), trial(CUT)]))
    assert whole[:6] == ["nothing happens", "1", "9", "2", "1", "0"]
    assert cut == ["a worker dies (not ended)", *"-" * 12]
    assert lines(slots([trial(CUT)])) == []
