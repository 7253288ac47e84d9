"""A cell under test: its Predictor, its answers, and what the baseline has recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from fer_bench.measure_accuracy import predict_crops
from fer_bench.paired_tests import pack_mask
from fer_bench.regression.baseline import (
    Baseline,
    Bounds,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
    RecordedLatency,
    write_answer,
)
from fer_bench.regression.cells import Cell, ModelUnderTest
from fer_bench.regression.latency_ratio import PairedLatency, measure_pair
from fer_bench.regression.outcome import NotCompared
from fer_bench.regression.probes import RECORDED, probes
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, FerEdgeError
from fer_edge.evaluation import fer2013, metrics
from fer_edge.evaluation.agreement import mean_kl_divergence
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.predictor import Predictor
from fer_edge.system.machine import cpu_name

Probabilities = npt.NDArray[np.floating]

_REFERENCE_BACKEND = "onnxruntime"
_RATE_DIGITS, _SMALL_DIGITS = 5, 3


@dataclass(eq=False)
class Run:
    """What the subjects of a run share; it is read or opened when a check first needs it.

    ``source`` is the data set of the labelled pictures, if there are any. ``other_data`` says that
    pictures other than the baseline's are meant.
    """

    model: ModelUnderTest
    baseline: Baseline
    source: fer2013.Data | None = None
    split: str = "public-test"
    other_data: bool = False

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """One for each cell of the model."""
        return tuple(Subject(cell, self) for cell in self.model.cells)

    @cached_property
    def reference(self) -> Subject | None:
        """The first fp32 artifact, on ONNX Runtime where that opens it.

        The precision of an artifact without a manifest is read from the artifact itself.
        """
        fitting = [subject for subject in self.subjects if _is_fp32(subject)]
        first = [subject for subject in fitting if subject.cell.file == fitting[0].cell.file]
        preferred = [s for s in first if s.cell.backend == _REFERENCE_BACKEND]
        return next(iter(preferred or first), None)

    @cached_property
    def probes(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Pictures that need no data set, by name."""
        return probes()

    @cached_property
    def data(self) -> LabelledCrops:
        """The labelled pictures. Raises NotCompared if none were given, and DataError.

        They are sorted by the hash of label and pixels, so that their order does not depend on the
        container.
        """
        if self.source is None:
            raise NotCompared("no pictures were given; add --fer-data")
        labels = wanted = None
        with suppress(FerEdgeError):  # the reference's own checks fail with this error
            if self.reference is not None:
                labels, wanted = self.reference.spec.labels, self.reference.spec.input
        crops = fer2013.load(self.source, self.split, labels=labels, wanted=wanted)
        return crops.take(crops.canonical_order())

    @cached_property
    def pictures(self) -> RecordedData:
        """What a baseline keeps of the labelled pictures."""
        return RecordedData(self.split, len(self.data), self.data.sha256)

    @property
    def same_data(self) -> bool:
        """Whether the baseline is of the same pictures, whatever their split is called."""
        kept = self.baseline.data
        return kept is not None and kept.sha256 == self.pictures.sha256


@dataclass(eq=False)
class Subject:
    """One cell of a run. It is opened and measured once, when a check needs it."""

    cell: Cell
    run: Run

    @cached_property
    def predictor(self) -> Predictor:
        """Opened on the cell's artifact; raises what Predictor raises."""
        self.cell.read()  # checks the hash, which opening by the path would not
        return Predictor(self.cell.path, backend=self.cell.backend)

    @property
    def spec(self) -> ModelSpec:
        """The spec that the artifact carries."""
        return self.predictor.info.spec

    @property
    def precision(self) -> str:
        """What the manifest says, or the artifact itself where there is none."""
        return self.cell.entry.precision if self.cell.entry else self.spec.precision

    @property
    def bounds(self) -> Bounds:
        """The baseline's for this precision. Raises ArtifactError."""
        known = self.run.baseline.bounds
        if self.precision not in known:
            raise ArtifactError(
                f"{self.cell.file} is of the precision {self.precision!r:.40}, which has no "
                f"bounds; there are {', '.join(known)}. Export it again, or put bounds of that "
                "name into the baseline"
            )
        return known[self.precision]

    @property
    def recorded(self) -> RecordedCell | None:
        """What the baseline has of this cell."""
        return self.run.baseline.cells.get(self.cell.name)

    @property
    def required(self) -> RecordedCell:
        """What the baseline has of this cell; raises NotCompared if it has nothing."""
        if self.recorded is None:
            raise NotCompared("the baseline lacks this cell; record it with --fer-update-baseline")
        return self.recorded

    @property
    def reference(self) -> Subject:
        """The fp32 subject to compare with; raises NotCompared if there is no other."""
        found = self.run.reference
        if found is None or found is self:
            raise NotCompared("there is no other fp32 artifact to compare with")
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: those of the pictures, or of the model without pictures."""
        return self.spec.labels if self.run.source is None else self.run.data.classes

    def predict(self, crops: Sequence[npt.NDArray[np.uint8]]) -> Probabilities:
        """Classify crops; ``(N, K)``."""
        return predict_crops(self.predictor, crops, self.cell.name)

    @cached_property
    def on_probes(self) -> Probabilities:
        """Answers to all probes, ``(N, K)``."""
        return self.predict(list(self.run.probes.values()))

    def answers(self) -> dict[str, Probabilities]:
        """Answers to all probes, by name."""
        return dict(zip(self.run.probes, self.on_probes, strict=True))

    @cached_property
    def on_data(self) -> Probabilities:
        """Answers to all labelled pictures, ``(N, K)``; raises NotCompared if none were given."""
        return self.predict(list(self.run.data.images))

    def timed(self) -> PairedLatency:
        """How long one crop takes compared with the reference, measured in turns."""
        return measure_pair(self.predictor, self.reference.predictor)

    def measured(self) -> RecordedCell:
        """Measure everything that a baseline keeps of a cell, rounded for review.

        The latency is left out if the machine is not quiet.
        """
        reference, mean_kl, latency = self.run.reference, None, None
        if reference is not None and reference is not self:
            mean_kl = _short(mean_kl_divergence(reference.on_probes, self.on_probes))
            found = self.timed()
            if not found.disturbances:  # a ratio from a busy machine would allow too much
                latency = RecordedLatency(_short(found.ratio), reference.cell.name, cpu_name())
        answers, artifact = islice(self.answers().items(), RECORDED), self.cell.read()
        return RecordedCell(
            precision=self.precision,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            answers={name: write_answer(given) for name, given in answers},
            mean_kl=mean_kl,
            latency=latency,
            accuracy=None if self.run.source is None else self._accuracy(),
        )

    def _accuracy(self) -> RecordedAccuracy:
        labels, given = self.run.data.labels, self.on_data
        scores = metrics.score(labels, given, self.classes)
        classes = scores.per_class.items()
        return RecordedAccuracy(
            accuracy=round(scores.accuracy, _RATE_DIGITS),
            recall={n: round(one.recall, _RATE_DIGITS) for n, one in classes if one.support},
            ece=round(scores.ece, _RATE_DIGITS),
            hits=pack_mask(given.argmax(axis=1) == labels),
        )

    def close(self) -> None:
        """Close the Predictor; what was measured stays."""
        if "predictor" in vars(self):
            self.predictor.close()
            del self.predictor


def _is_fp32(subject: Subject) -> bool:
    with suppress(FerEdgeError):  # each check of the cell fails with this error
        return subject.precision == "fp32"
    return False


def _short(value: float) -> float:
    return float(f"{value:.{_SMALL_DIGITS}g}")
