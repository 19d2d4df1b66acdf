"""The learning rate over a training: warm-up, both curves, and their ends."""

from __future__ import annotations

import itertools
import math

import pytest

pytest.importorskip("lightning", reason="needs gense[train]")

from gense.training.rates import rate_share


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_it_rises_to_one_and_falls_to_the_end(decay: str) -> None:
    shares = [rate_share(step, 110, warmup=10, final=0.1, decay=decay) for step in range(111)]
    assert shares[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert shares[10] == 1
    assert shares[110] == pytest.approx(0.1)
    assert shares[60] == pytest.approx(0.55)  # both curves pass the middle
    assert all(a > b for a, b in itertools.pairwise(shares[10:]))
    assert rate_share(500, 110, warmup=10, final=0.1, decay=decay) == pytest.approx(0.1)


def test_the_curves_differ() -> None:
    cosine, linear = (rate_share(25, 100, warmup=0, final=0.0, decay=decay) for decay in ("cosine", "linear"))
    assert linear == 0.75
    assert cosine == pytest.approx(0.5 + math.sqrt(0.5) / 2)


def test_without_an_end_or_with_all_left_nothing_decays() -> None:
    assert rate_share(10**6, math.inf, warmup=5, final=0.0) == 1
    assert rate_share(50, 100, warmup=5, final=1.0) == 1


def test_an_unknown_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="expected cosine or linear"):
        rate_share(0, 10, warmup=0, final=0.0, decay="square")  # type: ignore[arg-type]
