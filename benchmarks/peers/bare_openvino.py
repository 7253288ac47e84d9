"""OpenVINO's own loop on a file of ours, with the settings that our backend uses.

For one crop the model is made static, as people who look for speed do, and as ours is.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from own_input import own_batch

from fer_bench.protocol import Adapter, serve

# its conversion tools tell their makers of every import, over the network
sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
import openvino as ov  # noqa: E402

_PRECISIONS = {None: "f32", "bf16": "bf16", "fp16": "f16"}


class BareOpenVino(Adapter):
    """One infer request per calling thread, called again and again."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        core = ov.Core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": parameters["goal"].upper(),
            "INFERENCE_PRECISION_HINT": _PRECISIONS[parameters["inference_precision"]],
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,
        }
        model = core.read_model(parameters["artifact"])
        if parameters["batch"] == 1:
            model.reshape({"crop": [1, *list(model.input("crop").partial_shape)[1:]]})
        self._compiled = core.compile_model(model, "CPU", settings)
        self._own = threading.local()
        shape = model.input("crop").partial_shape
        self._shape = tuple(shape[axis].get_length() for axis in (1, 2, 3))

    def preprocess(self, crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Crops to the artifact's tensor."""
        return own_batch(crops, self._shape)

    def infer(self, batch: npt.NDArray[np.uint8]) -> Any:
        """Run the request of this thread."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        return self._own.request.infer({"crop": batch})

    @property
    def concurrency(self) -> int:
        """What OpenVINO finds best."""
        return int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def postprocess(self, raw: Any) -> npt.NDArray[np.float32]:
        """The probabilities."""
        return np.asarray(raw["probabilities"])

    def describe(self) -> dict[str, Any]:
        """The files and the compiled model."""
        file = Path(self.parameters["artifact"])
        weights = file.with_suffix(".bin")
        data = file.read_bytes()
        return {
            "backend": "openvino",
            "version": ov.__version__,
            "device": "cpu",
            "provider": "CPU",
            "threads": self._compiled.get_property("INFERENCE_NUM_THREADS"),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data) + (weights.stat().st_size if weights.exists() else 0),
        }


if __name__ == "__main__":
    serve(BareOpenVino)
