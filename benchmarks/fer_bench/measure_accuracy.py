"""Accuracy of a model on a split of FER2013, through the Predictor that users call."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_bench.candidates import Candidate
from fer_bench.environment import Environment, describe_environment
from fer_bench.launching import ask
from fer_bench.paired_tests import PairedTest, pack_mask, paired_test
from fer_bench.peers import Peer, adapter_program, prepare
from fer_bench.results import RunResult, exit_code_of
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError, DataError, EmptySplitError, FerEdgeError, GateError
from fer_edge.evaluation import fer2013, metrics
from fer_edge.evaluation.agreement import Agreement, agreement
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.evaluation.metrics import ClassScores
from fer_edge.predictor import Predictor
from fer_edge.system.progress import progress

_RAN = ("sha256", "backend", "provider", "precision", "inference_precision")
_PEER_S = 1200.0
_BATCH, _BINS = 64, 15


@dataclass(frozen=True, eq=False)
class EvaluationSplit:
    """Crops to measure on. ``copied``, bool ``(N,)``, marks those that are also in train.

    It is None if the archive has no training half, or if train itself is measured.
    """

    name: str
    crops: LabelledCrops
    copied: np.ndarray | None


@dataclass(frozen=True)
class ReliabilityBin:
    """Pictures whose confidence lies in (low, high]; the means are None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class AccuracyResult:
    """One model on one split; rates are fractions of 1, NLL in nats.

    ``right`` is the mask of right answers as text (``fer_bench.paired_tests.pack_mask``), in the
    order of ``LabelledCrops.canonical_order``; ``data_sha256`` identifies pictures and labels.
    ``agreement`` is with the run's reference, if there is one.
    """

    model: str
    sha256: str | None
    backend: str
    provider: str | None
    precision: str | None
    inference_precision: str | None
    split: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, ...]
    accuracy_without_copies: float | None
    n_without_copies: int | None
    macro_f1: float
    ece: float
    nll: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...] = ()
    agreement: Agreement | None = None
    right: str = ""
    data_sha256: str = ""


@dataclass(frozen=True)
class AccuracyFailure:
    """A model that could not be measured, and why; ``exit_code`` is that of the error alone."""

    model: str
    error: str
    exit_code: int = GateError.exit_code

    def __str__(self) -> str:
        return self.error if self.model in self.error else f"{self.model}: {self.error}"


@dataclass(frozen=True, kw_only=True)
class AccuracyRun(RunResult):
    """A run of ``fer-bench accuracy``: what was measured, what failed, and every pair tested."""

    schema: str = "fer-bench-accuracy/2"
    reference: str | None = None
    results: tuple[AccuracyResult, ...]
    failures: tuple[AccuracyFailure, ...] = ()
    mcnemar: tuple[PairedTest, ...] = ()
    environment: Environment | None = None

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 where every model was measured."""
        failures = [failure.exit_code for failure in self.failures]
        return exit_code_of(failures, measured=bool(self.results))


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said; ``probabilities`` is float32 ``(N, 7)``, ``described`` what ran."""

    model: str
    probabilities: npt.NDArray[np.float32]
    described: dict[str, Any]


def measure_all(
    candidates: Sequence[Candidate], split: EvaluationSplit, reference: str | None = None
) -> AccuracyRun:
    """Measure candidates on the same pictures.

    One that cannot be opened becomes a failure that says why. A reference that cannot be opened
    raises.
    """
    asked = None
    if reference:
        with Predictor(reference) as predictor:
            asked = answers_of(reference, predictor, split)
    answers: list[Answers] = []
    failures: list[AccuracyFailure] = []
    for candidate in candidates:
        try:
            if candidate.peer:
                answers.append(answers_of_peer(candidate.peer, split))
            else:
                with candidate.open() as predictor:
                    answers.append(answers_of(candidate.model, predictor, split))
        except FerEdgeError as problem:
            failures.append(AccuracyFailure(candidate.model, str(problem), problem.exit_code))
    return AccuracyRun(
        reference=reference,
        results=tuple(scored(own, split, asked) for own in answers),
        failures=tuple(failures),
        mcnemar=tuple(compare_answers(answers, split)),
        environment=describe_environment(),
    )


def load_split(data: fer2013.Data, split: str, spec: ModelSpec | None = None) -> EvaluationSplit:
    """Read a split, and mark its pictures that are also in train.

    The classes have to fit the model of ``spec``, and pictures of another size than FER2013's are
    resized to its input. Raises DataError.
    """
    labels, wanted = (None, None) if spec is None else (spec.labels, spec.input)
    crops = fer2013.load(data, split, labels=labels, wanted=wanted)
    copied = None
    if split != "train":
        with suppress(EmptySplitError):
            train = fer2013.load(DataSource.of(data).whole, "train", like=crops)
            copied = fer2013.copies_of(crops.images, train.images)
    return EvaluationSplit(split, crops, copied)


def measure_accuracy(model: str, predictor: Predictor, split: EvaluationSplit) -> AccuracyResult:
    """Classify every crop of a split, and score the answers under the name ``model``."""
    return scored(answers_of(model, predictor, split), split)


def answers_of(model: str, predictor: Predictor, split: EvaluationSplit) -> Answers:
    """Classify every crop of a split, in batches. Raises DataError for a model of other classes."""
    labels, classes = predictor.info.spec.labels, split.crops.classes
    if labels != classes:
        raise DataError(
            f"{model} knows the classes {', '.join(labels)}, but the pictures have the classes "
            f"{', '.join(classes)}; measure it on a data set of its own classes"
        )
    probabilities = predict_crops(predictor, list(split.crops.images), f"measuring {model}")
    info = predictor.info
    return Answers(model, probabilities, {name: getattr(info, name) for name in _RAN})


def predict_crops(
    predictor: Predictor, crops: Sequence[npt.NDArray[np.uint8]], label: str
) -> npt.NDArray[np.float32]:
    """Probabilities ``(N, K)`` of crops of any sizes, in batches, with a progress bar."""
    rows: list[npt.NDArray[np.float32]] = []
    batch = min(_BATCH, predictor.info.max_batch or _BATCH)
    with progress(len(crops), label) as bar:
        for start in range(0, len(crops), batch):
            part = list(crops[start : start + batch])
            rows += [answer.probabilities for answer in predictor.predict_batch(part)]
            bar.advance(len(part))
    return np.stack(rows)


def answers_of_peer(peer: Peer, split: EvaluationSplit) -> Answers:
    """Let a peer classify every crop of a split, in a process of its own.

    Raises CandidateError, and ConfigurationError for a peer that does not know the seven
    emotions or is not installed.
    """
    prepare(peer)
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        crops, out = Path(folder) / "crops.npy", Path(folder) / "answers.npy"
        np.save(crops, split.crops.images)
        request = {"work": "classify", "crops": str(crops), "out": str(out)}
        reply = ask(adapter_program(peer, {"threads": None}), request, _PEER_S)
        probabilities = np.load(out, allow_pickle=False)
    classes = len(split.crops.classes)
    if probabilities.shape != (len(split.crops), classes):
        raise ConfigurationError(
            f"the peer {peer.name} answered with an array {probabilities.shape} instead of "
            f"{classes} probabilities per picture; only its latency can be measured"
        )
    return Answers(peer.name, probabilities.astype(np.float32), reply["describe"])


def scored(
    answers: Answers, split: EvaluationSplit, reference: Answers | None = None
) -> AccuracyResult:
    """Score answers against the labels, and against a reference's answers."""
    crops, probabilities = split.crops, answers.probabilities
    right = probabilities.argmax(axis=1) == crops.labels
    alone = None if split.copied is None else right[~split.copied]
    ran: dict[str, Any] = {name: answers.described.get(name) for name in _RAN}
    return AccuracyResult(
        model=answers.model,
        **ran,
        split=split.name,
        **vars(metrics.score(crops.labels, probabilities, crops.classes)),
        accuracy_without_copies=None if alone is None or not len(alone) else float(alone.mean()),
        n_without_copies=None if alone is None else len(alone),
        reliability=reliability_bins(crops.labels, probabilities),
        agreement=agreement(reference.probabilities, probabilities) if reference else None,
        right=pack_mask(right[crops.canonical_order()]),
        data_sha256=crops.sha256,
    )


def compare_answers(answers: Sequence[Answers], split: EvaluationSplit) -> list[PairedTest]:
    """McNemar's exact test for every pair of models."""
    right = []
    for own in answers:
        title = f"{own.model} ({own.described['backend']}, {own.described.get('precision')})"
        right.append((title, own.probabilities.argmax(axis=1) == split.crops.labels))
    return [
        paired_test(first, second, one, other)
        for (first, one), (second, other) in combinations(right, 2)
    ]


def reliability_bins(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]
) -> tuple[ReliabilityBin, ...]:
    """Sort pictures into 15 bins of confidence; labels ``(N,)``, probabilities ``(N, K)``.

    Guo et al., ICML 2017, section 2. The gaps between confidence and accuracy, weighted by count,
    sum up to the expected calibration error, which has the same bins.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    found = []
    for index in range(_BINS):
        own = place == index
        means: tuple[float | None, float | None] = (None, None)
        if own.any():
            means = float(confidence[own].mean(dtype=np.float64)), float(right[own].mean())
        found.append(ReliabilityBin(index / _BINS, (index + 1) / _BINS, int(own.sum()), *means))
    return tuple(found)
