"""Accuracy control: an INT8 core that is close to float32, or an error that names the layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import onnx

from fer_calib.crops import Crops, batch_size
from fer_calib.layers import CoreGraph
from fer_calib.limits import Limits
from fer_calib.observation import Observation, observe
from fer_calib.quantisation import quantize
from fer_calib.running import probabilities_of
from fer_calib.schemes import find_scheme
from fer_calib.sensitivity import Sensitivity, sensitivity
from fer_edge.errors import GateError
from fer_edge.evaluation.agreement import Agreement, agreement

_PROBE_CROPS = 256
_NAMED = 5


class Prepared:
    """What all forms of INT8 of one network share.

    ``core`` is the float32 network, ``observation`` the ranges of its tensors on calibration crops.
    Accuracy is measured on ``evaluation``, whose labels may be unknown.
    """

    def __init__(self, core: onnx.ModelProto, observation: Observation, evaluation: Crops) -> None:
        self.core, self.observation, self.evaluation = core, observation, evaluation
        height, width, _ = evaluation.spec.input.shape
        self._probe = evaluation.thin(min(_PROBE_CROPS, 8 * batch_size(height, width)))

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """The cost of every layer, measured once, on first use.

        It is measured on 256 of the evaluation crops, on fewer if they exceed 48 x 48 pixels.
        """
        return sensitivity(self.core, self.observation, self._probe)

    @property
    def sensitivity_runs(self) -> int:
        """How many crops the network runs on for ``sensitivity``."""
        return len(CoreGraph(self.core).layers) * len(self._probe)


@dataclass(frozen=True, eq=False)
class Controlled:
    """An INT8 core within its limits, and the layers that had to stay in float."""

    core: onnx.ModelProto
    scheme: str
    kept_float: tuple[str, ...]
    measured: Agreement
    accuracy_drop: float | None


def prepare(core: onnx.ModelProto, calibration: Crops, evaluation: Crops) -> Prepared:
    """Observe ranges, once for all forms of INT8."""
    return Prepared(core, observe(core, calibration), evaluation)


def control(
    prepared: Prepared,
    scheme: str,
    *,
    limits: Limits = Limits(),
    report: Callable[[str], None] = lambda _: None,
) -> Controlled:
    """Quantise, measure, and put the most sensitive layers back in float until the limits hold.

    ``scheme`` is one of ``SCHEMES``. The number of float layers is doubled until the limits hold,
    then reduced by bisection. ``report`` receives a line per step. Raises GateError, with the
    layers and their costs, if the largest allowed share of float layers is not enough.
    """
    engine = find_scheme(scheme).engine
    core, evaluation = prepared.core, prepared.evaluation
    layers = len(CoreGraph(core).layers)
    expected = probabilities_of(core, evaluation, engine)

    def attempt(count: int) -> tuple[Controlled, list[str]]:
        ranked = prepared.sensitivity.ranked() if count else ()
        kept = tuple(cost.name for cost in ranked[:count])
        model = quantize(core, prepared.observation, scheme, keep_float=kept)
        given = probabilities_of(model, evaluation, engine)
        measured = agreement(expected, given)
        drop = evaluation.accuracy_drop(expected, given)
        defects = limits.defects(measured, drop)
        report(f"{scheme}: {count} layers in float: {'; '.join(defects) or 'within limits'}")
        return Controlled(model, scheme, kept, measured, drop), defects

    return _fewest(attempt, min(int(limits.float_share * layers), layers - 1), prepared)


def _fewest(
    attempt: Callable[[int], tuple[Controlled, list[str]]], most: int, prepared: Prepared
) -> Controlled:
    count, failed = 0, -1
    done, defects = attempt(0)
    while defects:
        if count >= most:
            raise GateError(_message(done, defects, prepared.sensitivity))
        count, failed = min(max(1, 2 * count), most), count
        done, defects = attempt(count)
    while count - failed > 1:
        middle = (count + failed) // 2
        candidate, defects = attempt(middle)
        if defects:
            failed = middle
        else:
            count, done = middle, candidate
    return done


def _message(last: Controlled, defects: list[str], costs: Sensitivity) -> str:
    named = "; ".join(
        f"{cost.name} ({cost.mean_kl:.4f} nats"
        + ("" if cost.accuracy_drop is None else f", {100 * cost.accuracy_drop:.2f} points")
        + ")"
        for cost in costs.ranked()[:_NAMED]
    )
    return (
        f"the {last.scheme} INT8 form {' and '.join(defects)}, with {len(last.kept_float)} of "
        f"{len(costs.layers)} layers kept in float. The layers that cost most, each alone in INT8: "
        f"{named}. Calibrate with more crops, or train a network that is better conditioned"
    )
