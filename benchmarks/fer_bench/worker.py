"""The process that measures a Predictor: ``python -m fer_bench.worker``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_bench.protocol import Adapter, serve
from fer_edge.artifacts.artifact import read_artifact
from fer_edge.backends.base import BackendOptions
from fer_edge.images.pixels import check_crop
from fer_edge.images.preprocess import preprocess
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor

UInt8Array = npt.NDArray[np.uint8]

_DESCRIBED = (
    "backend", "version", "device", "provider", "precision", "inference_precision", "threads",
    "sha256",
)  # fmt: skip


class PredictorAdapter(Adapter):
    """Calls ``predict`` for one crop and ``predict_batch`` for several, as users do."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        settings = {field.name for field in fields(BackendOptions)} & parameters.keys()
        options = BackendOptions(**{name: parameters[name] for name in settings})
        others = {name: value for name, value in parameters.items() if name not in settings}
        self._predictor = Predictor(**others, options=options)
        self._input = self._predictor.info.spec.input

    def predict(self, crops: Sequence[UInt8Array]) -> npt.NDArray[np.float32]:
        """Probabilities ``(N, 7)``, through the call that a user would make."""
        if len(crops) == 1:
            return self._predictor.predict(crops[0]).probabilities[None]
        return np.stack([p.probabilities for p in self._predictor.predict_batch(crops)])

    def preprocess(self, crops: Sequence[UInt8Array]) -> UInt8Array:
        """Crops to the artifact's tensor."""
        batch = np.empty((len(crops), *self._input.shape), np.uint8)
        for row, crop in zip(batch, crops, strict=True):
            preprocess(check_crop(crop), self._input, row)
        return batch

    def infer(self, batch: UInt8Array) -> npt.NDArray[np.float32]:
        """Run the engine; probabilities ``(N, 7)``."""
        return self._predictor.predict_tensor(batch)[1]

    def postprocess(self, raw: npt.NDArray[np.float32]) -> list[Prediction]:
        """Rows to answers."""
        return [Prediction(row) for row in raw]

    @property
    def concurrency(self) -> int:
        """Calls that the engine advises to make side by side."""
        return self._predictor.info.concurrency

    @property
    def max_batch(self) -> int | None:
        """What the artifact takes at once."""
        return self._predictor.info.max_batch

    def describe(self) -> dict[str, Any]:
        """What ``Predictor.info`` says, and the size of the artifact's files."""
        info = self._predictor.info
        artifact = None if info.artifact is None else read_artifact(info.artifact)
        told = {name: getattr(info, name) for name in _DESCRIBED}
        return told | {"size_bytes": None if artifact is None else artifact.size_bytes}


if __name__ == "__main__":
    serve(PredictorAdapter)
