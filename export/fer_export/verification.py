"""Proof that an artifact answers as its fp32 reference does.

An artifact is opened through Predictor, as a user would open it. Nothing here needs torch or onnx.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_calib.crops import Crops, batch_size
from fer_calib.limits import Limits
from fer_edge.artifacts.manifest import GoldenCrop, MeasuredAccuracy, Measurement, Parity
from fer_edge.artifacts.spec import InputSpec, ModelSpec
from fer_edge.errors import EngineError, GateError
from fer_edge.evaluation import fer2013, metrics
from fer_edge.evaluation.agreement import agreement, paired_difference, same_answers
from fer_edge.images.preprocess import preprocess, preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.predictor import Predictor
from fer_edge.system.cores import usable_cores
from fer_edge.system.progress import track
from fer_export.options import ExportOptions

Probabilities = npt.NDArray[np.floating]
Answers = Callable[[npt.NDArray[np.uint8]], Probabilities]

_BATCH_SIZES = (1, 2, 7)
_TIMES_A_BATCH = 8
_SYNTHETIC = 512
_SELECTION_SPLIT = "public-test"
_SHORTEST_SECONDS = 1e-4
_SECONDS, _FEWEST = 30, 32
"""How long the reference may run to compare artifacts, and on how many crops it always runs."""


GATES = {
    "fp32": Limits(agreement=1.0, max_difference=1e-4, mean_kl=None, accuracy_drop=None),
    "fp16": Limits(agreement=0.998, max_difference=5e-3, mean_kl=None, accuracy_drop=None),
    "int8": Limits(agreement=0.96, mean_kl=0.02, accuracy_drop=0.01),
}
"""What an artifact of a precision has to reach.

The accuracy drop bounds the upper end of the paired 95 % interval.
"""

_INT8_BATCH_DIFFERENCE = 5e-2
"""How far a crop's probabilities may depend on its batch in INT8; elsewhere it is the gate's
largest difference."""


def evaluation_crops(spec: ModelSpec, data: fer2013.Data | None) -> Crops:
    """Crops of ``public-test`` of ``data``, or seeded drawings where it is None."""
    if data is None:
        drawn = preprocess_all(synthetic_crops(_SYNTHETIC), spec.input)
        return Crops(drawn, spec, source="seeded drawings")
    split = fer2013.load(data, _SELECTION_SPLIT, labels=spec.labels, wanted=spec.input)
    tensors = preprocess_all(split.images, spec.input)
    return Crops(tensors, spec, split.labels, _SELECTION_SPLIT)


def reference_answers(
    spec: ModelSpec, answers: Answers, options: ExportOptions
) -> tuple[Crops, Probabilities, float]:
    """The crops to compare artifacts on, the reference's probabilities, and seconds per crop."""
    crops = evaluation_crops(spec, options.data)
    seconds = seconds_per_crop(answers, crops.tensors)
    crops = crops.thin(options.crops or affordable_crops(seconds))
    return crops, answers(crops.tensors), seconds


def seconds_per_crop(answers: Answers, tensors: npt.NDArray[np.uint8]) -> float:
    """How long ``answers``, a reference, takes for one crop on an idle machine.

    It is CPU time divided by the cores, so other programs do not change it. The constant cost of a
    call is left out.
    """
    few = tensors[:5]
    answers(few[:1])
    ends = [time.process_time()]
    for crops in (few[:1], few):
        answers(crops)
        ends.append(time.process_time())
    more = (ends[2] - ends[1]) - (ends[1] - ends[0])
    return max(more / max(len(few) - 1, 1) / usable_cores(), _SHORTEST_SECONDS)


def affordable_crops(each: float, seconds: float = _SECONDS, fewest: int = _FEWEST) -> int:
    """How many crops of ``each`` seconds fit into ``seconds``, but at least ``fewest``."""
    return max(fewest, int(seconds / each))


def golden_crops(spec: InputSpec, answers: Answers) -> tuple[GoldenCrop, ...]:
    """Four drawings for a device to check itself with: gray and colour, shrunk and enlarged.

    ``answers`` maps tensors, uint8 ``(N, H, W, C)``, to the reference's probabilities ``(N, K)``.
    """
    drawn = synthetic_crops(4, seed=1)
    raw = [drawn[0], drawn[1][:, :, 1], drawn[2][10:80, 20:60], drawn[3][40:72, 40:72, 0]]
    pixels = [np.ascontiguousarray(crop) for crop in raw]
    tensors = np.empty((len(pixels), *spec.shape), np.uint8)
    for crop, row in zip(pixels, tensors, strict=True):
        preprocess(crop, spec, row)
    return tuple(map(GoldenCrop.of, pixels, tensors, answers(tensors).astype(np.float32)))


def verify(
    artifact: Path,
    backend: str,
    crops: Crops,
    expected: Probabilities,
    gates: Mapping[str, Limits] = GATES,
    *,
    device: str = "auto",
) -> Measurement:
    """Compare an artifact's answers with ``expected``, its reference's probabilities ``(N, K)``.

    ``gates`` are by precision. Raises GateError, with everything that does not hold: limits of the
    gate, or batches of 1, 2 and 7 whose answers are not those of the whole.
    """
    with Predictor(artifact, backend=backend, device=device) as predictor:
        info = predictor.info
        try:
            given = answers_of(predictor, crops.tensors, f"{artifact.name} on {backend}")
        except EngineError as problem:  # numbers that are not finite, for one
            raise GateError(
                f"{artifact.name} on {backend} gives no answers: {problem}"
            ) from problem
        sizes = [n for n in _BATCH_SIZES if n <= (info.max_batch or n)]
        batched = {n: predictor.predict_tensor(crops.tensors[:n])[1] for n in sizes}
    compared, gate = agreement(expected, given), gates[info.precision]
    accuracy = _accuracy(expected, given, crops.labels)
    defects = gate.defects(compared, accuracy.drop_ci95[1] if accuracy else None)
    allowed = gate.max_difference or _INT8_BATCH_DIFFERENCE
    for size, probabilities in batched.items():
        gap = float(np.abs(probabilities - given[:size]).max())
        if not gap <= allowed:
            defects.append(f"changes a probability by {gap:.2e} in a batch of {size}")
    if defects:
        raise GateError(
            f"{artifact.name} on {backend} is not the network that it was made from: "
            f"it {'; '.join(defects)} ({len(crops)} crops, {crops.source})"
        )
    parity = Parity(
        crops=len(given),
        crops_from=crops.source,
        max_probability_difference=compared.max_difference,
        mean_kl=compared.mean_kl,
        top1_agreement=compared.top1,
        top1_agreement_by_class=_by_class(expected, given, info.spec.labels),
    )
    return Measurement(
        backend, info.version, info.inference_precision, parity=parity, accuracy=accuracy
    )


def answers_of(
    predictor: Predictor, tensors: npt.NDArray[np.uint8], label: str
) -> npt.NDArray[np.float32]:
    """Probabilities float32 ``(N, K)`` of crops ``(N, H, W, C)``, run in parts, with a bar."""
    parts = batches(tensors, label, predictor.info.max_batch)
    return np.concatenate([predictor.predict_tensor(part)[1] for part in parts])


def batches(
    tensors: npt.NDArray[np.uint8], label: str, most: int | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """Cut crops ``(N, H, W, C)`` into parts that fit the memory of a small device, with a bar.

    A part has 256 crops of 48 x 48 pixels, or fewer larger ones, and never more than ``most``.
    """
    size = _TIMES_A_BATCH * batch_size(*tensors.shape[1:3])
    size = min(size, most or size)
    starts = range(0, len(tensors), size)
    for start in track(starts, len(starts), f"running {label}"):
        yield tensors[start : start + size]


def _by_class(
    expected: Probabilities, given: Probabilities, labels: tuple[str, ...]
) -> dict[str, float]:
    """The share of equal answers for each answer that the reference gives."""
    answers, same = expected.argmax(axis=1), same_answers(expected, given)
    return {
        name: float(same[answers == index].mean())
        for index, name in enumerate(labels)
        if (answers == index).any()
    }


def _accuracy(
    expected: Probabilities, given: Probabilities, labels: npt.NDArray[np.int64] | None
) -> MeasuredAccuracy | None:
    if labels is None:
        return None
    before, right = expected.argmax(axis=1) == labels, given.argmax(axis=1) == labels
    drop = paired_difference(before, right)
    n, hits = len(labels), int(right.sum())
    return MeasuredAccuracy(
        split=_SELECTION_SPLIT,
        use="selected on",
        n=n,
        accuracy=hits / n,
        accuracy_ci95=metrics.wilson_interval(hits, n),
        drop=drop.difference,
        drop_ci95=drop.difference_ci95,
    )
