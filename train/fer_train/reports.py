"""Reports of trainings: reading them, and what older ones lack, from the files beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.torch_model import checkpoint
from fer_train.assessment import NOT_RECORDED, SCHEMA, Course, Report
from fer_train.journal import METRICS, Epoch, read_journal
from fer_train.loop import BEST
from fer_train.pipeline import REPORT
from fer_train.presets import load_recipe

__all__ = ["find_reports", "read_report", "with_course"]


def read_report(path: Path) -> Report:
    """Read ``report.json``. Raises ArtifactError for anything else."""
    try:
        text = path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"there is no report at {path}: {problem}") from problem
    plain = parse_json(text, str(path))
    told = plain.get("schema") if isinstance(plain, dict) else None
    if isinstance(told, str) and told.startswith("fer-train/") and told != SCHEMA:
        raise ArtifactError(
            f"{path} is of another version ({told}, this one reads {SCHEMA}); run the fer-train "
            "command of that run again, which measures it anew"
        )
    return decode(Report, plain, str(path), ArtifactError)


def find_reports(places: Iterable[Path]) -> list[Path]:
    """Find the reports in folders, at any depth, and take files as they are.

    Raises ConfigurationError for a place without any.
    """
    found: list[Path] = []
    for place in places:
        here = sorted(place.rglob(REPORT)) if place.is_dir() else [place]
        if not here:
            raise ConfigurationError(f"there is no {REPORT} in {place}; give folders of runs")
        found += here
    return found


def with_course(path: Path, recipes: Path) -> Report:
    """Read a report; where it does not tell how the training went, find it out.

    The epochs and their times are in the journal beside it (the time of training alone, without
    evaluations), the recipe is the file among ``recipes`` that has its settings. Raises
    ArtifactError for a report, or a file beside it, that cannot be read.
    """
    report = read_report(path)
    if report.course is not None:
        return report
    lines = _journal(path)
    course = Course(
        recipe=_recipe_name(report, recipes),
        epochs=len(lines),
        seconds=sum(report.training_pictures / line.images_per_s for line in lines),
        hardware=(report.machine,),
        initial=_parent(path, report),
        teachers=(NOT_RECORDED,),
        teachers_accuracy=None,
        ended=NOT_RECORDED,
    )
    return replace(report, course=course)


def _journal(path: Path) -> tuple[Epoch, ...]:
    for journal in (path.with_name(METRICS), path.with_name(f"{path.stem}.{METRICS}")):
        if journal.is_file():
            return read_journal(journal)
    return ()


def _recipe_name(report: Report, recipes: Path) -> str:
    for file in sorted(recipes.glob("*.toml")):
        if replace(load_recipe(file), seed=report.recipe.seed) == report.recipe:
            return file.name
    return f"like {report.recipe.model}"


def _parent(path: Path, report: Report) -> str | None:
    """What the checkpoint beside the report says that it started from."""
    for weights in (path.with_name(BEST), path.with_suffix(".safetensors")):
        if weights.is_file():
            known = checkpoint.read_spec(weights).provenance
            if known.training_run == report.training_run:
                return f"sha256 {known.parent_sha256[:12]}" if known.parent_sha256 else None
    return NOT_RECORDED
