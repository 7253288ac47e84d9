"""The block of docs/reliability.md that ``fer-bench soak`` measured."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from fer_bench.results import read_result
from fer_bench.soak.run import SoakResult, SoakRun
from fer_bench.tables import markdown_table
from fer_edge.command import Commands, add_command
from fer_edge.errors import ConfigurationError
from pages.blocks import MeasuredBlock

_COLUMNS = (
    "artifact",
    "backend",
    "minutes",
    "callers",
    "calls",
    "refused",
    "wrong",
    "memory, first → last",
    "handles",
    "threads",
    "p99, first → last",
    "verdict",
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "soak", "write the results of fer-bench soak --json into a page", _soak_page
    )
    parser.add_argument("results", nargs="+", metavar="JSON", type=Path)
    parser.add_argument("--page", metavar="FILE", type=Path, default=Path("docs/reliability.md"))
    parser.add_argument("--note", default="", metavar="TEXT", help="how they were measured")


def read_soak(path: Path) -> tuple[SoakResult, ...]:
    """Read a result of ``fer-bench soak --json``. Raises ConfigurationError for another file."""
    results = read_result(path, SoakRun).results
    if not results:
        raise ConfigurationError(f"{path} is damaged: it has no results")
    return results


def soak_block(results: Sequence[SoakResult], note: str = "") -> str:
    """The machines and a table of the results, as Markdown."""
    places = (f"{one.machine}, on {one.cores} of its cores, {one.month}" for one in results)
    table = markdown_table(_COLUMNS, [_row(result) for result in results])
    return f"{'; '.join(dict.fromkeys(places))}. {note}".strip() + f"\n\n{table}"


def _soak_page(options: Namespace) -> int:
    block = MeasuredBlock(options.page, "soak")
    results = [result for path in options.results for result in read_soak(path)]
    block.write(soak_block(results, options.note))
    print(f"{options.page}: {len(results)} rows")
    return 0


def _row(one: SoakResult) -> Sequence[str]:
    return (
        one.model,
        one.backend,
        f"{one.seconds / 60:g}",
        str(one.workers),
        f"{one.calls:,}",
        f"{one.refused:,}",
        str(one.wrong),
        f"{one.memory_first_mb:.1f} → {one.memory_last_mb:.1f} MB ({one.memory_growth:+.2%})",
        f"{one.handles_first} → {one.handles_last}",
        f"{one.threads_first} → {one.threads_last}",
        f"{one.p99_first_ms:.2f} → {one.p99_last_ms:.2f} ms",
        "; ".join(one.defects) or "holds",
    )
