"""The resumable state of a training, as one safetensors file; no pickle.

Everything random is drawn from generators seeded by (seed, epoch, step), so weights, averaged
weights, optimizer moments and the numbers of epoch and step are the whole state between two steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from timm.utils import ModelEmaV3
from torch import nn

from fer_edge.artifacts.record import parse_json
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.torch_model.checkpoint import write_tensors


@dataclass
class TrainingState:
    """Network, averaged network and optimizer, and how far the training is.

    The averaged network is what is evaluated and kept. Batch-norm statistics belong to the weights
    that they were measured with, so its own are estimated again before each use
    (``fer_train.conditioning``).

    ``epoch`` counts the finished epochs; ``best_accuracy`` is of the best checkpoint so far,
    -1 before the first; ``losses`` are those of all evaluations so far. ``step`` counts the steps
    of the epoch that was interrupted, ``seen`` is their loss and accuracy, ``seconds`` their time.
    """

    network: nn.Module
    averaged: ModelEmaV3
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    best_accuracy: float = -1.0
    losses: list[float] = field(default_factory=list)
    step: int = 0
    seen: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    def save(self, path: Path, run: str) -> None:
        """Write the state, whole or not at all; ``run`` names the training that it belongs to.

        Raises OSError if it cannot be written; the earlier state then stays.
        """
        facts = {
            "run": run,
            "epoch": self.epoch,
            "best_accuracy": self.best_accuracy,
            "losses": self.losses,
        }
        if self.step:
            facts |= {"step": self.step, "seen": self.seen, "seconds": self.seconds}
        write_tensors(path, dict(self._tensors()), {"state": json.dumps(facts)})

    def restore(self, path: Path, run: str) -> None:
        """Continue from a saved state.

        Raises ConfigurationError where it belongs to another training, and ArtifactError where the
        file is damaged or does not fit the network; the state may then be filled in part.
        """
        try:
            with safe_open(path, framework="pt") as stream:
                facts = parse_json((stream.metadata() or {}).get("state", ""), str(path))
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            if not isinstance(facts, dict) or facts.get("run") != run:
                raise ConfigurationError(
                    f"{path} belongs to a training with another recipe or other data, teachers or "
                    "weights to start from. Give another --out, or remove the folder to start "
                    "again."
                )
            self.epoch, self.best_accuracy = int(facts["epoch"]), float(facts["best_accuracy"])
            self.losses = [float(loss) for loss in facts["losses"]]
            self.step, self.seconds = int(facts.get("step", 0)), float(facts.get("seconds", 0))
            self.seen = [[float(loss), float(right)] for loss, right in facts.get("seen", ())]
            self.network.load_state_dict(_part(tensors, "network."))
            self.averaged.load_state_dict(_part(tensors, "averaged."))
            self._restore_moments(_part(tensors, "optimizer."))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as problem:
            raise ArtifactError(
                f"{path} is damaged: {problem}. Give another --out to train anew."
            ) from problem

    def _restore_moments(self, tensors: dict[str, torch.Tensor]) -> None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        for parameter, state in self.optimizer.state.items():
            for key, value in state.items():
                if value.shape == parameter.shape:  # in another memory layout sums would differ
                    state[key] = torch.empty_like(parameter).copy_(value).detach()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for prefix, module in (("network", self.network), ("averaged", self.averaged)):
            for name, tensor in module.state_dict().items():
                yield f"{prefix}.{name}", tensor
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                yield f"optimizer.{index}.{name}", torch.as_tensor(value)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
