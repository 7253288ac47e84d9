"""Distillation: a student learns from the averaged answers of one or more checkpoints.

Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import fer_train.teacher_networks  # noqa: F401 - a teacher may be one of these
from fer_edge.emotion import LABELS
from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized
from fer_train.arithmetic import bf16_pays, mixed_precision
from fer_train.augmentation import fit_to
from fer_train.evaluation import planes

_BATCH = 256


class Ensemble(nn.Module):
    """The mean of the probabilities of several checkpoints, on the student's own pictures.

    A teacher of another size or colour gets them resized (bilinear) and converted. Each computes in
    bfloat16 where that is faster for it. ``names`` are those of their trainings, or of the files
    where these do not tell. Raises ArtifactError for a checkpoint that cannot be loaded, and
    ConfigurationError for one of other classes than ``labels``.
    """

    def __init__(self, paths: Sequence[Path], labels: tuple[str, ...] = LABELS) -> None:
        super().__init__()
        loaded = [checkpoint.load(path) for path in paths]
        for path, (_, spec) in zip(paths, loaded, strict=True):
            if spec.labels != labels:
                raise ConfigurationError(
                    f"the teacher {path} answers with {', '.join(spec.labels)}, and the data is of "
                    f"{', '.join(labels)}; a teacher needs the same classes in the same order"
                )
        specs = [spec for _, spec in loaded]
        self.inputs = [spec.input for spec in specs]
        runs = [spec.provenance.training_run for spec in specs]
        self.names = tuple(run or path.name for run, path in zip(runs, paths, strict=True))
        self.networks = nn.ModuleList(Normalized(*one) for one in loaded)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels ``(N, C, H, W)``, 0 to 255, to every teacher's logits ``(N, teachers, 7)``."""
        answers = []
        for network, spec in zip(self.networks, self.inputs, strict=True):
            with mixed_precision(bf16_pays(network, pixels.device), pixels.device):
                answers.append(network(fit_to(pixels, spec)).float())
        return torch.stack(answers, 1)

    def forward(self, pixels: torch.Tensor, temperature: float) -> torch.Tensor:
        """Map pixels ``(N, C, H, W)``, 0 to 255, to probabilities ``(N, 7)``."""
        return mean_probabilities(self.logits(pixels), temperature)


def mean_probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Average what teachers answer: logits ``(N, teachers, 7)`` to probabilities ``(N, 7)``."""
    return logits.div(temperature).softmax(2).mean(1)


@torch.no_grad()
def accuracy_of(ensemble: Ensemble, crops: LabelledCrops, device: torch.device) -> float:
    """How often the mean of the ensemble is right, a fraction of 1."""
    right, labels = 0, torch.from_numpy(crops.labels)
    batches = planes(torch.from_numpy(crops.images)).split(_BATCH)
    for images, wanted in zip(batches, labels.split(_BATCH), strict=True):
        answers = ensemble(images.to(device).float(), temperature=1.0).argmax(1).cpu()
        right += int((answers == wanted).sum())
    return right / len(crops)


def distillation_loss(
    logits: torch.Tensor, taught: torch.Tensor, temperature: float
) -> torch.Tensor:
    """KL divergence from the teachers' probabilities ``taught``, times the temperature squared.

    The square keeps its gradients as large as those of the labels, whatever the temperature. The
    loss is 0 where the student agrees, so losses of different teachers can be compared.
    """
    told = functional.log_softmax(logits / temperature, dim=1)
    return functional.kl_div(told, taught, reduction="batchmean") * temperature**2
