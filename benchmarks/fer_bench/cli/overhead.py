"""fer-bench overhead."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_bench.contestants import choices
from fer_bench.environment import describe_environment
from fer_bench.overhead import CROP_SHAPE, failures, measure_overhead, measure_start, table
from fer_bench.pages import MeasuredBlock
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.backends import BackendOptions
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_predictor_options,
    say,
    write_result,
)
from fer_edge.errors import GateError

__all__ = ["add_parser"]

SCHEMA = "fer-bench-overhead/2"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "overhead",
        "measure what Predictor adds to its engine, and its start (--backend all)",
        _overhead,
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)
    parser.add_argument("--rounds", type=int, metavar="N", default=200, help="calls to measure")
    parser.add_argument("--check", action="store_true", help="fail if a limit is not kept")
    parser.add_argument("--write", metavar="PAGE", type=Path, help="a page to write the table into")


def _overhead(options: Namespace) -> int:
    page = MeasuredBlock(options.write, "overhead") if options.write else None
    wishes = BackendOptions(
        options.device, options.threads, options.inference_precision, trust=options.trust
    )
    measured = []
    for backend, precision in choices(options.model, [options.backend], [options.precision]):
        overhead = measure_overhead(
            options.model, backend, precision=precision, options=wishes, rounds=options.rounds
        )
        start = measure_start(
            options.model,
            overhead.backend,
            precision=precision,
            options=wishes,
            processes=min(5, options.rounds),
        )
        measured.append((overhead, start))
    text = table(measured)
    print(text)
    environment = describe_environment()
    if page:
        height, width, _ = CROP_SHAPE
        threads = " and ".join(sorted({str(overhead.threads) for overhead, _ in measured}))
        page.write(
            f"Crops of {height} x {width} pixels in colour, the model `{options.model}` on "
            f"{threads} thread(s) of {environment.cpu.model}.\n\n{text}"
        )
    write_result(
        options,
        {
            "schema": SCHEMA,
            "environment": encode(environment),
            "engines": [
                {"overhead": encode(overhead), "start": encode(start)}
                for overhead, start in measured
            ],
        },
    )
    problems = [problem for pair in measured for problem in failures(*pair)]
    for problem in problems:
        say(problem)
    if problems and options.check:
        raise GateError("not every limit was kept")
    return 0
