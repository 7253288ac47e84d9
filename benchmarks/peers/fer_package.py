"""The ``fer`` package's quantised mini-Xception, with LiteRT instead of all of TensorFlow.

The steps are those of ``fer.FER.detect_emotions`` (25.10.3) for a face that was found already:
gray, 64 x 64, scaled to -1..1, one face after the other. Its margin around a box is left out; the
crop is the face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from fer_bench.protocol import Adapter, serve

_MODEL = "fer/data/emotion_model_quantized.tflite"
_SIDE, _COLOR_DIMENSIONS = 64, 3


class FerPackage(Adapter):
    """One interpreter, as the package keeps one."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        self._file = Path(str(metadata.distribution("fer").locate_file(_MODEL)))
        self._interpreter = Interpreter(str(self._file), num_threads=self.threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def preprocess(self, crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Crops to float32 ``(N, 64, 64, 1)``."""
        faces = []
        for crop in crops:
            is_color = crop.ndim == _COLOR_DIMENSIONS
            gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) if is_color else crop
            faces.append(cv2.resize(gray, (_SIDE, _SIDE)))
        scaled = np.array(faces, dtype="float32") / 255.0
        return np.expand_dims((scaled - 0.5) * 2.0, -1)

    def infer(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One face after the other; probabilities ``(N, 7)`` in our order."""
        rows = []
        for index in range(len(batch)):
            self._interpreter.set_tensor(self._input, batch[index : index + 1])
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output)[0])
        return np.array(rows)

    def postprocess(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The package's scores are probabilities already; it only names them."""
        return raw

    def describe(self) -> dict[str, Any]:
        """The file and the interpreter."""
        data = self._file.read_bytes()
        return {
            "backend": "litert",
            "version": metadata.version("ai-edge-litert"),
            "device": "cpu",
            "provider": "XNNPACK",
            "precision": "int8 weights",
            "inference_precision": "unknown",
            "threads": self.threads,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }


if __name__ == "__main__":
    serve(FerPackage)
