"""Confidence intervals of means over files, and the paired comparison of two systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIGNIFICANT = 0.05
"""A p-value below it is called a difference."""

_BLOCK = 1 << 20  # random numbers made at once
_EXACT = 14  # differences up to which all 2^n signs are tried


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean: over the files with a score; NaN where there are none.
        low: lower end of the interval; NaN with fewer than two files.
        high: upper end.
        count: files with a score.
    """

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same files.

    Attributes:
        difference: mean of a - b over the files that both have a score for, with its interval.
        p: two-sided p-value of the hypothesis that a and b could as well be swapped on every file.
        wins: files where a's score is greater.
        losses: files where b's is greater.
    """

    difference: Interval
    p: float
    wins: int
    losses: int


def interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean over files with its bias-corrected and accelerated bootstrap interval (BCa; Efron, JASA 82, 1987).

    Against the plain percentiles, BCa follows a skewed distribution of scores. As any bootstrap it would be too narrow
    on few files, so the quantiles are those of Student's t and the deviation that of n - 1 (Hesterberg, American
    Statistician 69, 2015). Below five files no resampling helps: the interval is then at most the range of the scores.

    Args:
        values: one score per file; NaN is left out.
        confidence: probability that the interval holds the true mean, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the resampling; equal seeds give equal intervals.

    Raises:
        ValueError: a confidence outside (0, 1), no resamples, or values of more than one axis.
    """
    _check(confidence, resamples)
    known = _known(values, "values")
    if len(known) == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    with np.errstate(invalid="ignore"):
        mean = float(known.mean())  # NaN for both infinities
    if len(known) == 1:
        return Interval(mean, np.nan, np.nan, 1)
    if not np.isfinite(known).all() or np.ptp(known) == 0:
        return Interval(mean, mean, mean, len(known))
    means = _resampled_means(known, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, _corrected(known, mean, means, confidence))
    return Interval(mean, float(low), float(high), len(known))


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a probability between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: expected at least 1; 2000 is usual")


def _known(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} of shape {array.shape}: expected one number per file")
    return array[~np.isnan(array)]


def _resampled_means(known: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `resamples` draws with replacement, in blocks, as files times draws may be much."""
    rows = max(1, _BLOCK // len(known))
    blocks = [
        known[rng.integers(len(known), size=(min(rows, resamples - start), len(known)))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(blocks)


def _corrected(known: np.ndarray, mean: float, means: np.ndarray, confidence: float) -> np.ndarray:
    """The two probabilities at which BCa reads the bootstrap distribution (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, eqs. 14.9 to 14.15), for normal quantiles widened to those of few files."""
    from statistics import NormalDist

    normal, count = NormalDist(), len(known)
    # Ties count half, and neither end may be all of the distribution: the quantile of 0 or 1 is infinite
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / len(means)
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means))))
    centred = known - mean
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    wide = np.sqrt(count / (count - 1)) * student_quantile((1 + confidence) / 2, count - 1)
    shifted = bias + np.array([-wide, wide])
    return np.array([normal.cdf(bias + value / max(1 - acceleration * value, 1e-3)) for value in shifted])


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t above the median (Gaver and Kafadar, American Statistician 38, 1984): at 97.5 % within
    0.8 % on two degrees of freedom, 0.1 % on ten; on one degree exact."""
    from statistics import NormalDist

    if freedom == 1:
        return float(np.tan(np.pi * (probability - 0.5)))
    z = NormalDist().inv_cdf(probability)
    scale = (freedom - 5 / 6) / (freedom - 2 / 3 + 1 / (10 * freedom)) ** 2
    return float(np.sqrt(freedom * np.expm1(z * z * scale)))


def rate(
    errors: Sequence[float] | np.ndarray,
    totals: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A rate over a set, such as the word error rate: summed errors over summed totals, which is no mean over files.

    The interval resamples whole files and reads off percentiles (Bisani and Ney, ICASSP 2004). Differences of two
    counts in place of `errors` give the difference of two rates on the same files, with its paired interval.

    Args:
        errors: one count per file.
        totals: what they are counted against, one number per file.
        confidence: probability that the interval holds the true rate.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: errors and totals differ in length, or confidence and resamples are out of range.
    """
    _check(confidence, resamples)
    if len(errors) != len(totals):
        raise ValueError(f"{len(errors)} errors, {len(totals)} totals: expected one of both for every file")
    counts = np.array([errors, totals], dtype=np.float64)
    files = counts.shape[1]
    if counts[1].sum() == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    whole = float(counts[0].sum() / counts[1].sum())
    if files == 1:
        return Interval(whole, np.nan, np.nan, 1)
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // files)
    rates = []
    for start in range(0, resamples, rows):
        drawn = counts[:, rng.integers(files, size=(min(rows, resamples - start), files))].sum(axis=2)
        rates.append(drawn[0][drawn[1] > 0] / drawn[1][drawn[1] > 0])
    low, high = np.quantile(np.concatenate(rates), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(whole, float(low), float(high), files)


def compare(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    resamples: int = 10000,
    seed: int = 0,
) -> Comparison:
    """Paired comparison of two systems over the same files.

    The test is a permutation test of the mean difference: were the systems alike, each file's difference could as well
    have the other sign. Up to 14 differences all patterns of signs are tried and p is exact; above, patterns are
    drawn, and the one observed counts among them, so that p is never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol.
    Biol. 9, 2010).

    Args:
        a: scores of one system, one per file.
        b: scores of the other on the same files in the same order; files where either is NaN are left out.
        confidence: of the interval of the mean difference.
        resamples: sign patterns drawn.
        seed: of patterns and interval.

    Raises:
        ValueError: a and b differ in length, or what `interval` refuses.
    """
    _check(confidence, resamples)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"a has shape {first.shape}, b {second.shape}: expected the scores of the same files")
    with np.errstate(invalid="ignore"):
        each = first - second  # of two equal infinities: NaN, left out
    found = interval(each, confidence, seed=seed)
    differences = _known(each, "a - b")
    wins, losses = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    return Comparison(found, _sign_flip(differences, resamples, seed), wins, losses)


def _sign_flip(differences: np.ndarray, resamples: int, seed: int) -> float:
    """Two-sided p-value of the sum of differences (n,) under random signs."""
    moved = differences[differences != 0]  # zeros have no sign and change no sum
    if len(differences) == 0:
        return float("nan")
    # An infinite difference weighs more than all finite ones together; any odd function of a difference may be tested
    finite = np.abs(moved[np.isfinite(moved)]).sum()
    moved = np.clip(moved, -1 - 2 * finite, 1 + 2 * finite)
    return _share_as_far(np.stack([moved, -moved], axis=1), resamples, seed)


def any_better(gains: np.ndarray, resamples: int = 10000, seed: int = 0) -> float:
    """One-sided p-value of the hypothesis that none of several alternatives is better, although the best was picked.

    Each file's gains by all alternatives change signs together, and the largest standardised sum counts, so that
    trying many alternatives buys nothing (the max statistic of Westfall and Young, Resampling-Based Multiple Testing,
    1993).

    Args:
        gains: (files, alternatives), how much better each is; NaN-free.
        resamples: sign patterns drawn; up to 14 files all are tried.
        seed: of the patterns.

    Raises:
        ValueError: not of two axes.
    """
    gains = np.asarray(gains, dtype=np.float64)
    if gains.ndim != 2:
        raise ValueError(f"gains of shape {gains.shape}: expected (files, alternatives)")
    # Signs do not change the scale of a column; one of zeros stays at zero
    scale = np.sqrt(np.square(gains).sum(axis=0))
    return _share_as_far(gains / np.where(scale > 0, scale, 1.0), resamples, seed)


def _share_as_far(moved: np.ndarray, resamples: int, seed: int) -> float:
    """Share of sign patterns whose largest column sum of (n, m) is at least the one observed."""
    moved = moved[np.any(moved != 0, axis=1)]
    count = len(moved)
    if count == 0:
        return 1.0
    # Sums that differ by rounding alone are equal
    bar = moved.sum(axis=0).max() - 1e-9 * np.abs(moved).sum(axis=0).max()
    if count <= _EXACT:
        bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return float(np.mean(((1 - 2 * bits) @ moved).max(axis=1) >= bar))
    rng = np.random.default_rng(seed)
    rows, extreme = max(1, _BLOCK // count), 0
    for start in range(0, resamples, rows):
        signs = 1 - 2 * rng.integers(2, size=(min(rows, resamples - start), count))
        extreme += int(np.sum((signs @ moved).max(axis=1) >= bar))
    return (extreme + 1) / (resamples + 1)
