"""Running a network on pictures for evaluation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.images.preprocess import preprocess_all
from fer_edge.system.progress import track
from fer_edge.torch_model.network import Normalized, without_tf32

_BATCH = 256


def planes(images: torch.Tensor) -> torch.Tensor:
    """Gray ``(N, H, W)`` or BGR ``(N, H, W, 3)`` pictures as ``(N, C, H, W)``, in RGB."""
    if images.ndim == 3:  # noqa: PLR2004 - no channels
        return images[:, None]
    return images.flip(-1).permute(0, 3, 1, 2)


def as_tensor(crops: LabelledCrops, spec: ModelSpec) -> torch.Tensor:
    """Pictures as the runtime makes them, uint8 ``(N, C, H, W)``."""
    return torch.from_numpy(preprocess_all(crops.images, spec.input)).permute(0, 3, 1, 2)


@torch.no_grad()
def logits_of(network: nn.Module, spec: ModelSpec, crops: LabelledCrops) -> npt.NDArray[np.float32]:
    """Logits of every crop, float32 ``(N, 7)``, with the network in evaluation mode."""
    device = next(network.parameters()).device
    batches = np.array_split(np.arange(len(crops)), range(_BATCH, len(crops), _BATCH))
    model = Normalized(network, spec).to(device).eval()
    with without_tf32():
        parts = [
            model(as_tensor(crops.take(rows), spec).to(device)).cpu()
            for rows in track(batches, len(batches), "measuring")
        ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)
