"""The page of all trainings that are worth remembering, written from their reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.evaluation.metrics import Scores
from fer_edge.system.files import write_bytes, write_json
from fer_train.assessment import NOT_RECORDED, Course, Report
from fer_train.reports import find_reports, read_report, with_course

__all__ = ["results_page", "write_results"]

_HEAD = """\
# Results of training

Written by `fer-train results` from the reports in `{kept}`; `docs/training.md` tells how to run
each recipe again. Accuracy is on `public-test`, {n} pictures, **on which the checkpoint of each run
was selected**, with one view of each picture and its 95 % interval (Wilson). Well-conditioned is
what fp16 and INT8 need (`fer_train.conditioning`).
"""

_VARIANTS_HEAD = """\
The same without the pictures that also stand in the training split, and for the mean of two views,
the picture and its mirror image. ECE is after temperature scaling, cross-fitted.
"""

_COLUMNS = (
    "run",
    "recipe",
    "seed",
    "parameters",
    "starts from",
    "taught by",
    "targets",
    "hardware",
    "epochs",
    "time",
    "public-test",
    "well-conditioned",
    "ended",
)
_VARIANTS = ("run", "views", "pictures", "n", "accuracy", "macro-F1", "ECE")


def write_results(
    runs: Iterable[Path], *, kept: Path, page: Path, recipes: Path
) -> tuple[Report, ...]:
    """Add the reports of ``runs`` to the folder ``kept``, and write the page of all in it.

    ``runs`` are folders of trainings, or of campaigns, or report files. Returns all reports, the
    best first. Raises ArtifactError for a report or journal that cannot be read.
    """
    for path in find_reports(runs):
        report = with_course(path, recipes)
        write_json(kept / f"{report.training_run}.json", encode(report))
    reports = [read_report(path) for path in sorted(kept.glob("*.json"))]
    reports.sort(key=lambda report: (-report.scores.accuracy, report.training_run))
    # a JSON string may hold half of a surrogate pair, which is no text
    write_bytes(page, results_page(reports, kept).encode("utf-8", "backslashreplace"))
    return tuple(reports)


def results_page(reports: Iterable[Report], kept: Path) -> str:
    """The page in Markdown: a row per report in the order given, and one per way to measure it."""
    rows = list(reports)
    n = rows[0].scores.n if rows else 0
    lines = [_HEAD.format(kept=kept.as_posix(), n=n), _row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    lines += [_row(_cells(report)) for report in rows]
    lines += ["", _VARIANTS_HEAD, _row(_VARIANTS), _row(["---"] * len(_VARIANTS))]
    lines += [_row(cells) for report in rows for cells in _variants(report)]
    return "\n".join(lines) + "\n"


def _cells(report: Report) -> list[str]:
    course = report.course
    return [
        f"`{report.training_run}`",
        "" if course is None else course.recipe,
        str(report.recipe.seed),
        f"{report.parameters / 1e6:.2f} M",
        "" if course is None else course.initial or "nothing",
        "" if course is None else _taught_by(course),
        _targets(report),
        "" if course is None else "; ".join(course.hardware),
        "" if course is None else _epochs(course.epochs, report.recipe.epochs),
        "" if course is None else _duration(course.seconds),
        _accuracy(report.scores),
        "yes" if report.well_conditioned else "**no**",
        "" if course is None else course.ended,
    ]


def _epochs(done: int, planned: int) -> str:
    return str(done) if done == planned else f"{done} of {planned}"


def _accuracy(scores: Scores) -> str:
    low, high = scores.accuracy_ci95
    return f"**{scores.accuracy:.2%}** [{low:.2%}, {high:.2%}]"


def _variants(report: Report) -> Iterator[list[str]]:
    for views, pictures, scores in (
        ("one", "all", report.scores),
        ("one", "without copies", report.scores_without_copies),
        ("two", "all", report.flip_averaged),
        ("two", "without copies", report.flip_averaged_without_copies),
    ):
        if scores is not None:
            measured = [_accuracy(scores), f"{scores.macro_f1:.3f}", f"{scores.ece:.3f}"]
            yield [f"`{report.training_run}`", views, pictures, str(scores.n), *measured]


def _taught_by(course: Course) -> str:
    together = course.teachers_accuracy
    told = [] if together is None else [f"together {together:.2%}"]
    return ", ".join([*course.teachers, *told]) or "nobody"


def _targets(report: Report) -> str:
    votes = NOT_RECORDED if report.course is None else report.course.votes
    if votes is None or report.recipe.votes == 0:
        return "labels"
    return votes if votes == NOT_RECORDED else f"votes {report.recipe.votes:.0%}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _row(cells: Iterable[str]) -> str:
    """A row of a table, on one line whatever a report says."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"
