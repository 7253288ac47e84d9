"""fer-bench page."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_bench.accuracy import read_accuracy
from fer_bench.benchmark_page import Page, measure_page_accuracy, page_contestants
from fer_bench.latency import measure_latency
from fer_bench.results import read_latency
from fer_bench.scenarios import Settings
from fer_bench.tables import noise_lines
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.command import INTERRUPTED, MODEL_HELP, Commands, add_command, say, write_result
from fer_edge.system.files import write_json

__all__ = ["add_parser"]

SCHEMA = "fer-bench-page/1"
_DEFAULTS = Settings()


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "page", "measure everything, peers too, and write the page of it", _page
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument(
        "--data", metavar="FER2013", type=Path, help="zip, folder or CSV; without, no accuracy"
    )
    parser.add_argument("--rounds", type=int, metavar="N", default=_DEFAULTS.rounds)
    parser.add_argument(
        "--seconds", type=float, metavar="S", default=_DEFAULTS.seconds, help="least, all rounds"
    )
    parser.add_argument("--latency", metavar="JSON", type=Path, help="take it, measure nothing")
    parser.add_argument("--accuracy", metavar="JSON", type=Path, help="take it, measure nothing")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/bench"), help="of the JSON results"
    )
    parser.add_argument("--page", metavar="FILE", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--picture", metavar="PNG", type=Path, default=Path("docs/benchmarks.png"))
    parser.add_argument("--readme", metavar="FILE", type=Path, help="write its block too")
    parser.add_argument("--strict", action="store_true", help="refuse to write a noisy machine's")


def _page(options: Namespace) -> int:
    page = Page(options.page, options.readme, options.picture)
    accuracy = read_accuracy(options.accuracy) if options.accuracy else None
    if options.latency:
        latency = read_latency(options.latency)
    else:
        settings = Settings(rounds=options.rounds, seconds=options.seconds)
        latency = measure_latency(page_contestants(options.model), settings)
        write_json(options.out / "latency.json", latency.to_json())
    for line in noise_lines(latency):
        say(line)
    if latency.interrupted:
        say(
            f"fer-bench: interrupted; {options.out / 'latency.json'} keeps the {latency.rounds} "
            "rounds that were complete, and no page was written"
        )
        return INTERRUPTED
    if options.strict and not latency.noise.quiet:
        say("fer-bench: the machine was not quiet, so no page was written (--strict)")
        return 1
    if accuracy is None and options.data:
        accuracy = measure_page_accuracy(options.model, options.data)
        write_json(options.out / "accuracy.json", accuracy.to_json())
    page.write(latency, accuracy)
    for row in latency.results:
        if row.error:
            say(f"{row.model}, {row.backend}, {row.scenario}: {row.error}")
    print(f"{options.page}, {options.picture}: {len(latency.results)} rows")
    write_result(options, {"schema": SCHEMA, "page": str(options.page), "failed": latency.failed})
    return int(latency.failed or bool(accuracy and accuracy.failures))
