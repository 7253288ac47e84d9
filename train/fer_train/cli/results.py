"""``fer-train results``: the page of all trainings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, write_result
from fer_edge.system.dependencies import requires

SUMMARY = "keep the reports of runs, and write the page of all that are kept"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "results", SUMMARY, _write)
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="*", help="folder of a run or campaign, or a report"
    )
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, default=Path("train/results"), help="where reports stay"
    )
    parser.add_argument(
        "--page", metavar="FILE", type=Path, default=Path("docs/results.md"), help="what to write"
    )
    parser.add_argument(
        "--recipes",
        metavar="DIR",
        type=Path,
        default=Path("train/recipes"),
        help="where to look for the recipe of a report that does not name it",
    )


def _write(options: Namespace) -> int:
    with requires("train"):
        from fer_train.results import write_results
    reports = write_results(
        options.runs, kept=options.keep, page=options.page, recipes=options.recipes
    )
    for report in reports:
        print(f"{report.scores.accuracy:.2%}  {report.training_run}")
    write_result(options, {"schema": "fer-train-results/1", "results": list(map(encode, reports))})
    return 0
