"""fer-train as a call: FER2013 in, a measured checkpoint with its report out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fer_edge.files import write_json
from fer_edge.record import encode
from fer_train.assessment import Report, assess
from fer_train.data import prepare
from fer_train.loop import BEST, METRICS, Trainer
from fer_train.pictures import draw_confusion, draw_curves
from fer_train.recipe import Recipe

__all__ = ["train_model"]


def train_model(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    compiled: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Report:
    """Train, or continue where an interrupted run stopped, and measure the result.

    ``out`` receives ``best.safetensors``, ``last.safetensors``, ``metrics.jsonl``,
    ``report.json``, ``curves.png`` and ``confusion.png``. Raises DataError for a data set that
    cannot be used, ConfigurationError where ``out`` belongs to another recipe or other data, and
    DivergedError where the loss is no longer finite.
    """
    prepared = prepare(data)
    dropped = ", ".join(f"{count} {reason}" for reason, count in prepared.left_out.items())
    report(
        f"{len(prepared.train)} training pictures (left out: {dropped}), "
        f"{len(prepared.validation)} to select on"
    )
    trainer = Trainer(recipe, prepared, out, compiled=compiled, report=report)
    trainer.train()
    result = assess(out / BEST, recipe, prepared)
    write_json(out / "report.json", encode(result))
    draw_curves(out / METRICS, out / "curves.png")
    draw_confusion(result, out / "confusion.png")
    return result
