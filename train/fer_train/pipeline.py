"""fer-train as a call: FER2013 in, a measured checkpoint with its report out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.system.files import require_folder, write_json
from fer_train.arithmetic import repeatable
from fer_train.assessment import NOT_RECORDED, History, Report, assess
from fer_train.data import TrainingData, prepare
from fer_train.journal import METRICS, read_journal
from fer_train.loop import BEST, Sources, Trainer
from fer_train.parallel import Execution
from fer_train.plots import draw_confusion, draw_curves, draw_errors
from fer_train.recipe import Recipe
from fer_train.teachers import accuracy_of

REPORT = "report.json"


@dataclass(frozen=True)
class Outcome:
    """The result of a call of train_model.

    ``finished`` is False if the deadline came first; the same call then continues. ``report`` is
    what the first process measured at the end, and None in the other processes and before the end.
    """

    finished: bool
    report: Report | None


def train_model(
    recipe: Recipe,
    data: Path | DataSource | TrainingData,
    out: Path,
    *,
    name: str = "",
    votes: Path | None = None,
    sources: Sources = Sources(),
    how: Execution = Execution(),
) -> Outcome:
    """Train, or continue where an interrupted run stopped, and measure the result.

    ``out`` receives ``best.safetensors``, ``last.safetensors``, ``metrics.jsonl``,
    ``report.json``, ``curves.png``, ``confusion.png``, ``errors.png`` and events for TensorBoard.
    ``name`` is the recipe's, for the report. ``votes`` is a table of FER+ votes; prepared data
    already has them in its targets.

    Raises DataError for a data set that cannot be used, ConfigurationError where ``out`` belongs
    to another training or holds weights to start or learn from under a name that the training
    writes, ArtifactError for weights that do not fit, DivergedError where the loss
    is no longer finite, and OSError where ``out`` cannot be written; what was there before is
    kept.
    """
    if how.size > recipe.batch_size:
        raise ConfigurationError(
            f"{how.size} processes cannot share a batch of {recipe.batch_size} pictures"
        )
    sources.require_kept_by(out)
    require_folder(out)
    if not isinstance(data, TrainingData):
        data = prepare(data, votes, recipe.votes, recipe.input)
    dropped = ", ".join(f"{count} {reason}" for reason, count in data.left_out.items())
    how.report(
        f"{len(data.train)} training pictures (left out: {dropped}), "
        f"{len(data.validation)} to select on"
    )
    data.check()
    colour = "gray" if recipe.input.channels == 1 else "in colour"
    how.report(
        f"{recipe.model} sees {recipe.input.width} x {recipe.input.height} pixels, {colour}; "
        "[input] of a recipe sets another size"
    )
    for line in data.describe():
        how.report(line)
    with repeatable(how.deterministic):
        trainer = Trainer(recipe, data, out, sources=sources, how=how)
        if not trainer.train():
            how.report(f"the time is up after {trainer.reached}; the same command continues")
            return Outcome(finished=False, report=None)
        return Outcome(True, _finish(trainer, name) if how.leads else None)


def _finish(trainer: Trainer, name: str) -> Report:
    data, out, device = trainer.data, trainer.out, trainer.how.device
    history = _history(trainer, name)
    result, answers = assess(out / BEST, trainer.recipe, data, device=device, history=history)
    draw_curves(out / METRICS, out / "curves.png")
    draw_confusion(result, out / "confusion.png")
    draw_errors(data.validation, answers, out / "errors.png")
    # last: a campaign takes it as the sign that all is done
    write_json(out / REPORT, encode(result))
    return result


def _history(trainer: Trainer, name: str) -> History:
    lines, initial = read_journal(trainer.out / METRICS), trainer.initial
    teachers: tuple[str, ...] = ()
    accuracy: float | None = None
    if trainer.taught is not None:
        info = trainer.taught.info
        teachers, accuracy = tuple(one.name for one in info.teachers), info.teachers_accuracy
    elif (ensemble := trainer.ensemble) is not None:
        teachers = ensemble.names
        accuracy = accuracy_of(ensemble, trainer.data.validation, trainer.how.device)
    return History(
        recipe=name or trainer.recipe.model,
        epochs=len(lines),
        seconds=sum(line.seconds or 0 for line in lines),
        hardware=tuple(dict.fromkeys(line.hardware or NOT_RECORDED for line in lines)),
        initial=f"{initial.path.name}, sha256 {initial.sha256[:12]}" if initial else None,
        teachers=teachers,
        teachers_accuracy=accuracy,
        votes=trainer.data.votes,
        ended=datetime.now(timezone.utc).date().isoformat(),
    )
