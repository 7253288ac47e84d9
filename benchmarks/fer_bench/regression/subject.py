"""A cell under test: its Predictor, what it answered, and what the baseline has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fer_bench.predict_crops import predict_crops
from fer_bench.regression.baseline import Baseline, Bounds, RecordedCell
from fer_bench.regression.cells import Cell
from fer_bench.regression.outcome import NotCompared
from fer_bench.regression.pictures import EvaluationData, same_data
from fer_edge.artifacts.manifest import GoldenCrop
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.predictor import Predictor

__all__ = ["Subject"]

Probabilities = npt.NDArray[np.floating]


@dataclass(eq=False)
class Subject:
    """One cell of the model called ``model``; it is opened and measured once, when it is needed.

    ``other_data`` says that other pictures than the baseline's are meant.
    """

    cell: Cell
    model: str
    probes: dict[str, npt.NDArray[np.uint8]]
    golden: tuple[GoldenCrop, ...]
    baseline: Baseline
    data: EvaluationData | None = None
    other_data: bool = False
    reference: Subject | None = None
    _predictor: Predictor | None = None
    _on_probes: Probabilities | None = field(default=None, repr=False)
    _on_data: Probabilities | None = field(default=None, repr=False)

    @property
    def predictor(self) -> Predictor:
        """Opened on the cell's artifact; raises what Predictor raises."""
        if self._predictor is None:
            self.cell.read()  # checks the hash, which opening by the path would not
            self._predictor = Predictor(self.cell.path, backend=self.cell.backend)
        return self._predictor

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
        known = self.baseline.bounds
        if self.precision not in known:
            raise ArtifactError(
                f"{self.cell.file} is of the precision {self.precision!r:.40}, which has no "
                f"bounds; there are {', '.join(known)}: export it anew, or put bounds of that "
                "name into the baseline"
            )
        return known[self.precision]

    @property
    def recorded(self) -> RecordedCell | None:
        """What the baseline has of this cell."""
        return self.baseline.cells.get(self.cell.name)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels of the pictures, int64 ``(N,)``."""
        return np.empty(0, np.int64) if self.data is None else self.data.crops.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, those of the pictures where there are any."""
        return self.spec.labels if self.data is None else self.data.crops.classes

    @property
    def same_data(self) -> bool:
        """Whether the baseline is of the very same pictures."""
        return same_data(self.baseline, self.data)

    def required(self) -> RecordedCell:
        """What the baseline has of this cell; raises NotCompared if it has nothing."""
        kept = self.recorded
        if kept is None:
            raise NotCompared("the baseline lacks this cell")
        return kept

    def predict(self, crops: Sequence[npt.NDArray[np.uint8]]) -> Probabilities:
        """Classify crops; ``(N, K)``."""
        return predict_crops(self.predictor, crops, self.cell.name)

    def probe_matrix(self) -> Probabilities:
        """Answers to all probes, ``(N, K)``."""
        if self._on_probes is None:
            self._on_probes = self.predict(list(self.probes.values()))
        return self._on_probes

    def answers(self) -> dict[str, Probabilities]:
        """Answers to all probes, by name."""
        return dict(zip(self.probes, self.probe_matrix(), strict=True))

    def on_data(self) -> Probabilities:
        """Answers to all labelled pictures, ``(N, K)``; raises NotCompared if none were given."""
        if self.data is None:
            raise NotCompared("no pictures were given; --fer-data")
        if self._on_data is None:
            self._on_data = self.predict(list(self.data.crops.images))
        return self._on_data

    def close(self) -> None:
        """Close the Predictor; what was measured stays."""
        opened, self._predictor = self._predictor, None
        if opened is not None:
            opened.close()
