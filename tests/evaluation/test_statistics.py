"""Intervals hold the truth as often as they say, and p-values are what a true null hypothesis makes of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gense.evaluation.statistics import any_better, compare, interval, rate, student_quantile


@pytest.mark.parametrize(
    ("draw", "truth", "files", "tolerance"),
    [
        pytest.param(lambda rng, n: rng.normal(3, 2, n), 3.0, 30, 0.025, id="normal"),
        pytest.param(lambda rng, n: rng.normal(3, 2, n), 3.0, 10, 0.025, id="normal, few files"),
        pytest.param(lambda rng, n: rng.exponential(1.0, n), 1.0, 40, 0.035, id="skewed"),
    ],
)
def test_the_interval_holds_the_true_mean_in_95_percent_of_experiments(draw, truth, files, tolerance):
    rng = np.random.default_rng(1)
    found = [interval(draw(rng, files), resamples=500) for _ in range(600)]
    share = np.mean([i.low <= truth <= i.high for i in found])
    assert abs(share - 0.95) < tolerance  # the standard error of the share is 0.009


def test_of_a_skewed_distribution_the_interval_is_skewed():
    values = np.random.default_rng(0).exponential(1.0, 50)
    found = interval(values)
    assert found.high - found.mean > 1.1 * (found.mean - found.low)


def test_more_confidence_is_a_wider_interval_around_the_same_mean():
    values = np.random.default_rng(0).normal(size=40)
    narrow, wide = interval(values, 0.5), interval(values, 0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert narrow.mean == wide.mean == pytest.approx(values.mean())


def test_files_without_a_score_are_left_out_and_not_counted():
    values = [1.0, math.nan, 2.0, 3.0, math.nan]
    assert interval(values) == interval([1.0, 2.0, 3.0])
    assert interval(values).count == 3


def test_few_and_equal_values():
    empty, one, equal = interval([math.nan]), interval([2.5]), interval([2.5, 2.5, 2.5])
    assert (empty.count, one.count) == (0, 1)
    assert math.isnan(empty.mean)
    assert one.mean == 2.5
    assert math.isnan(one.low)
    assert (equal.low, equal.mean, equal.high) == (2.5, 2.5, 2.5)
    two = interval([1.0, 3.0])
    assert 1.0 <= two.low < 2.0 < two.high <= 3.0


def test_a_perfect_file_makes_the_mean_infinite():
    found = interval([1.0, 2.0, math.inf])
    assert found.mean == found.low == found.high == math.inf


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    values = np.random.default_rng(0).normal(size=20)
    before = np.random.get_state()[1].copy()
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)
    assert compare(values, values[::-1], seed=1) == compare(values, values[::-1], seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1.0, 2.0], 1.0), "confidence=1.0"),
        (([1.0, 2.0], 0.95, 0), "resamples=0"),
        (([[1.0], [2.0]],), r"shape \(2, 1\)"),
    ],
)
def test_what_an_interval_refuses(arguments, says):
    with pytest.raises(ValueError, match=says):
        interval(*arguments)


@pytest.mark.parametrize(("freedom", "exact"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (60, 2.0003)])
def test_students_quantile_is_that_of_the_tables(freedom, exact):
    assert student_quantile(0.975, freedom) == pytest.approx(exact, rel=0.009)


# -- two systems -----------------------------------------------------------------------------------------------------


def test_few_files_are_tested_exactly():
    # Of the eight patterns of signs of (1, 2, 3), two reach a sum of 6 or -6
    assert compare([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).p == 2 / 8
    # (1, 2, -3) sums to 0, which every pattern reaches
    assert compare([1.0, 2.0, 0.0], [0.0, 0.0, 3.0]).p == 1.0
    assert compare([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_drawn_patterns_agree_with_all_patterns():
    differences = np.random.default_rng(3).normal(0.5, 1, 16)  # more than are tried exhaustively
    signs = np.array(list(itertools.product([-1, 1], repeat=16)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert 0.02 < exact < 0.5
    assert compare(differences, np.zeros(16)).p == pytest.approx(exact, abs=4 * math.sqrt(exact / 10000))


@pytest.mark.parametrize("files", [10, 25])
def test_under_the_null_p_is_uniform(files):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(400):
        both = rng.normal(size=(2, files)) + rng.normal(size=files)  # files differ, systems do not
        found.append(compare(*both, resamples=400).p)
    # Kolmogorov and Smirnov: the distribution function stays within 1.63 / sqrt(n) of the diagonal in 99 %
    ranks = np.arange(1, 401) / 400
    assert np.abs(np.sort(found) - ranks).max() < 1.63 / math.sqrt(400)


def test_a_small_shift_on_every_file_is_found_where_unpaired_means_hide_it():
    rng = np.random.default_rng(0)
    files = rng.normal(0, 5, 40)
    a, b = files + 0.3 + rng.normal(0, 0.1, 40), files + rng.normal(0, 0.1, 40)
    found = compare(a, b)
    assert found.p < 0.001
    assert 0.25 < found.difference.low < 0.3
    assert 0.3 < found.difference.high < 0.4
    assert (found.wins, found.losses) == (sum(a > b), sum(a < b))
    assert interval(a).low < interval(b).high


def test_only_files_with_both_scores_are_compared():
    a, b = [1.0, math.nan, 3.0, 4.0], [0.0, 1.0, math.nan, 1.0]
    found = compare(a, b)
    assert found.difference.count == 2
    assert found == compare([1.0, 4.0], [0.0, 1.0])
    assert math.isnan(compare([math.nan], [1.0]).p)


def test_infinite_scores_count_as_the_largest_differences():
    perfect = [math.inf] * 6
    assert compare(perfect, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).p == 2 / 2**6
    assert compare(perfect, perfect).difference.count == 0


def test_swapping_the_systems_turns_the_sign_only():
    a, b = np.random.default_rng(0).normal(size=(2, 12))
    there, back = compare(a, b), compare(b, a)
    assert there.p == back.p
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.difference.mean == pytest.approx(-back.difference.mean)


def test_systems_on_different_files_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\), b \(3,\)"):
        compare([1.0, 2.0], [1.0, 2.0, 3.0])


def test_the_best_of_many_is_not_better_by_having_been_picked():
    rng = np.random.default_rng(4)
    found, naive = [], []
    for _ in range(300):
        gains = rng.normal(size=(12, 8)) * np.geomspace(0.1, 10, 8)
        found.append(any_better(gains))
        naive.append(min(any_better(gains[:, [index]]) for index in range(8)))
    assert np.mean(np.array(naive) < 0.05) > 0.2
    assert abs(np.mean(np.array(found) < 0.05) - 0.05) < 0.04  # three standard errors
    assert any_better(gains + np.array([0, 0, 0, 3, 0, 0, 0, 0])) < 0.01


def test_the_best_of_one_is_the_one_sided_test():
    assert any_better(np.array([[1.0], [2.0], [3.0]])) == 1 / 8
    assert any_better(np.array([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0]])) == 1.0
    assert any_better(np.zeros((3, 2))) == 1.0
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        any_better(np.zeros(2))


# -- rates -----------------------------------------------------------------------------------------------------------


def test_a_rate_is_of_sums_and_not_a_mean_of_rates():
    found = rate([1, 0], [1, 99])
    assert found.mean == 0.01
    assert (found.low, found.high) == (0.0, 1.0)  # draws of one file twice


def test_the_interval_of_a_rate_holds_the_true_rate():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        words = rng.integers(5, 40, 60)
        found = rate(rng.binomial(words, 0.2), words, resamples=400)
        hits += found.low <= 0.2 <= found.high
    assert abs(hits / 400 - 0.95) < 0.03


def test_a_rate_without_words_is_none():
    assert rate([0, 0], [0, 0]).count == 0
    assert math.isnan(rate([3], [10]).low)
    with pytest.raises(ValueError, match="2 errors, 1 totals"):
        rate([1, 2], [3])
