"""docs/benchmarks.md and the figures of the README, measured in one run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fer_bench.candidates import ALL, Candidate, bare_candidates, candidates_for
from fer_bench.comparison import Collected, dots
from fer_bench.latency_results import Interval, LatencyRow, LatencyRun, Ratio
from fer_bench.measure_accuracy import AccuracyRun, load_split, measure_all
from fer_bench.measure_latency import measure_latency
from fer_bench.peers import Peer, choose_peers, load_peers
from fer_bench.plot import draw_plot
from fer_bench.results import read_result
from fer_bench.scenarios import Settings
from fer_bench.tables import (
    comparison_table,
    latency_table,
    markdown_table,
    noise_lines,
    paired_sentence,
    times,
    with_interval,
)
from fer_edge.artifacts.model import packaged_models
from fer_edge.artifacts.record import encode
from fer_edge.command import INTERRUPTED, MODEL_HELP, Commands, add_command, say, write_result
from fer_edge.system.cores import usable_cores
from fer_edge.system.files import write_json
from pages.blocks import MeasuredBlock

BLOCK = "benchmarks"
SPLIT = "public-test"
_LABELLED = ("fer",)
"""Peers that know the seven emotions. The others have random weights, so no accuracy."""

_SAME_FILE = ("sha256", "backend", "threads", "inference_precision")
"""What a model and its bare engine have in common."""


def page_candidates(models: Sequence[str], peers: Sequence[Peer] | None = None) -> list[Candidate]:
    """Everything on the page: the models on each engine of this machine, bare engines and peers.

    Single-stream is measured with all usable cores and with one thread, the bare engines and the
    other scenarios with all cores.
    """
    if peers is None:
        peers = choose_peers(["all"])
    cores = usable_cores()
    ours = partial(candidates_for, models, backends=[ALL], precisions=[ALL])
    found = bare_candidates(ours(threads=[cores]))
    found += candidates_for([], threads=[cores], peers=peers)
    if cores > 1:
        found += ours(threads=[1], peers=peers)
    return found + ours(threads=[cores], scenarios=["multi-stream", "offline", "server"])


def measure_page_accuracy(models: Sequence[str], data: Path) -> AccuracyRun:
    """Accuracy of everything on the page that knows the seven emotions. Raises DataError."""
    peers = [peer for name, peer in load_peers().items() if name in _LABELLED and peer.python]
    wanted = candidates_for(models, backends=[ALL], precisions=[ALL], peers=peers)
    return measure_all(wanted, load_split(data, SPLIT), reference=models[0])


@dataclass(frozen=True)
class Page:
    """Where the figures go. Missing markers are found here, before anything is measured.

    Raises ConfigurationError for a page without the markers ``benchmarks``.
    """

    page: Path
    readme: Path | None
    picture: Path

    def __post_init__(self) -> None:
        self._blocks()

    def _blocks(self) -> list[MeasuredBlock]:
        return [MeasuredBlock(page, BLOCK) for page in (self.page, self.readme)]

    def write(self, latency: LatencyRun, accuracy: AccuracyRun | None) -> None:
        """Draw the picture and write the blocks."""
        found = Collected([latency], accuracy.results if accuracy else ())
        drawn = dots(found)
        cpu = latency.environment.cpu
        subtitle = f"{cpu.model or 'unknown CPU'}, {cpu.usable_cores} cores; single-stream, batch 1"
        if drawn:
            draw_plot(drawn, self.picture, subtitle=subtitle)
        picture, folder = self.picture.absolute(), self.page.absolute().parent
        shown = picture.name if picture.parent == folder else str(picture)
        page, readme = self._blocks()
        page.write("\n\n".join(_page_parts(latency, accuracy, found, shown)))
        readme.write("\n\n".join(_readme_parts(latency, found)))


def _page_parts(
    latency: LatencyRun, accuracy: AccuracyRun | None, found: Collected, picture: str
) -> Iterator[str]:
    yield _origin(latency)
    if lines := list(noise_lines(latency)):
        yield "\n".join(f"> {line.strip()}" for line in lines)
    yield f"![Accuracy against latency]({picture})"
    yield "## Side by side"
    yield comparison_table(found)
    yield "## Ratios"
    yield "p50 divided by that of our fastest row in the same rounds, with its 95 % interval:"
    yield _ratio_table(latency)
    yield "`Predictor` compared with the engine's own Python call on the same file:"
    yield _overhead_table(latency)
    yield "## Stages, start, memory"
    yield _stage_table(latency)
    yield "## Latency"
    yield latency_table(latency)
    if accuracy:
        yield f"## Accuracy on `{SPLIT}`, on which the packaged model was selected"
        yield _accuracy_table(accuracy)
        yield "\n".join(f"- {paired_sentence(test)}" for test in accuracy.mcnemar)
    yield "## Machine"
    yield _machine_table(latency)


def _readme_parts(latency: LatencyRun, found: Collected) -> Iterator[str]:
    header = ("model", "engine", "precision", "p50 ms, one crop", "times our fastest", "accuracy")
    best = _fastest(latency)
    ratios = _ratios_to(latency, best) if best is not None else {}
    rows = []
    for dot in dots(found):
        row = dot.row
        if row.kind == "peer" and row.model not in _LABELLED:
            continue
        ratio, _ = ratios.get(latency.results.index(row), (None, None))
        accuracy = "not measured" if dot.accuracy is None else f"{dot.accuracy:.2%}"
        speed = with_interval(dot.latency_ms, dot.latency_ci95)
        rows.append((row.title, row.backend, row.precision or "-", speed, times(ratio), accuracy))
    yield markdown_table(header, rows)
    yield f"{_measured(latency)}. In brackets: 95 % intervals."


def _measured(latency: LatencyRun) -> str:
    """The day and the processor, with the instructions that INT8 and bf16 depend on."""
    cpu = latency.environment.cpu
    extensions = f" ({', '.join(cpu.flags)})" if cpu.flags else ""
    return (
        f"Measured {latency.measured_at[:10]} on {cpu.model or 'an unknown CPU'}{extensions}, "
        f"{cpu.usable_cores} cores"
    )


def _origin(latency: LatencyRun) -> str:
    return (
        f"{_measured(latency)}, {latency.environment.system}, in {latency.rounds} interleaved "
        f"rounds, each candidate in a fresh process per round. In brackets: 95 % intervals."
    )


def _fastest(latency: LatencyRun) -> int | None:
    """The place of our fastest single-stream row of batch 1."""
    ours = [
        (row.p50_ms, place)
        for place, row in enumerate(latency.results)
        if row.kind == "model" and row.p50_ms is not None and row.is_one_crop
    ]
    return min(ours)[1] if ours else None


def _over(ratio: Ratio, base: int) -> tuple[float, Interval | None]:
    """The p50 of the other row over that of the row ``base``, with its interval."""
    if ratio.second == base:
        return ratio.p50_ratio, ratio.ci95
    span = ratio.ci95
    return 1 / ratio.p50_ratio, None if span is None else (1 / span[1], 1 / span[0])


def _ratios_to(latency: LatencyRun, base: int) -> dict[int, tuple[float, Interval | None]]:
    """Each row's p50 over that of the row ``base``, by place: itself, then the fastest first."""
    others = {
        ratio.first + ratio.second - base: _over(ratio, base)
        for ratio in latency.ratios
        if base in (ratio.first, ratio.second)
    }
    return {base: (1.0, None), **dict(sorted(others.items(), key=lambda entry: entry[1][0]))}


def _ratio_table(latency: LatencyRun) -> str:
    base = _fastest(latency)
    if base is None:
        return "No model of ours was measured."
    rows = [
        (*_names(latency.results[place]), with_interval(*ratio))
        for place, ratio in _ratios_to(latency, base).items()
    ]
    return markdown_table(("model", "engine", "precision", "threads", "times ours"), rows)


def _overhead_table(latency: LatencyRun) -> str:
    rows = []
    for ratio in latency.ratios:
        places = {latency.results[place].kind: place for place in (ratio.first, ratio.second)}
        if places.keys() != {"model", "bare"}:
            continue
        ours, bare = latency.results[places["model"]], latency.results[places["bare"]]
        if all(getattr(ours, name) == getattr(bare, name) for name in _SAME_FILE):
            value = with_interval(*_over(ratio, places["bare"]))
            rows.append((*_names(ours), times(ours.p50_ms), times(bare.p50_ms), value))
    if not rows:
        return "No bare engine was measured."
    header = ("model", "engine", "precision", "threads", "Predictor ms", "bare ms", "ratio")
    return markdown_table(header, rows)


def _stage_table(latency: LatencyRun) -> str:
    header = (
        "model", "engine", "precision", "threads", "preprocess ms", "inference ms",
        "postprocess ms", "cold start ms", "of it load", "first call", "RSS MB", "file MB",
        "CPU s / 1,000",
    )  # fmt: skip
    rows = []
    for row in latency.results:
        if row.error or not row.is_one_crop:
            continue
        stages = row.stages_ms or {}
        size = None if row.size_bytes is None else row.size_bytes / 1e6
        cells = [stages.get(name) for name in ("preprocess", "inference", "postprocess")]
        cells += [row.cold_ms, row.load_ms, row.first_call_ms, row.rss_mb, size, row.cpu_s_per_1000]
        rows.append((*_names(row), *map(times, cells)))
    return markdown_table(header, rows)


def _accuracy_table(accuracy: AccuracyRun) -> str:
    header = ("model", "engine", "precision", "accuracy", "without copies", "macro-F1", "ECE")
    rows = []
    for r in accuracy.results:
        low, high = r.accuracy_ci95
        share, alone = f"{r.accuracy:.2%} [{low:.2%}, {high:.2%}]", "-"
        if r.accuracy_without_copies is not None:
            alone = f"{r.accuracy_without_copies:.2%} of {r.n_without_copies}"
        figures = (f"{r.macro_f1:.3f}", f"{r.ece:.3f}")
        rows.append((r.model, r.backend, r.precision or "-", share, alone, *figures))
    return markdown_table(header, rows)


def _machine_table(latency: LatencyRun) -> str:
    environment, noise = latency.environment, latency.noise
    cpu = environment.cpu
    facts = [
        ("CPU", cpu.model),
        ("extensions", ", ".join(cpu.flags)),
        ("cores, usable", f"{cpu.cores}, {cpu.usable_cores}"),
        ("virtual machine", {True: "yes", False: "no", None: None}[environment.hypervisor]),
        ("governor", cpu.governor),
        ("memory", f"{environment.memory_mb} MB" if environment.memory_mb else None),
        ("board", environment.board),
        ("power mode", environment.power_mode),
        ("GPU", "; ".join(f"{gpu.name}, driver {gpu.driver}" for gpu in environment.gpus)),
        ("system", environment.system),
        ("Python", environment.python),
        *sorted(environment.versions.items()),
        (
            "load of other processes",
            None if noise.other_load_mean is None else f"{noise.other_load_mean:.1%} of the cores",
        ),
        ("spread of a core's speed", f"{noise.speed_spread:.1%}"),
        ("judged quiet", "yes" if noise.quiet else "no"),
    ]
    return markdown_table(("what", "value"), [(name, value or "unknown") for name, value in facts])


def _names(row: LatencyRow) -> tuple[str, str, str, str]:
    name = row.name if row.kind == "bare" else row.title
    return name, row.backend, row.precisions, times(row.threads)


SCHEMA = "fer-pages-benchmarks/1"
_DEFAULTS = Settings()


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "benchmarks", "measure models and peers, and write docs/benchmarks.md", _page
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"{MODEL_HELP} (default: every packaged model)"
    )
    parser.add_argument(
        "--data", metavar="FER2013", type=Path, help="zip, folder or CSV (default: no accuracy)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", default=_DEFAULTS.rounds)
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        default=_DEFAULTS.seconds,
        help="of all rounds together",
    )
    parser.add_argument("--latency", metavar="JSON", type=Path, help="use it, do not measure")
    parser.add_argument("--accuracy", metavar="JSON", type=Path, help="use it, do not measure")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/bench"), help="for the JSON results"
    )
    parser.add_argument("--page", metavar="FILE", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--picture", metavar="PNG", type=Path, default=Path("docs/benchmarks.png"))
    parser.add_argument("--readme", metavar="FILE", type=Path, help="write its block as well")
    parser.add_argument("--strict", action="store_true", help="write only on a quiet machine")


def _page(options: Namespace) -> int:
    page = Page(options.page, options.readme, options.picture)
    models = options.models or packaged_models()
    accuracy = read_result(options.accuracy, AccuracyRun) if options.accuracy else None
    if options.latency:
        latency = read_result(options.latency, LatencyRun)
    else:
        settings = Settings(rounds=options.rounds, seconds=options.seconds)
        latency = measure_latency(page_candidates(models), settings)
        write_json(options.out / "latency.json", encode(latency))
    for line in noise_lines(latency):
        say(line)
    if latency.interrupted:
        say(
            f"interrupted; {options.out / 'latency.json'} keeps the {latency.rounds} "
            "rounds that were complete, and no page was written"
        )
        return INTERRUPTED
    if options.strict and not latency.noise.quiet:
        say("the machine was not quiet, so no page was written (--strict)")
        return 1
    if accuracy is None and options.data:
        accuracy = measure_page_accuracy(models, options.data)
        write_json(options.out / "accuracy.json", encode(accuracy))
    page.write(latency, accuracy)
    for row in latency.results:
        if row.error:
            say(f"{row.model}, {row.backend}, {row.scenario}: {row.error}")
    print(f"{options.page}, {options.picture}: {len(latency.results)} rows")
    write_result(options, {"schema": SCHEMA, "page": str(options.page), "failed": latency.failed})
    return int(latency.failed or bool(accuracy and accuracy.failures))
