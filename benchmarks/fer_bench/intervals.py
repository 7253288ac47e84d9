"""Percentiles, intervals and ratios of samples that come in rounds.

Samples of one round share a process, a memory layout and a moment of the machine, so they are not
independent of each other. Rounds are, so every interval here resamples or compares whole rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
DRAWS = 2000
MIN_ROUNDS = 3


def percentile(samples: Floats, level: float) -> float:
    """The smallest sample that at least ``level`` of all samples do not exceed.

    This is the nearest-rank method (Hyndman and Fan 1996, American Statistician 50:361, definition
    1). It always gives one of the samples.
    """
    place = _rank(level, len(samples)) - 1
    return float(np.partition(samples, place)[place])


def _rank(level: float, count: int) -> int:
    return max(1, math.ceil(level * count - 1e-9))


class RoundBootstrap:
    """Intervals from drawing whole rounds with replacement (a cluster bootstrap).

    Two candidates that are measured in the same rounds share the draws, so a drift that affects
    both cancels in their ratio. A percentile interval of few rounds is too narrow, so its tails are
    widened (Hesterberg 2015, American Statistician 69:371, the expanded percentile interval). Fewer
    than three rounds give no interval.
    """

    def __init__(self, rounds: int, *, seed: int = 0, draws: int = DRAWS) -> None:
        self.rounds = rounds
        rng = np.random.default_rng(seed)
        self._counts = rng.multinomial(rounds, np.full(rounds, 1 / max(rounds, 1)), size=draws)

    def percentiles(self, rounds: Sequence[Floats], *levels: float) -> Floats:
        """Percentiles of the pooled samples, once per draw; ``(levels, draws)``."""
        pooled = np.concatenate(rounds)
        origin = np.repeat(np.arange(self.rounds), [len(samples) for samples in rounds])
        order = np.argsort(pooled, kind="stable")
        ordered, origin = pooled[order], origin[order]
        found = np.empty((len(levels), len(self._counts)))
        for draw, counts in enumerate(self._counts):
            reached = np.cumsum(counts[origin])
            ranks = [_rank(level, int(reached[-1])) for level in levels]
            found[:, draw] = ordered[np.searchsorted(reached, ranks)]
        return found

    def ratios(self, above: Sequence[float], below: Sequence[float]) -> Floats:
        """The sum of ``above`` over the sum of ``below``, both per round, once per draw."""
        sums = (self._counts @ np.array(side, np.float64) for side in (above, below))
        return np.asarray(np.divide(*sums), np.float64)

    def interval(self, draws: Floats) -> tuple[float, float] | None:
        """The 95 % interval of a figure that was worked out once per draw."""
        if self.rounds < MIN_ROUNDS:
            return None
        wide = math.sqrt(self.rounds / (self.rounds - 1)) * student_quantile(LEVEL, self.rounds - 1)
        tail = NormalDist().cdf(-wide)
        low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
        return float(low), float(high)


@dataclass(frozen=True)
class Change:
    """New over old, with its interval; ``beyond_noise`` says that the interval leaves 1 out."""

    ratio: float
    interval: tuple[float, float]
    beyond_noise: bool


def change_between(
    old: Sequence[float], new: Sequence[float], *, comparisons: int = 1, least: float = 0.0
) -> Change | None:
    """Compare a positive figure of each round of one run with those of another.

    Welch's t interval (1947, Biometrika 34:28) of the difference of logarithms, at 95 % for all
    ``comparisons`` together (Bonferroni). A change below the fraction ``least`` counts as none.
    None for fewer than three rounds on a side.
    """
    if min(len(old), len(new)) < MIN_ROUNDS:
        return None
    before, after = np.log(np.array(old)), np.log(np.array(new))
    shares = [float(side.var(ddof=1)) / len(side) for side in (before, after)]
    spread = math.sqrt(sum(shares))
    parts = [v**2 / (len(s) - 1) for v, s in zip(shares, (before, after), strict=True)]
    freedom = math.floor(sum(shares) ** 2 / sum(parts)) if spread else len(old) + len(new) - 2
    reach = student_quantile(1 - (1 - LEVEL) / comparisons, max(1, freedom)) * spread
    middle = float(after.mean() - before.mean())
    low, high = math.exp(middle - reach), math.exp(middle + reach)
    outside = not low <= 1 <= high
    large = abs(middle) >= math.log1p(least) - 1e-12
    return Change(math.exp(middle), (low, high), outside and large)


@cache
def student_quantile(level: float, freedom: int) -> float:
    """The t that ``|T|`` does not exceed with probability ``level``.

    ``atan(T / sqrt(freedom))`` has a density in proportion to ``cos ** (freedom - 1)``, which is
    added up here in 100,000 steps.
    """
    angles = np.linspace(0, math.pi / 2, 100_001)
    middles = (angles[:-1] + angles[1:]) / 2
    within = np.concatenate([[0.0], np.cumsum(np.cos(middles) ** (freedom - 1))])
    angle = np.interp(level, within / within[-1], angles)
    return math.sqrt(freedom) * math.tan(float(angle))
