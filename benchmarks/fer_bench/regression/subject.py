"""A cell under test: its Predictor, its answers, and what the baseline has recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fer_bench.measure_accuracy import predict_crops
from fer_bench.regression.baseline import Baseline, Bounds, RecordedCell, RecordedData
from fer_bench.regression.cells import Cell
from fer_bench.regression.outcome import NotCompared
from fer_edge.artifacts.manifest import GoldenCrop
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.predictor import Predictor

Probabilities = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """The labelled pictures of a run, and what a baseline keeps of them."""

    crops: LabelledCrops
    record: RecordedData

    @classmethod
    def load(cls, data: fer2013.Data, split: str, spec: ModelSpec | None = None) -> EvaluationData:
        """Read a split, for the model of ``spec`` if it is given. Raises DataError.

        The pictures are sorted by the hash of label and pixels, so that their order does not depend
        on the container.
        """
        labels, wanted = (None, None) if spec is None else (spec.labels, spec.input)
        crops = fer2013.load(data, split, labels=labels, wanted=wanted)
        record = RecordedData(split, len(crops), crops.sha256)
        return cls(crops.take(crops.canonical_order()), record)


@dataclass(eq=False)
class Run:
    """What the subjects of a run share.

    ``reference`` is the fp32 subject that others are compared with. ``other_data`` says that
    pictures other than the baseline's are meant.
    """

    model: str
    baseline: Baseline
    golden: tuple[GoldenCrop, ...] = ()
    probes: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    data: EvaluationData | None = None
    other_data: bool = False
    reference: Subject | None = None

    @property
    def same_data(self) -> bool:
        """Whether the baseline is of the same pictures, whatever their split is called."""
        kept, now = self.baseline.data, self.data
        return kept is not None and now is not None and kept.sha256 == now.record.sha256


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
    def data(self) -> EvaluationData:
        """The labelled pictures; raises NotCompared if none were given."""
        if self.run.data is None:
            raise NotCompared("no pictures were given; add --fer-data")
        return self.run.data

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: those of the pictures, or of the model without pictures."""
        return self.spec.labels if self.run.data is None else self.run.data.crops.classes

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
        return self.predict(list(self.data.crops.images))

    def close(self) -> None:
        """Close the Predictor; what was measured stays."""
        if "predictor" in vars(self):
            self.predictor.close()
            del self.predictor
