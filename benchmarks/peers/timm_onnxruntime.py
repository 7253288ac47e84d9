"""A timm network at 224 pixels in ONNX Runtime, with random weights: latency does not see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from imagenet_input import SIDE, imagenet_batch, softmax

from fer_bench.protocol import Adapter, serve


def graph_path(folder: Path, parameters: dict[str, Any]) -> Path:
    """Where the graph of a network lies."""
    return folder / f"{parameters['architecture']}-{parameters['classes']}.onnx"


class TimmOnnxRuntime(Adapter):
    """ONNX Runtime as it comes, but for the number of threads."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        self._file = graph_path(Path(parameters["folder"]), parameters)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        self._session = ort.InferenceSession(
            str(self._file), options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def prepare(cls, folder: Path, parameters: dict[str, Any]) -> None:
        """Export the network once."""
        file = graph_path(folder, parameters)
        if file.exists():
            return
        import timm
        import torch

        torch.manual_seed(0)
        model = timm.create_model(
            parameters["architecture"], num_classes=int(parameters["classes"])
        ).eval()
        temporary = file.with_suffix(".part")
        with torch.no_grad():
            torch.onnx.export(
                model,
                (torch.zeros(2, 3, SIDE, SIDE),),
                str(temporary),
                input_names=["pixels"],
                output_names=["logits"],
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
                external_data=False,
            )
        temporary.replace(file)

    def preprocess(self, crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Crops to ``(N, 3, 224, 224)``."""
        return imagenet_batch(crops)

    def infer(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits ``(N, classes)``."""
        return np.asarray(self._session.run(["logits"], {"pixels": batch})[0])

    def postprocess(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits to probabilities."""
        return softmax(raw)

    def describe(self) -> dict[str, Any]:
        """The graph and the session; no hash, since the weights are random."""
        return {
            "backend": "onnxruntime",
            "version": ort.__version__,
            "device": "cpu",
            "provider": self._session.get_providers()[0],
            "precision": "fp32",
            "inference_precision": "fp32",
            "threads": self.threads,
            "sha256": None,
            "size_bytes": self._file.stat().st_size,
        }


if __name__ == "__main__":
    serve(TimmOnnxRuntime)
