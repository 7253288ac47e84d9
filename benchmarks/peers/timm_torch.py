"""A timm network at 224 pixels in torch, eager, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from imagenet_input import imagenet_batch

from fer_bench.protocol import Adapter, serve


class TimmTorch(Adapter):
    """A module in evaluation mode, called without gradients."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        self._model = timm.create_model(
            parameters["architecture"], num_classes=int(parameters["classes"])
        ).eval()

    def preprocess(self, crops: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """Crops to ``(N, 3, 224, 224)``."""
        return torch.from_numpy(imagenet_batch(crops))

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, classes)``."""
        with torch.inference_mode():
            return self._model(batch)

    def postprocess(self, raw: torch.Tensor) -> npt.NDArray[np.float32]:
        """Logits to probabilities."""
        return raw.softmax(dim=1).numpy()

    def describe(self) -> dict[str, Any]:
        """The module; no hash, since the weights are random."""
        return {
            "backend": "torch",
            "version": torch.__version__,
            "device": "cpu",
            "provider": "eager",
            "precision": "fp32",
            "inference_precision": "fp32",
            "threads": self.threads,
            "sha256": None,
            "size_bytes": sum(
                p.numel() * p.element_size() for p in self._model.state_dict().values()
            ),
        }


if __name__ == "__main__":
    serve(TimmTorch)
