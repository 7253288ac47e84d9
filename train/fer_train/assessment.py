"""Measuring a finished training, and the report of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError
from fer_edge.evaluation import metrics
from fer_edge.evaluation.metrics import Scores
from fer_edge.system.read_file import read_file
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized
from fer_train.conditioning import Conditioning, measure
from fer_train.data import TrainingData
from fer_train.evaluation import as_tensor, logits_of
from fer_train.recipe import Recipe, is_plain, require_plain
from fer_train.temperature import cross_fitted, fit

SCHEMA = "fer-train/3"
NOT_RECORDED = "not recorded"
"""Stands in a history for what older releases did not record."""

_CONDITIONING_CROPS = 2048
_MANY = 10**12
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class History:
    """How a training went, all its interruptions included.

    ``recipe`` names the recipe file or the preset, ``initial`` the weights that it started from,
    ``teachers`` the runs that taught it; ``teachers_accuracy`` is of their mean, on
    ``public-test``. ``seconds`` is the time of the ``epochs`` on ``hardware``, evaluations
    included; ``ended`` the date in UTC. ``votes`` is the table of FER+ votes that was mixed into
    the labels, None where there was none.
    """

    recipe: str
    epochs: int
    seconds: float
    hardware: tuple[str, ...]
    initial: str | None
    teachers: tuple[str, ...]
    teachers_accuracy: float | None
    ended: str
    votes: str | None = NOT_RECORDED


@dataclass(frozen=True)
class Report:
    """Everything about a finished training; rates are fractions of 1.

    ``scores`` are on ``public-test``, on which the checkpoint was selected, from one view of each
    picture; ``flip_averaged`` from the mean of its probabilities and those of its mirror image.
    Each is also given without the pictures that are copies of pictures in the train split, which
    training never sees (None if no others are left). ECE and NLL are cross-fitted over five folds,
    so no picture influences its own temperature. ``history`` is None for weights that were not
    trained here, and in reports of older releases. ``training_run`` is a plain name
    (``fer_train.recipe.is_plain``), after which reports are called.
    """

    schema: str
    training_run: str
    recipe: Recipe
    data_sha256: str
    training_pictures: int
    left_out: dict[str, int]
    parameters: int
    split: str
    use: str
    scores: Scores
    scores_without_copies: Scores | None
    flip_averaged: Scores
    flip_averaged_without_copies: Scores | None
    temperature: float
    ece_before_scaling: float
    conditioning: Conditioning
    well_conditioned: bool
    torch_version: str
    machine: str
    history: History | None = None

    def __post_init__(self) -> None:
        require_plain("training_run", self.training_run)
        for name in ("training_pictures", "parameters"):
            if not 0 <= (value := getattr(self, name)) <= _MANY:
                raise ValueError(f"{name} should be from 0 to {_MANY:g}, not {value!r:.80}")


def assess(
    path: Path,
    recipe: Recipe,
    data: TrainingData,
    *,
    device: torch.device | str = "cpu",
    use: str = "selected on",
    history: History | None = None,
) -> tuple[Report, npt.NDArray[np.float64]]:
    """Measure a checkpoint on ``public-test``, fit its temperature and write it back with it.

    Returns the report, and the probabilities that were measured, ``(N, K)``. ``use`` says what
    ``public-test`` was used for: ``selected on`` or ``measured on``. Raises ArtifactError, before
    anything is measured, for a checkpoint without the name of a training.
    """
    network, spec = checkpoint.load(path)
    if not is_plain(run := spec.provenance.training_run or ""):
        raise ArtifactError(
            f"{path} calls its training {run!r:.80}, and a report cannot have that name; train it "
            "or import it with fer-train, which names trainings"
        )
    network.to(device)
    validation = data.validation
    logits = logits_of(network, spec, validation)
    temperature = fit(validation.labels, logits)
    mirrored = replace(validation, images=validation.images[:, :, ::-1])
    temperatures = cross_fitted(validation.labels, logits)
    upright, other = (
        metrics.softmax(seen, temperatures) for seen in (logits, logits_of(network, spec, mirrored))
    )
    both, alone = (upright + other) / 2, ~data.copied_validation
    drawn = np.random.default_rng(1).permutation(len(data.train))[:_CONDITIONING_CROPS]
    crops = as_tensor(data.train.take(drawn), spec).to(device)
    conditioning = measure(Normalized(network, spec).to(device), crops)
    scaled = spec.with_changes(temperature=temperature)
    half = checkpoint.read_spec(path).precision == "fp16"
    checkpoint.save(path, network.state_dict(), scaled, half=half)
    report = Report(
        schema=SCHEMA,
        training_run=run,
        recipe=recipe,
        data_sha256=data.sha256,
        training_pictures=len(data.train),
        left_out=data.left_out,
        parameters=sum(p.numel() for p in network.parameters()),
        split="public-test",
        use=use,
        scores=metrics.score(validation.labels, upright, spec.labels),
        scores_without_copies=_score(validation.labels[alone], upright[alone], spec.labels),
        flip_averaged=metrics.score(validation.labels, both, spec.labels),
        flip_averaged_without_copies=_score(validation.labels[alone], both[alone], spec.labels),
        temperature=temperature,
        ece_before_scaling=metrics.expected_calibration_error(
            validation.labels, metrics.softmax(logits)
        ),
        conditioning=conditioning,
        well_conditioned=conditioning.holds,
        torch_version=torch.__version__,
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads",
        history=history,
    )
    return report, metrics.softmax(logits, temperature)


def _score(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], names: tuple[str, ...]
) -> Scores | None:
    return metrics.score(labels, probabilities, names) if len(labels) else None


def read_report(path: Path) -> Report:
    """Read ``report.json``. Raises ArtifactError for anything else."""
    plain = parse_json(read_file(path, "report", _MAX_BYTES, ArtifactError), str(path))
    told = plain.get("schema") if isinstance(plain, dict) else None
    if isinstance(told, str) and told.startswith("fer-train/") and told != SCHEMA:
        raise ArtifactError(
            f"{path} is of another version ({told}, this one reads {SCHEMA}); run the fer-train "
            "command of that run again, which measures it anew"
        )
    return decode(Report, plain, str(path), ArtifactError)
