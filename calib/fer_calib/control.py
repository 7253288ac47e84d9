"""Accuracy control: INT8 that stays near float32, or a failure that says which layers cost what."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx

from fer_calib.comparison import Comparison, compare
from fer_calib.crops import Crops
from fer_calib.nncf_form import NNCF, quantize_with_nncf
from fer_calib.quantisation import quantize
from fer_calib.ranges import DEFAULT_METHOD
from fer_calib.running import find_runner
from fer_calib.schemes import Scheme, find_scheme
from fer_calib.sensitivity import Sensitivity, sensitivity
from fer_calib.smoothing import Smoothing, choose_smoothing
from fer_edge.errors import GateError

__all__ = ["Controlled", "Limits", "Prepared", "control", "prepare"]

_PROBE_CROPS, _FEWEST_CROPS, _PROBE_PIXELS = 256, 32, 256 * 48 * 48
_NAMED = 5


@dataclass(frozen=True)
class Limits:
    """What INT8 may cost against float32, as fractions of 1 and nats.

    ``float_share`` is the largest share of layers that may go back to float: with more, it is no
    INT8 model any more.
    """

    accuracy_drop: float = 0.005
    agreement: float = 0.96
    mean_kl: float = 0.02
    float_share: float = 0.25

    def defects(self, measured: Comparison) -> list[str]:
        """What does not hold, as phrases; empty if all does."""
        found = []
        drop = measured.accuracy_drop
        if drop is not None and not drop <= self.accuracy_drop:
            found.append(
                f"loses {100 * drop:.2f} points of accuracy, allowed are "
                f"{100 * self.accuracy_drop:.2f}"
            )
        if not measured.agreement >= self.agreement:
            found.append(
                f"agrees with float32 on {measured.agreement:.2%}, required are "
                f"{self.agreement:.1%}"
            )
        if not measured.mean_kl <= self.mean_kl:
            found.append(f"is {measured.mean_kl:.3f} nats away, allowed are {self.mean_kl:.3f}")
        return found


@dataclass(frozen=True, eq=False)
class Prepared:
    """What all forms of INT8 of one network share."""

    core: onnx.ModelProto
    smoothing: Smoothing
    sensitivity: Sensitivity
    calibration: Crops
    evaluation: Crops
    method: str


@dataclass(frozen=True, eq=False)
class Controlled:
    """An INT8 core within its limits, and the layers that had to stay in float for it."""

    core: onnx.ModelProto
    scheme: str
    kept_float: tuple[str, ...]
    measured: Comparison


def prepare(
    core: onnx.ModelProto,
    calibration: Crops,
    evaluation: Crops,
    *,
    method: str = DEFAULT_METHOD,
) -> Prepared:
    """Observe ranges, smooth where it pays and measure every layer; once for all forms.

    ``evaluation`` are the crops to stay accurate on, with labels where there are any; the
    sensitivity is measured on 256 of them, or fewer of more than 48 x 48 pixels, as there is a run
    for every layer.
    """
    smoothing = choose_smoothing(core, calibration, method)
    height, width, _ = evaluation.spec.input.shape
    fitting = max(_FEWEST_CROPS, min(_PROBE_CROPS, _PROBE_PIXELS // (height * width)))
    probe = evaluation.thin(fitting)
    costs = sensitivity(smoothing.core, smoothing.observation, probe, method=method)
    return Prepared(core, smoothing, costs, calibration, evaluation, method)


def control(
    prepared: Prepared,
    scheme: str | Scheme,
    *,
    limits: Limits | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Controlled:
    """Quantise, measure, and give the most sensitive layers back to float until the limits hold.

    ``scheme`` is one of ``SCHEMES``, or ``nncf`` for NNCF's form. The fewest layers that suffice,
    by doubling and then halving the gap. ``report`` receives a line per step. Raises GateError,
    which names the layers and what they cost, where the limits do not hold even with the largest
    allowed share of layers in float; for ``nncf`` as ``quantize_with_nncf`` does, too.
    """
    limits = limits or Limits()
    form = _form(prepared, scheme)
    run = find_runner(form.engine)
    ranked = [cost.name for cost in prepared.sensitivity.ranked()]
    expected = run(prepared.core, prepared.evaluation)

    def attempt(count: int) -> tuple[Controlled, list[str]]:
        kept = tuple(ranked[:count])
        model = form.quantize(kept)
        measured = compare(expected, run(model, prepared.evaluation), prepared.evaluation)
        defects = limits.defects(measured)
        report(f"{form.name}: {count} layers in float: {'; '.join(defects) or 'within limits'}")
        return Controlled(model, form.name, kept, measured), defects

    most = min(int(limits.float_share * len(ranked)), len(ranked) - 1)
    return _fewest(attempt, most, prepared.sensitivity)


@dataclass(frozen=True)
class _Form:
    """Who quantises, given the layers to keep in float, and the engine that it is measured in."""

    name: str
    engine: str
    quantize: Callable[[Collection[str]], onnx.ModelProto]


def _form(prepared: Prepared, scheme: str | Scheme) -> _Form:
    core, observation = prepared.smoothing.core, prepared.smoothing.observation
    if scheme == NNCF:
        usual = prepared.calibration.without(observation.outliers)
        return _Form(
            NNCF, "openvino", lambda kept: quantize_with_nncf(core, usual, keep_float=kept)
        )
    ours, method = find_scheme(scheme), prepared.method
    return _Form(
        ours.name,
        ours.engine,
        lambda kept: quantize(core, observation, ours, method=method, keep_float=kept),
    )


def _fewest(
    attempt: Callable[[int], tuple[Controlled, list[str]]], most: int, costs: Sensitivity
) -> Controlled:
    count, failed = 0, -1
    done, defects = attempt(0)
    while defects:
        if count >= most:
            raise GateError(_message(done, defects, costs))
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
    kept = len(last.kept_float)
    return (
        f"the {last.scheme} INT8 form {' and '.join(defects)}, with {kept} of "
        f"{len(costs.layers)} layers kept in float. Alone in INT8, these cost most: {named}. "
        "Calibrate with more crops or another method, or train a network that is better conditioned"
    )
