"""Worker processes: results, failures, deaths, and that they end."""

from __future__ import annotations

import os
import time

import pytest

from gense.evaluation.workers import Failed, outcomes
from tests.evaluation.light import forever, half, process_and_threads


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_has_its_result_or_its_reason(workers: int):
    found = dict(outcomes(half, range(12), workers))
    assert {item: result for item, result in found.items() if not item % 2} == {n: n // 2 for n in range(0, 12, 2)}
    assert found[5] == Failed("5 is odd")
    assert len(found) == 12


def test_a_process_that_dies_costs_its_item_and_is_replaced():
    found = dict(outcomes(half, [2, 13, 4, 6, 13 + 1, 8], 2))
    assert found.pop(13) == Failed("the process that worked on it died (exit status 7)")
    assert found == {2: 1, 4: 2, 6: 3, 14: 7, 8: 4}
    assert dict(outcomes(half, [13], 2))[13].reason.endswith("(exit status 7)")


def test_processes_are_kept_and_have_one_thread_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    found = [result for _, result in outcomes(process_and_threads, range(6), 2)]
    assert len({process for process, _ in found}) == 2
    assert {threads for _, threads in found} == {"1"}
    assert os.getpid() not in {process for process, _ in found}
    assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_package_ends_the_whole(workers: int):
    with pytest.raises(ImportError, match="nothing is not installed"):
        list(outcomes(half, [1000, 2, 4], workers))


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(ValueError, match="workers=2: a metric cannot be sent"):
        list(outcomes(lambda item: item, [1], 2))


def test_leaving_early_ends_processes_that_are_still_at_work():
    start = time.monotonic()
    for item, _ in outcomes(forever, [0, 1, 2], 2):
        assert item == 0
        break
    assert time.monotonic() - start < 60
