"""How long one crop takes in a cell, compared with the fp32 reference in the same minute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median, stdev

import numpy as np
import numpy.typing as npt

from fer_bench.intervals import LEVEL, student_quantile
from fer_bench.noise import NoiseWatch
from fer_edge.predictor import Predictor
from fer_edge.system.timing import call_times

UInt8Array = npt.NDArray[np.uint8]

_BLOCKS, _ROUNDS, _BLOCK_S, _MAX_CALLS = 5, 4, 0.6, 40


@dataclass(frozen=True)
class PairedLatency:
    """The ratio of two latencies, and its 95 % interval.

    ``disturbances`` says what else the machine did; it is empty on a quiet machine.
    """

    ratio: float
    interval: tuple[float, float]
    disturbances: tuple[str, ...] = ()


def measure_pair(
    predictor: Predictor, reference: Predictor, watch: NoiseWatch | None = None
) -> PairedLatency:
    """Divide the time of one crop in ``predictor`` by that in ``reference``.

    Both run in turns, so that other load on the machine slows both down. A round gives one ratio
    of median times; ``watch`` looks at the machine around blocks of rounds.
    """
    watch = watch or NoiseWatch()
    pair = [(p, np.zeros((1, *p.info.spec.input.shape), np.uint8)) for p in (predictor, reference)]
    for measured, tensor in pair:  # engines choose their kernels in the first calls
        _median_time(measured, tensor, 3)
    slowest = sum(_median_time(measured, tensor, 3) for measured, tensor in pair)
    calls = max(1, min(_MAX_CALLS, int(_BLOCK_S / _ROUNDS / slowest)))
    ratios = []
    for _ in range(_BLOCKS):  # long enough for the system's own counters, which tick every 10 ms
        with watch.around():
            for _ in range(_ROUNDS):
                mine, other = (_median_time(measured, tensor, calls) for measured, tensor in pair)
                ratios.append(mine / other)
    return PairedLatency(median(ratios), ratio_interval(ratios), watch.verdict().findings)


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Student's t interval, 95 %, of the geometric mean of ratios, two or more."""
    logs = [math.log(ratio) for ratio in ratios]
    reach = student_quantile(LEVEL, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return math.exp(fmean(logs) - reach), math.exp(fmean(logs) + reach)


def _median_time(predictor: Predictor, tensor: UInt8Array, calls: int) -> float:
    return median(call_times(partial(predictor.predict_tensor, tensor), fewest=calls))
