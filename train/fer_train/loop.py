"""The training loop, from data to a checkpoint that is measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import timm.optim
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fer_edge import checkpoint, metrics
from fer_edge.emotion import LABELS
from fer_edge.errors import FerEdgeError
from fer_edge.fer2013 import LabelledCrops
from fer_edge.network import Normalized, build
from fer_edge.progress import progress
from fer_edge.spec import ModelSpec, Provenance
from fer_train.augmentation import augment, mix
from fer_train.conditioning import refresh_batch_norm
from fer_train.data import TrainingData
from fer_train.recipe import Recipe
from fer_train.state import TrainingState

__all__ = ["BEST", "LAST", "METRICS", "DivergedError", "Trainer", "logits_of"]

BEST, LAST, METRICS = "best.safetensors", "last.safetensors", "metrics.jsonl"
_EVALUATION_BATCH = 256


class DivergedError(FerEdgeError):
    """The loss stopped being a number; the last good state is on disk."""


@dataclass(frozen=True)
class Epoch:
    """One line of ``metrics.jsonl``. Accuracies are fractions of 1, None where not measured."""

    epoch: int
    train_loss: float
    train_accuracy: float
    learning_rate: float
    images_per_s: float
    public_test_accuracy: float | None
    public_test_nll: float | None


class Trainer:
    """Trains one recipe on one data set in one folder, and continues where it stopped.

    ``out`` receives ``last.safetensors`` after every epoch, ``best.safetensors`` whenever the
    accuracy on ``public-test`` rises, and a line of ``metrics.jsonl`` per epoch. ``compiled``
    has torch compile the training step: the same mathematics, about twice as fast on a CPU.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        out: Path,
        *,
        compiled: bool = False,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.recipe, self.data, self.out, self.report = recipe, data, out, report
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.run = f"{recipe.model}-{recipe.digest[:12]}-{data.sha256[:12]}"
        self.spec = ModelSpec(
            recipe.network,
            recipe.input,
            provenance=Provenance(training_run=self.run, data_sha256=data.sha256),
        )
        self.images, self.labels = as_tensors(data.train, self.spec, self.device)
        # the archive lists class by class, so the clean crops are drawn from all of it
        shuffled = torch.randperm(
            len(self.images), generator=torch.Generator().manual_seed(recipe.seed)
        )
        self.clean = self.images[shuffled[: recipe.batch_norm_crops]]
        self.steps = max(1, len(self.labels) // recipe.batch_size)
        torch.manual_seed(recipe.seed)
        network = build(self.spec, dropout=recipe.dropout).to(self.device)
        self.state = TrainingState(
            network=network,
            averaged=AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)),
            optimizer=timm.optim.create_optimizer_v2(
                network,
                opt=recipe.optimizer,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
            ),
        )
        forward = Normalized(network, self.spec).to(self.device)
        self.forward = cast("nn.Module", torch.compile(forward)) if compiled else forward

    def train(self) -> None:
        """Run the epochs that are left.

        Raises DivergedError when the loss is no longer finite; the state of the last finished
        epoch stays on disk.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        if (self.out / LAST).exists():
            self.state.restore(self.out / LAST, self.run)
            self.report(f"continuing after epoch {self.state.epoch} of {self.recipe.epochs}")
        while self.state.epoch < self.recipe.epochs:
            self._one_epoch()

    def _one_epoch(self) -> None:
        recipe, epoch = self.recipe, self.state.epoch
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
        torch.manual_seed(recipe.seed * 100_003 + epoch)  # dropout draws from the global one
        order = torch.randperm(len(self.labels), generator=generator)
        batches = order[: self.steps * recipe.batch_size].tensor_split(self.steps)
        started, losses, hits = time.perf_counter(), [], 0
        self.forward.train()
        with progress(len(order), f"epoch {epoch + 1}/{recipe.epochs}") as bar:
            for step, batch in enumerate(batches):
                set_learning_rate(self.state.optimizer, self._learning_rate(step))
                loss, right = self._one_step(batch, generator)
                if not math.isfinite(loss):
                    raise DivergedError(
                        f"the loss became {loss} in batch {step} of epoch {epoch + 1}. "
                        f"The state after epoch {epoch} is kept in {self.out / LAST}; "
                        "lower learning_rate and start again."
                    )
                losses.append(loss)
                hits += right
                bar.advance(len(batch), f"loss {np.mean(losses[-50:]):.3f}")
        seconds = time.perf_counter() - started
        self.state.epoch += 1
        evaluated = self._evaluate() if self._is_evaluated(self.state.epoch) else None
        line = Epoch(
            epoch=self.state.epoch,
            train_loss=float(np.mean(losses)),
            train_accuracy=hits / sum(map(len, batches)),
            learning_rate=self._learning_rate(self.steps - 1, epoch),
            images_per_s=sum(map(len, batches)) / seconds,
            public_test_accuracy=evaluated.accuracy if evaluated else None,
            public_test_nll=evaluated.nll if evaluated else None,
        )
        self._record(line)
        self.state.save(self.out / LAST, self.run)
        measured = f", public-test {evaluated.accuracy:.2%}" if evaluated else ""
        self.report(
            f"epoch {line.epoch}/{recipe.epochs}: loss {line.train_loss:.3f}, "
            f"{line.images_per_s:.0f} images/s{measured}"
        )

    def _one_step(self, batch: torch.Tensor, generator: torch.Generator) -> tuple[float, int]:
        recipe = self.recipe
        labels = self.labels[batch]
        images = augment(self.images[batch], recipe.augmentation, generator)
        targets = functional.one_hot(labels, len(LABELS)).to(torch.float32)
        if torch.rand((), generator=generator) < recipe.mixup:
            images, targets = mix(images, targets, self._mixing_weight(generator), generator)
        logits = self.forward(images)
        loss = functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
        self.state.optimizer.zero_grad()
        loss.backward()
        self.state.optimizer.step()
        self.state.averaged.update_parameters(self.state.network)
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def _mixing_weight(self, generator: torch.Generator) -> float:
        seed = int(torch.randint(2**31, (), generator=generator))
        alpha = self.recipe.mixup_alpha
        return float(np.random.default_rng(seed).beta(alpha, alpha))

    def _learning_rate(self, step: int, epoch: int | None = None) -> float:
        """Linear warm-up, then a cosine down to a hundredth."""
        recipe = self.recipe
        done = (self.state.epoch if epoch is None else epoch) + (step + 1) / self.steps
        if done < recipe.warmup_epochs:
            return recipe.learning_rate * done / recipe.warmup_epochs
        share = (done - recipe.warmup_epochs) / max(1, recipe.epochs - recipe.warmup_epochs)
        return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def _is_evaluated(self, epoch: int) -> bool:
        return epoch % self.recipe.evaluate_every == 0 or epoch == self.recipe.epochs

    def _evaluate(self) -> metrics.Scores:
        averaged = self.state.averaged.module
        refresh_batch_norm(Normalized(averaged, self.spec).to(self.device), self.clean)
        logits = logits_of(averaged, self.spec, self.data.validation)
        scores = metrics.score(self.data.validation.labels, metrics.softmax(logits), LABELS)
        if scores.accuracy > self.state.best_accuracy:
            self.state.best_accuracy = scores.accuracy
            checkpoint.save(self.out / BEST, averaged.state_dict(), self.spec)
        return scores

    def _record(self, line: Epoch) -> None:
        """Append to the metrics, dropping what an interrupted run wrote beyond its state."""
        path = self.out / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [old for old in lines if json.loads(old)["epoch"] < line.epoch]
        text = "\n".join([*kept, json.dumps(asdict(line))]) + "\n"
        path.write_text(text, encoding="utf-8")


def as_tensors(
    crops: LabelledCrops, spec: ModelSpec, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as uint8 ``(N, C, H, W)`` and labels as int64 ``(N,)``."""
    images = torch.from_numpy(crops.images)[:, None].expand(-1, spec.input.channels, -1, -1)
    return images.to(device), torch.from_numpy(crops.labels).to(device)


@torch.no_grad()
def logits_of(network: nn.Module, spec: ModelSpec, crops: LabelledCrops) -> np.ndarray:
    """Logits of every crop, float32 ``(N, 7)``, with the network in evaluation mode."""
    device = next(network.parameters()).device
    images, _ = as_tensors(crops, spec, device)
    model = Normalized(network, spec).to(device).eval()
    return torch.cat([model(part).cpu() for part in images.split(_EVALUATION_BATCH)]).numpy()


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the same rate on every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value
