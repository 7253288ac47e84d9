"""The training loop, from data to a checkpoint that is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional

from fer_edge.artifacts.record import json_digest
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.base import one_line
from fer_edge.errors import ConfigurationError, DivergedError, EngineError
from fer_edge.evaluation import metrics
from fer_edge.system.files import is_same, sha256_of
from fer_edge.system.progress import progress
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized, build
from fer_train.arithmetic import bf16_pays, bf16_warning, mixed_precision
from fer_train.augmentation import augment, fit_to, mix
from fer_train.conditioning import batch_norms, refresh_batch_norm
from fer_train.data import TrainingData
from fer_train.evaluation import as_tensor, logits_of, planes
from fer_train.journal import Epoch, Journal
from fer_train.optimizer import is_over, learning_rate, optimizer_of
from fer_train.parallel import Execution
from fer_train.pretrained import load_initial, read_source
from fer_train.randomness import draw_order, draw_step, draw_view
from fer_train.recipe import Recipe
from fer_train.starting import first_weights, freeze, mixed
from fer_train.state import TrainingState
from fer_train.stored_answers import StoredAnswers, answers_for
from fer_train.targets import log_priors
from fer_train.teachers import Ensemble, distillation_loss

BEST, LAST = checkpoint.BEST, "last.safetensors"
_ASK_EVERY = 32
"""How many steps pass until the first process or the device is asked again: asking takes time."""

_MEASURED_CROPS = 512
_KEPT = (
    "the last saved state is kept on disk, and so is the best checkpoint. Train anew "
    "with a lower learning_rate, or with gradient_clip."
)
"""The end of an error's message: what is kept and what to do."""


@dataclass(frozen=True)
class Sources:
    """What a training takes from others.

    ``initial`` are weights to start from, ``teachers`` checkpoints to learn from, and ``taught``
    is a file of teachers' answers to learn from instead (``fer_train.stored_answers``).
    """

    initial: str | None = None
    teachers: tuple[Path, ...] = ()
    taught: Path | None = None

    def __post_init__(self) -> None:
        if self.teachers and self.taught:
            raise ConfigurationError(
                "a training learns from teachers or from stored answers, not from both: leave out "
                "--teacher or --taught"
            )

    def require_kept_by(self, out: Path) -> None:
        """Raise ConfigurationError where a training in ``out`` would write over one of these."""
        given = [*([Path(self.initial)] if self.initial else []), *self.learnt_from]
        for path in given:
            if any(is_same(path, out / name) for name in (BEST, LAST)):
                raise ConfigurationError(
                    f"{path} is where this training writes its own weights; give another --out"
                )

    @property
    def learnt_from(self) -> tuple[Path, ...]:
        """The files that the training learns from; its name depends on them."""
        return (*self.teachers, *([self.taught] if self.taught else []))


class Trainer:
    """Trains one recipe on one data set in one folder, and continues where it stopped.

    ``out`` receives ``last.safetensors`` after every epoch, ``best.safetensors`` whenever the
    accuracy on ``public-test`` rises, and a line of ``metrics.jsonl`` per epoch; of several
    processes the first one writes. A deadline stops it after any step, from which the same call
    continues.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        out: Path,
        *,
        sources: Sources = Sources(),
        how: Execution = Execution(),
    ) -> None:
        self.recipe, self.data, self.out, self.how = recipe, data, out, how
        self.journal, device = Journal(out), how.device
        self.longest_step = self.longest_evaluation = 0.0
        self.pending: list[torch.Tensor] = []
        images = torch.from_numpy(data.train.images)
        # what is too large for the memory is in a file, and stays there
        self.images = images if isinstance(data.train.images, np.memmap) else images.to(device)
        self.labels = torch.from_numpy(data.train.labels).to(device)
        self.targets = torch.from_numpy(data.targets).to(device)
        self.log_priors = torch.from_numpy(log_priors(data.train)).to(device)
        self.steps = max(1, len(self.labels) // recipe.batch_size)
        torch.manual_seed(recipe.seed)
        weights = None if sources.initial is None else read_source(sources.initial)
        size = recipe.input if weights is None else weights.normalised(recipe.input)
        spec = ModelSpec(recipe.network, size, labels=data.train.classes)
        network = build(
            spec,
            dropout=recipe.dropout,
            drop_path=recipe.drop_path,
            patch_dropout=recipe.patch_dropout,
        )
        self.initial, parent = None, None
        if weights is not None:
            pictures = _clean_crops(data, spec, recipe.seed, _MEASURED_CROPS)
            self.initial = load_initial(network, spec, weights, pictures=pictures)
            parent = self.initial.sha256
            how.report(self.initial.describe())
        self.frozen = freeze(network, recipe, self.initial)
        self.first = first_weights(network, recipe, self.initial)
        network = how.place(network)
        self.run = run_id(recipe, data, parent, sources.learnt_from)
        self.spec = spec.with_provenance(
            training_run=self.run,
            data_sha256=data.sha256,
            parent_sha256=parent,
            started_from=self.initial.started_from if self.initial else None,
        )
        self.state = TrainingState(
            network=network,
            averaged=ModelEmaV3(network, recipe.ema),
            optimizer=optimizer_of(recipe, network),
        )
        self.taught: StoredAnswers | None = None
        if sources.taught is not None:
            self.taught = answers_for(sources.taught, data.train, recipe.augmentation).to(device)
        self.bf16 = recipe.arithmetic == "bf16" or (
            recipe.arithmetic == "auto" and bf16_pays(network, device)
        )
        if warning := bf16_warning(recipe.arithmetic, device):
            how.report(warning)
        self.ensemble: Ensemble | None = None
        if sources.teachers:
            self.ensemble = how.place(Ensemble(sources.teachers, data.train.classes))
        forward = how.wrap(Normalized(network, self.spec).to(device))
        self.teachers: Any = self.ensemble
        self.forward: Any = forward
        if how.compiled:
            self.teachers = self.ensemble and torch.compile(self.ensemble)
            self.forward = torch.compile(forward)

    def train(self) -> bool:
        """Train to the end, or until the deadline; tell whether the end was reached.

        Raises DivergedError when the loss or the weights are no longer finite; the last saved state
        stays on disk. Raises EngineError where a GPU's memory or the compiler fails.
        """
        if self.how.leads:
            self.out.mkdir(parents=True, exist_ok=True)
            for left in self.out.glob(".*.tmp"):  # by a run that was killed
                left.unlink()
        self.how.wait()
        if (self.out / LAST).exists():
            self.state.restore(self.out / LAST, self.run)
            self.how.report(f"continuing after {self.reached}")
        try:
            while not is_over(self.recipe, self.state.epoch, self.state.losses):
                if not self._one_epoch():
                    return False
        except torch.OutOfMemoryError as problem:
            raise EngineError(
                f"the GPU's memory is full; give a smaller --batch-size ({one_line(problem)})"
            ) from problem
        except RuntimeError as problem:
            if not self.how.compiled:
                raise
            raise EngineError(
                "the compiled step failed; torch's compiler needs a C++ compiler and Python's "
                f"headers: install them, or leave out --compile ({one_line(problem)})"
            ) from problem
        finally:
            self.journal.close()
        return True

    @property
    def reached(self) -> str:
        """How far the training is, in words."""
        state = self.state
        step = f" and step {state.step} of {self.steps}" if state.step else ""
        return f"epoch {state.epoch} of {self.recipe.epochs}{step}"

    def _has_time(self, step: int, seconds: float) -> bool:
        """Tell whether the first process has time for work of so many seconds.

        The other processes have to ask it. That takes time, so it is not done at every step.
        """
        if self.how.size > 1 and step % _ASK_EVERY and step != self.steps:
            return True
        return bool(self.how.broadcast(torch.tensor(float(self.how.deadline.allows(seconds)))))

    def _one_epoch(self) -> bool:
        """Do what is left of an epoch; tell whether there was time for all of it."""
        recipe, state, number = self.recipe, self.state, self.state.epoch + 1
        name = f"epoch {number}/{recipe.epochs}"
        started = time.perf_counter() - state.seconds
        if not self._learn(name):
            return self._interrupted(started)
        trained = time.perf_counter() - started
        # the last step may have ruined the weights, though its loss was still a number
        if not nn.utils.get_total_norm(state.network.parameters()).isfinite():
            raise DivergedError(
                f"the weights stopped being finite in the last batch of {name}; {_KEPT}"
            )
        is_evaluated = number % recipe.evaluate_every == 0 or number == recipe.epochs
        if is_evaluated and not self._has_time(self.steps, self.longest_evaluation):
            state.step = self.steps
            return self._interrupted(started)
        loss, accuracy = np.mean(state.seen, axis=0).tolist()
        state.epoch, state.step, state.seen, state.seconds = number, 0, [], 0.0
        evaluated = self._evaluate() if is_evaluated else None
        seconds = time.perf_counter() - started
        self.longest_evaluation = max(self.longest_evaluation, seconds - trained)
        line = Epoch(
            epoch=number,
            train_loss=loss,
            train_accuracy=accuracy,
            learning_rate=state.optimizer.param_groups[0]["lr"],
            images_per_s=self.steps * recipe.batch_size / trained,
            public_test_accuracy=evaluated[0] if evaluated else None,
            public_test_nll=evaluated[1] if evaluated else None,
            seconds=seconds,
            hardware=self.how.hardware,
        )
        if self.how.leads:
            self.journal.record(line)
        self._save()
        measured = f", public-test {evaluated[0]:.2%}" if evaluated else ""
        self.how.report(
            f"{name}: loss {line.train_loss:.3f}, {line.images_per_s:.0f} images/s{measured}"
        )
        return True

    def _learn(self, epoch: str) -> bool:
        """Take the steps from ``state.step`` on; tell whether there was time for all of them.

        Otherwise ``state.step`` is the one to continue with.
        """
        recipe, state, first = self.recipe, self.state, self.state.step
        self.forward.train()
        for part in self.frozen:
            part.eval()
        view, seen = self._view(), self.steps * recipe.batch_size
        order = draw_order(recipe.seed, state.epoch, len(self.labels)).to(self.how.device)
        with progress(seen, f"{epoch}, images") as bar:
            for step, batch in enumerate(order[:seen].tensor_split(self.steps)):
                if step >= first:
                    if not self._has_time(step, self.longest_step):
                        self._fetch(step, epoch)
                        state.step = step
                        return False
                    begun = time.perf_counter()
                    done = state.epoch + (step + 1) / self.steps
                    for group in state.optimizer.param_groups:
                        group["lr"] = learning_rate(recipe, done, state.losses)
                    draws = draw_step(recipe.seed, state.epoch, step, self.how)
                    both = self._one_step(self.how.share(batch), view, draws)
                    self.pending.append(torch.stack(both))
                    if len(self.pending) == _ASK_EVERY or step + 1 == self.steps:
                        self._fetch(step + 1, epoch)
                    if step > first:  # the first one may compile, which takes longer
                        self.longest_step = max(self.longest_step, time.perf_counter() - begun)
                bar.advance(len(batch), _in_words(state.seen[-1:]))
        return True

    def _fetch(self, steps: int, epoch: str) -> None:
        """Fetch loss and accuracy of the first ``steps`` steps, as far as they are pending.

        They stay on the device until then. Every process gets the mean of all, so that they all
        stop together. Raises DivergedError, maybe some steps late.
        """
        values = self.how.mean(torch.stack(self.pending)).tolist() if self.pending else []
        self.pending = []
        for number, (loss, _) in enumerate(values, steps - len(values)):
            if not math.isfinite(loss):
                raise DivergedError(f"the loss became {loss} in batch {number} of {epoch}; {_KEPT}")
        self.state.seen += values

    def _interrupted(self, started: float) -> bool:
        """Save what is needed to continue with step ``state.step``."""
        self.state.seconds = time.perf_counter() - started
        self._save()
        return False

    def _save(self) -> None:
        """Let the first process save the state; the others wait for it."""
        if self.how.leads:
            self.state.save(self.out / LAST, self.run)
        self.how.wait()

    def _view(self) -> tuple[int, torch.Tensor]:
        """Number and draws of this epoch's view; with stored answers, a view that they answer."""
        seed, number = self.recipe.seed, self.state.epoch
        if self.taught is not None:
            seed, number = self.taught.info.seed, number % self.taught.views
        return number, draw_view(seed, number, len(self.labels), self.how.device)

    def _one_step(
        self,
        batch: torch.Tensor,
        view: tuple[int, torch.Tensor],
        draws: tuple[np.random.Generator, torch.Generator],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Learn from the pictures with these numbers; return their loss and accuracy.

        Nothing here asks the device for a value, so that the host can run ahead of it.
        """
        recipe, temperature = self.recipe, self.recipe.distillation_temperature
        number, drawn = view
        on_host, on_device = draws
        chosen = self.images[batch.to(self.images.device)].to(self.how.device)
        images = augment(planes(chosen), recipe.augmentation, drawn[batch])
        rows = [images, self.targets[batch]]
        if self.taught is not None:
            rows.append(self.taught.probabilities(number, batch, temperature))
        if on_host.random() < recipe.mixup:
            rows = mix(rows, on_host.beta(recipe.mixup_alpha, recipe.mixup_alpha), on_device)
        images, targets, *stored = rows
        if self.teachers is not None:
            stored = [self.teachers(images, temperature)]
        with mixed_precision(self.bf16, self.how.device):
            logits = self.forward(fit_to(images, recipe.input))
        loss = self._loss(logits.float(), targets, *stored)
        self.state.optimizer.zero_grad()
        loss.backward()
        if recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.state.network.parameters(), recipe.gradient_clip)
        self.state.optimizer.step()
        self.state.averaged.update(self.state.network)
        return loss.detach(), (logits.argmax(1) == self.labels[batch]).float().mean()

    def _loss(
        self, logits: torch.Tensor, targets: torch.Tensor, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        recipe = self.recipe
        adjusted = logits + recipe.logit_adjustment * self.log_priors
        loss = functional.cross_entropy(adjusted, targets, label_smoothing=recipe.label_smoothing)
        if taught is None:
            return loss
        distilled = distillation_loss(logits, taught, recipe.distillation_temperature)
        return torch.lerp(loss, distilled, recipe.distillation)

    def _evaluate(self) -> tuple[float, float]:
        """Measure accuracy and loss on ``public-test``; the first process tells them to all."""
        recipe, crops = self.recipe, self.data.validation
        kept = mixed(self.state.averaged.module, self.first, recipe.initial_share)
        accuracy = loss = math.nan
        if self.how.leads:
            if batch_norms(kept):
                normalized = Normalized(kept, self.spec).to(self.how.device)
                clean = _clean_crops(self.data, self.spec, recipe.seed, recipe.batch_norm_crops)
                refresh_batch_norm(normalized, clean.to(self.how.device))
            logits = logits_of(kept, self.spec, crops)
            if np.isfinite(logits).all():
                scores = metrics.score(crops.labels, metrics.softmax(logits), crops.classes)
                accuracy, loss = scores.accuracy, scores.nll
        measured = torch.tensor([accuracy, loss], dtype=torch.float64)
        accuracy, loss = self.how.broadcast(measured).tolist()
        if not math.isfinite(loss):
            raise DivergedError(
                f"after epoch {self.state.epoch} the network answers with numbers that are not "
                f"finite; {_KEPT}"
            )
        if self.how.leads and accuracy > self.state.best_accuracy:
            self.state.best_accuracy = accuracy
            checkpoint.save(self.out / BEST, kept.state_dict(), self.spec)
        self.state.losses.append(loss)
        return accuracy, loss


def _in_words(steps: list[list[float]]) -> str:
    return ", ".join(f"loss {loss:.3f}, accuracy {accuracy:.0%}" for loss, accuracy in steps)


def _clean_crops(data: TrainingData, spec: ModelSpec, seed: int, count: int) -> torch.Tensor:
    """Draw training crops, since archives list them by class; as the runtime makes them."""
    drawn = np.random.default_rng(seed).permutation(len(data.train))
    return as_tensor(data.train.take(drawn[:count]), spec)


def run_id(
    recipe: Recipe, data: TrainingData, initial: str | None, teachers: Iterable[Path]
) -> str:
    """Name a training after all that determines it: settings, data and weights from elsewhere.

    ``initial`` is the sha256 of the weights that it starts from; ``teachers`` are the files that it
    learns from, checkpoints or stored answers.
    """
    taught = list(map(sha256_of, teachers))
    return f"{recipe.model}-{json_digest([recipe.digest, data.sha256, initial, taught])[:16]}"
