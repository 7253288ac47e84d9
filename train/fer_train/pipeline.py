"""fer-train as a call: FER2013 in, a measured checkpoint with its report out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fer_edge import checkpoint, metrics
from fer_edge.errors import ConfigurationError
from fer_edge.files import write_json
from fer_edge.record import encode
from fer_train.assessment import Report, assess
from fer_train.data import TrainingData, prepare
from fer_train.evaluation import logits_of
from fer_train.journal import METRICS
from fer_train.loop import BEST, Sources, Trainer
from fer_train.parallel import World
from fer_train.pictures import draw_confusion, draw_curves, draw_errors
from fer_train.recipe import Recipe

__all__ = ["train_model"]


def train_model(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    votes: Path | None = None,
    sources: Sources = Sources(),
    world: World = World(),
    compiled: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Report | None:
    """Train, or continue where an interrupted run stopped, and measure the result.

    ``out`` receives ``best.safetensors``, ``last.safetensors``, ``metrics.jsonl``,
    ``report.json``, ``curves.png``, ``confusion.png``, ``errors.png`` and events for TensorBoard.
    ``votes`` is a table of FER+ votes. The first of several processes measures and returns the
    report, the others None.

    Raises DataError for a data set that cannot be used, ConfigurationError where ``out`` belongs
    to another training, ArtifactError for weights that do not fit, and DivergedError where the
    loss is no longer finite.
    """
    if world.size > recipe.batch_size:
        raise ConfigurationError(
            f"{world.size} processes cannot share a batch of {recipe.batch_size} pictures"
        )
    prepared = prepare(data, votes, recipe.votes)
    dropped = ", ".join(f"{count} {reason}" for reason, count in prepared.left_out.items())
    report(
        f"{len(prepared.train)} training pictures (left out: {dropped}), "
        f"{len(prepared.validation)} to select on"
    )
    trainer = Trainer(
        recipe, prepared, out, sources=sources, world=world, compiled=compiled, report=report
    )
    trainer.train()
    return _finish(recipe, prepared, out) if world.leads else None


def _finish(recipe: Recipe, data: TrainingData, out: Path) -> Report:
    result = assess(out / BEST, recipe, data)
    write_json(out / "report.json", encode(result))
    draw_curves(out / METRICS, out / "curves.png")
    draw_confusion(result, out / "confusion.png")
    network, spec = checkpoint.load(out / BEST)
    logits = logits_of(network, spec, data.validation)
    probabilities = metrics.softmax(logits, spec.temperature)
    draw_errors(data.validation, probabilities, out / "errors.png")
    return result
