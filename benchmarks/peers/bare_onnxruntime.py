"""ONNX Runtime's own loop on a file of ours, with the settings that our backend uses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from own_input import own_batch

from fer_bench.protocol import Adapter, serve


class BareOnnxRuntime(Adapter):
    """What a user would write by hand."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        options = ort.SessionOptions()
        self._abreast = parameters["goal"] == "throughput"
        options.intra_op_num_threads = 1 if self._abreast else self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            parameters["artifact"], options, providers=["CPUExecutionProvider"]
        )
        shape = self._session.get_inputs()[0].shape
        self._shape = (int(shape[1]), int(shape[2]), int(shape[3]))

    def preprocess(self, crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Crops to the artifact's tensor."""
        return own_batch(crops, self._shape)

    def infer(self, batch: npt.NDArray[np.uint8]) -> Any:
        """Logits and probabilities, as ``predict`` asks for both."""
        return self._session.run(["logits", "probabilities"], {"crop": batch})

    def postprocess(self, raw: Any) -> npt.NDArray[np.float32]:
        """The probabilities."""
        return np.asarray(raw[1])

    @property
    def concurrency(self) -> int:
        """For throughput, a call per thread."""
        return self.threads if self._abreast else 1

    def describe(self) -> dict[str, Any]:
        """The file and the session."""
        data = Path(self.parameters["artifact"]).read_bytes()
        return {
            "backend": "onnxruntime",
            "version": ort.__version__,
            "device": "cpu",
            "provider": self._session.get_providers()[0],
            "threads": self.threads,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }


if __name__ == "__main__":
    serve(BareOnnxRuntime)
