"""Weights that were trained elsewhere, for our seven classes, into a checkpoint of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.emotion import LABELS
from fer_edge.errors import ArtifactError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.assessment import Report, assess
from fer_train.data import prepare
from fer_train.evaluation import logits_of
from fer_train.pretrained.initial import InitialWeights, load_initial
from fer_train.pretrained.labels import rows_of
from fer_train.recipe import Recipe

__all__ = ["Converted", "import_weights"]

ALPHABETICAL = tuple(sorted(LABELS))
"""The order that torchvision's ImageFolder gives Kaggle's folders."""


@dataclass(frozen=True)
class Converted:
    """What was taken from the file, and, where data was given, how it did.

    ``accuracy_if_alphabetical`` is what it would be if the classes stood in the order of the
    alphabet; None where the file or the caller told the order, or nothing was measured.
    """

    weights: InitialWeights
    report: Report | None
    accuracy_if_alphabetical: float | None

    @property
    def looks_alphabetical(self) -> bool:
        """Whether the order that was taken is probably wrong."""
        if self.report is None or self.accuracy_if_alphabetical is None:
            return False
        return self.accuracy_if_alphabetical > self.report.scores.accuracy


def import_weights(
    source: str,
    recipe: Recipe,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    data: Path | None = None,
    half: bool = False,
) -> Converted:
    """Write the weights at ``source`` as the checkpoint ``out`` of the network of ``recipe``.

    ``source`` and ``labels`` are what ``load_initial`` takes; the recipe's input has to be what
    the weights were trained with, their normalisation above all. ``data`` is FER2013, to measure
    them on ``public-test`` and fit their temperature; ``half`` stores half precision.

    Raises ArtifactError for weights that do not fit, or whose head is not of seven classes of
    ours.
    """
    spec = ModelSpec(recipe.network, recipe.input)
    network = build(spec)
    found = load_initial(network, spec, source, labels=labels)
    if not found.is_complete:
        raise ArtifactError(
            f"{found.path} has no head of our seven classes ({', '.join(found.new)} would be "
            f"new), so it has to be trained: fer-train --init {source}"
        )
    spec = spec.with_provenance(
        training_run=f"imported-{found.sha256[:16]}", parent_sha256=found.sha256
    )
    checkpoint.save(out, network.state_dict(), spec, half=half)
    if data is None:
        return Converted(found, None, None)
    prepared = prepare(data)
    report = assess(out, recipe, prepared, use="measured on")
    if found.labels is not None:
        return Converted(found, report, None)
    logits = logits_of(network, spec, prepared.validation)
    rows = rows_of(ALPHABETICAL)
    right = logits[:, rows].argmax(axis=1) == prepared.validation.labels
    return Converted(found, report, float(right.mean()))
