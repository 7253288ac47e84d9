"""Keep the reports of trainings, and write the page of all that are kept.

python train/release/results.py RUN...
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import command_parser, run_command, write_result
from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.metrics import Scores
from fer_edge.system.files import write_bytes, write_json
from fer_train.assessment import NOT_RECORDED, History, Report, read_report
from fer_train.pipeline import REPORT

_HEAD = """\
# Results of training

Written by `train/release/results.py` from the reports in `{kept}`; `docs/training.md` tells
how to run each recipe again. Accuracy is on `public-test`, {n} pictures, **on which the checkpoint
of each run was selected**, with one view of each picture and its 95 % interval (Wilson).
Well-conditioned is what fp16 and INT8 need (`fer_train.conditioning`).
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


def write_results(runs: Iterable[Path], *, kept: Path, page: Path) -> tuple[Report, ...]:
    """Add the reports of ``runs`` to the folder ``kept``, and write the page of all in it.

    ``runs`` are folders of trainings, or of campaigns, or report files. Returns all reports, the
    best first. Raises ArtifactError for a report that cannot be read, and ConfigurationError for a
    folder without any; nothing is written then.
    """
    for report in [read_report(path) for path in _find_reports(runs)]:
        write_json(kept / f"{report.training_run}.json", encode(report))
    reports = [read_report(path) for path in sorted(kept.glob("*.json"))]
    reports.sort(key=lambda report: (-report.scores.accuracy, report.training_run))
    # a JSON string may hold half of a surrogate pair, which is no text
    write_bytes(page, results_page(reports, kept).encode("utf-8", "backslashreplace"))
    return tuple(reports)


def _find_reports(places: Iterable[Path]) -> list[Path]:
    """Find the reports in folders, at any depth, and take files as they are."""
    found: list[Path] = []
    for place in places:
        here = sorted(place.rglob(REPORT)) if place.is_dir() else [place]
        if not here:
            raise ConfigurationError(f"there is no {REPORT} in {place}; give folders of runs")
        found += here
    return found


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
    history = report.history
    return [
        f"`{report.training_run}`",
        "" if history is None else history.recipe,
        str(report.recipe.seed),
        f"{report.parameters / 1e6:.2f} M",
        "" if history is None else history.initial or "nothing",
        "" if history is None else _taught_by(history),
        _targets(report),
        "" if history is None else "; ".join(history.hardware),
        "" if history is None else _epochs(history.epochs, report.recipe.epochs),
        "" if history is None else _duration(history.seconds),
        _accuracy(report.scores),
        "yes" if report.well_conditioned else "**no**",
        "" if history is None else history.ended,
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


def _taught_by(history: History) -> str:
    together = history.teachers_accuracy
    ensemble = [] if together is None else [f"together {together:.2%}"]
    return ", ".join([*history.teachers, *ensemble]) or "nobody"


def _targets(report: Report) -> str:
    votes = NOT_RECORDED if report.history is None else report.history.votes
    if votes is None or report.recipe.votes == 0:
        return "labels"
    return votes if votes == NOT_RECORDED else f"votes {report.recipe.votes:.0%}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _row(cells: Iterable[str]) -> str:
    """A row of a table, on one line whatever a report says."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(_parser(), arguments)


def _parser() -> ArgumentParser:
    parser = command_parser("results.py", "Keep the reports of runs, and write the page of all.")
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="*", help="folder of a run or campaign, or a report"
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, default=Path("train/results"), help="where reports stay"
    )
    parser.add_argument(
        "--page", metavar="FILE", type=Path, default=Path("docs/results.md"), help="what to write"
    )
    parser.set_defaults(handler=_write)
    return parser


def _write(options: Namespace) -> int:
    reports = write_results(options.runs, kept=options.keep, page=options.page)
    for report in reports:
        print(f"{report.scores.accuracy:.2%}  {report.training_run}")
    write_result(options, {"schema": "fer-train-results/1", "results": list(map(encode, reports))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
