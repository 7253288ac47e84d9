"""Making a checkpoint of ours from weights that were trained elsewhere, with their head."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_edge.artifacts.spec import MAX_LABELS, MIN_LABELS, ModelSpec
from fer_edge.emotion import LABELS
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.evaluation.classes import emotion_named
from fer_edge.evaluation.data_source import DataSource
from fer_edge.system.files import is_same
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.assessment import Report, assess
from fer_train.data import prepare
from fer_train.pretrained.beside import rows_of
from fer_train.pretrained.initial import InitialWeights, load_initial
from fer_train.pretrained.sources import read_source
from fer_train.recipe import Recipe

ALPHABETICAL = tuple(sorted(LABELS))
"""The order that torchvision's ImageFolder gives Kaggle's folders."""


@dataclass(frozen=True)
class Converted:
    """What was taken from the file, and, where data was given, how it did.

    ``better_if_alphabetical`` is the accuracy with the classes in alphabetical order, where nothing
    told the order and that one is right more often; else None.
    """

    weights: InitialWeights
    report: Report | None = None
    better_if_alphabetical: float | None = None


def import_weights(
    source: str,
    recipe: Recipe,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    data: Path | DataSource | None = None,
    half: bool = False,
    recipe_file: Path | None = None,
) -> Converted:
    """Write the weights at ``source`` as the checkpoint ``out`` of the network of ``recipe``.

    ``source`` is what ``read_source`` takes. ``labels`` names the classes in the order of the
    head; they need not be FER2013's. Where neither they nor the file tell the order, ``data`` has
    to be given: FER2013's order is taken, and measured against that of the alphabet. The recipe's
    input has to be what the weights were trained with, above all its normalisation. ``data`` also
    measures the checkpoint and fits its temperature; ``half`` stores half precision.
    ``recipe_file`` is where the recipe was read, for the command in a message.

    Raises ArtifactError for weights that do not fit, that would be resampled, or that have no head
    of these classes, and ConfigurationError where nothing tells the names or the order of the
    classes, and where ``out`` is the file that the weights are in.
    """
    weights = read_source(source)
    if is_same(weights.path, out):
        raise ConfigurationError(
            f"{out} is the file that the weights are read from; give the checkpoint another name"
        )
    theirs = weights.spec
    if theirs and theirs.network.architecture == recipe.network.architecture:
        recipe = replace(recipe, network=theirs.network, input=theirs.input)
    named = theirs.labels if theirs and labels is None else _names(weights.labels, labels)
    spec = ModelSpec(recipe.network, recipe.input, labels=named)
    network = build(spec)
    found = load_initial(network, spec, weights, labels=labels)
    training = _training_from(source, recipe_file or recipe.model, data, out)
    if not found.is_complete:
        _require_names_for(found, spec.labels, labels or weights.labels)
        raise ArtifactError(
            f"{found.path} has no head of the classes {', '.join(spec.labels)} "
            f"({', '.join(found.new)} would be new), so it has to be trained: {training}"
        )
    if found.inexact:
        raise ArtifactError(
            f"{found.path} does not fit {recipe.network.architecture} as it is: "
            f"{', '.join(found.inexact)} would be resampled, and the network would answer "
            "otherwise. Choose the model that these weights belong to, or train from them: "
            f"{training}"
        )
    if found.labels is None and data is None:
        raise ConfigurationError(
            f"{found.path} does not tell the order of its {len(spec.labels)} classes, and those "
            "trained on folders have another order than FER2013: name them with --labels, such as "
            f"{','.join(ALPHABETICAL)}, or give --data to measure which order is right"
        )
    spec = spec.with_provenance(
        training_run=f"imported-{found.sha256[:16]}", parent_sha256=found.sha256
    )
    checkpoint.save(out, network.state_dict(), spec, half=half)
    if data is None:
        return Converted(found)
    prepared = prepare(data, wanted=spec.input, labels=spec.labels)
    report, probabilities = assess(out, recipe, prepared, use="measured on")
    if found.labels is not None or spec.labels != LABELS:
        return Converted(found, report)
    rows = list(rows_of(ALPHABETICAL) or ())
    answers = probabilities[:, rows].argmax(axis=1)
    accuracy = float((answers == prepared.validation.labels).mean())
    return Converted(found, report, accuracy if accuracy > report.scores.accuracy else None)


def _training_from(
    source: str, model: Path | str, data: Path | DataSource | None, out: Path
) -> str:
    """The command that trains from these weights; FER2013 is assumed where no data was given."""
    chosen = DataSource.of(data or "fer2013.zip")
    named = ["--recipe" if isinstance(model, Path) else "--model", str(model)]
    folder = out.parent / f"{out.stem}-run"
    words = ["fer-train", *chosen.flags, *named, "--init", source, "--out", str(folder)]
    return shlex.join(words)


def _require_names_for(
    found: InitialWeights, ours: Sequence[str], told: Sequence[str] | None
) -> None:
    """Raise ConfigurationError for a finished head whose classes only need their names."""
    count = found.head_classes
    if count is None or count == len(ours) or not MIN_LABELS <= count <= MAX_LABELS:
        return
    named = "nothing tells their names" if told is None else f"{len(told)} names are told for them"
    raise ConfigurationError(
        f"the head in {found.path} has {count} classes, and {named}; name all {count} with "
        "--labels, in the order of the head"
    )


def _names(told: Sequence[str] | None, given: Sequence[str] | None) -> tuple[str, ...]:
    """The labels of the checkpoint: FER2013's where the head has these, else the head's own."""
    labels = told if given is None else given
    if labels is None or rows_of(labels) is not None:
        return LABELS
    names = tuple(emotion_named(name) or name.strip() for name in labels)
    try:
        ModelSpec.check_labels(names)
    except ValueError as problem:
        if given is None:
            return LABELS  # a thousand classes of ImageNet; the head will be missing
        raise ConfigurationError(f"--labels: {problem}") from problem
    return names
