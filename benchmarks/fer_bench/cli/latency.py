"""fer-bench latency."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from fer_bench.candidates import ALL, Candidate, bare_candidates, candidates_for
from fer_bench.cli.options import add_candidate_options
from fer_bench.latency_results import LatencyRun
from fer_bench.measure_latency import measure_latency
from fer_bench.peers import choose_peers
from fer_bench.scenarios import SCENARIOS, Settings
from fer_bench.tables import latency_summary, latency_table, noise_lines
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.backends.base import INFERENCE_PRECISIONS
from fer_edge.command import (
    INTERRUPTED,
    MODEL_HELP,
    Commands,
    Output,
    add_command,
    say,
    write_result,
)
from fer_edge.system.files import write_bytes

_DEFAULTS = Settings()
_METHOD = (
    ("rounds", int, "each candidate runs once in each"),
    ("seconds", float, "at least, of all rounds together"),
    ("count", int, "queries at least, of all rounds together"),
    ("rate", float, "server: queries per second, instead of searching for the highest that holds"),
    ("p99_bound_ms", float, "server: the p99 that the rate has to keep"),
    ("server_seconds", float, "server: how long one trial of a rate lasts at least"),
    ("server_count", int, "server: queries of one trial at least"),
    ("clients", int, "offline, server: calls at a time (default: what the engine advises)"),
    ("seed", int, "of the crops and the arrivals"),
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "latency", "measure latency and throughput, in interleaved rounds", _latency
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{MODEL_HELP} (default: the packaged model, in every form that runs here)",
    )
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        type=Path,
        action=Output,
        help="write a table with every column",
    )
    _add_candidates(parser)
    _add_method(parser)


def _add_candidates(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("candidates", "every combination of these is measured")
    add_candidate_options(group)
    group.add_argument(
        "--inference-precision",
        action="append",
        choices=("own", *INFERENCE_PRECISIONS),
        help="compute in this precision; own: the artifact's (repeatable)",
    )
    group.add_argument("--threads", action="append", type=int, metavar="N", help="repeatable")
    group.add_argument(
        "--batch", action="append", type=int, metavar="N", help="crops of one call (repeatable)"
    )
    group.add_argument("--scenario", action="append", choices=tuple(SCENARIOS), help="repeatable")
    group.add_argument(
        "--bare", action="store_true", help="also call each engine directly, without Predictor"
    )


def _add_method(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    for name, kind, what in _METHOD:
        default = getattr(_DEFAULTS, name)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar="N" if kind is int else "X",
            default=default,
            help=what if default is None else f"{what} (default: {default:g})",
        )
    group.add_argument(
        "--strict", action="store_true", help="exit code 1 if the machine was not quiet"
    )


def _latency(options: Namespace) -> int:
    candidates = _candidates(options)
    settings = Settings(**{name: getattr(options, name) for name, _, _ in _METHOD})
    run = measure_latency(candidates, settings)
    write_result(options, encode(run))
    print(latency_summary(run))
    if options.markdown:
        write_bytes(options.markdown, f"{latency_table(run)}\n".encode())
    for line in noise_lines(run):
        say(line)
    return _code(run, strict=options.strict)


def _code(run: LatencyRun, *, strict: bool) -> int:
    if run.interrupted:
        say(f"fer-bench: interrupted; the {run.rounds} complete rounds are kept")
        return INTERRUPTED
    return run.exit_code or int(strict and not run.noise.quiet)


def _candidates(options: Namespace) -> list[Candidate]:
    def each(name: str, default: Any) -> list[Any]:
        return list(dict.fromkeys(getattr(options, name) or [default]))

    nothing_named = not options.models and not options.peer
    found = candidates_for(
        [DEFAULT_MODEL] if nothing_named else list(dict.fromkeys(options.models)),
        backends=each("backend", ALL if nothing_named else "auto"),
        precisions=each("precision", ALL if nothing_named else None),
        inference_precisions=[
            None if name == "own" else name for name in each("inference_precision", "own")
        ],
        threads=each("threads", None),
        batches=each("batch", None),
        scenarios=each("scenario", "single-stream"),
        device=options.device,
        peers=choose_peers(options.peer),
    )
    return bare_candidates(found) if options.bare else found
