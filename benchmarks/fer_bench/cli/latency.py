"""fer-bench latency."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from fer_bench.contestants import ALL, Wishes, bare_contestants, contestants_for
from fer_bench.latency import measure_latency
from fer_bench.peers import choose_peers, load_peers
from fer_bench.results import LatencyRun
from fer_bench.scenarios import SCENARIOS, Settings
from fer_bench.tables import latency_table, noise_lines
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.spec import PRECISIONS
from fer_edge.backends.base import INFERENCE_PRECISIONS
from fer_edge.command import INTERRUPTED, MODEL_HELP, Commands, add_command, say, write_result

__all__ = ["add_parser"]

_DEFAULTS = Settings()


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "latency", "measure latency and throughput, in interleaved rounds", _latency
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"{MODEL_HELP}; none: all that default can run"
    )
    _add_contestants(parser)
    _add_method(parser)


def _add_contestants(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("contestants", "every combination of these is measured")
    group.add_argument(
        "--backend", action="append", metavar="NAME", help="auto, one's name, or all (repeatable)"
    )
    group.add_argument(
        "--precision", action="append", choices=(*PRECISIONS, ALL), help="repeatable"
    )
    group.add_argument(
        "--inference-precision",
        action="append",
        choices=("own", *INFERENCE_PRECISIONS),
        help="own: what the artifact says (repeatable)",
    )
    group.add_argument("--threads", action="append", type=int, metavar="N", help="repeatable")
    group.add_argument(
        "--batch", action="append", type=int, metavar="N", help="crops of one call (repeatable)"
    )
    group.add_argument("--scenario", action="append", choices=tuple(SCENARIOS), help="repeatable")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda")
    group.add_argument("--spinning", action="store_true", help="let idle threads keep their cores")
    group.add_argument(
        "--peer", action="append", metavar="NAME", help="a peer's name, or all (repeatable)"
    )
    group.add_argument(
        "--bare", action="store_true", help="the engine's own loop beside each model"
    )


def _add_method(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument("--rounds", type=int, metavar="N", default=_DEFAULTS.rounds)
    group.add_argument(
        "--seconds", type=float, metavar="S", default=_DEFAULTS.seconds, help="least, all rounds"
    )
    group.add_argument(
        "--count", type=int, metavar="N", default=_DEFAULTS.count, help="least queries, all rounds"
    )
    group.add_argument("--rate", type=float, metavar="R", help="server: queries per second")
    group.add_argument(
        "--p99-bound",
        type=float,
        metavar="MS",
        default=_DEFAULTS.p99_bound_ms,
        help="server: what the highest rate must hold",
    )
    group.add_argument(
        "--server-seconds", type=float, metavar="S", default=_DEFAULTS.server_seconds
    )
    group.add_argument("--server-count", type=int, metavar="N", default=_DEFAULTS.server_count)
    group.add_argument("--clients", type=int, metavar="N", help="offline, server: calls at a time")
    group.add_argument("--seed", type=int, metavar="N", default=_DEFAULTS.seed)
    group.add_argument("--strict", action="store_true", help="a noisy machine is exit code 1")


def _latency(options: Namespace) -> int:
    contestants = contestants_for(_wishes(options))
    if options.bare:
        contestants = bare_contestants(contestants, load_peers())
    run = measure_latency(contestants, _settings(options))
    write_result(options, run.to_json())
    print(latency_table(run))
    for line in noise_lines(run):
        say(line)
    return _code(run, strict=options.strict)


def _code(run: LatencyRun, *, strict: bool) -> int:
    if run.interrupted:
        say(f"fer-bench: interrupted; kept the {run.rounds} rounds that were complete")
        return INTERRUPTED
    return int(run.failed or (strict and not run.noise.quiet))


def _wishes(options: Namespace) -> Wishes:
    inference = options.inference_precision or ["own"]
    nothing_named = not options.models and not options.peer
    return Wishes(
        models=(DEFAULT_MODEL,) if nothing_named else tuple(dict.fromkeys(options.models)),
        backends=tuple(dict.fromkeys(options.backend or [ALL if nothing_named else "auto"])),
        precisions=tuple(dict.fromkeys(options.precision or [ALL if nothing_named else None])),
        inference_precisions=tuple(None if name == "own" else name for name in inference),
        threads=tuple(dict.fromkeys(options.threads or [None])),
        batches=tuple(dict.fromkeys(options.batch or [None])),
        scenarios=tuple(dict.fromkeys(options.scenario or ["single-stream"])),
        device=options.device,
        spinning=options.spinning,
        peers=choose_peers(options.peer, load_peers()) if options.peer else (),
    )


def _settings(options: Namespace) -> Settings:
    return Settings(
        rounds=options.rounds,
        seconds=options.seconds,
        count=options.count,
        server_seconds=options.server_seconds,
        server_count=options.server_count,
        rate=options.rate,
        p99_bound_ms=options.p99_bound,
        clients=options.clients,
        seed=options.seed,
    )
