"""fer-bench soak."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from fer_bench.pages import MeasuredBlock, markers
from fer_bench.regression.cells import find_model
from fer_bench.soak.run import SoakResult, soak
from fer_edge.command import MODEL_HELP, Commands, add_command, write_result
from fer_edge.errors import GateError
from fer_edge.predictor import Predictor
from fer_edge.record import encode

__all__ = ["BLOCK", "add_parser"]

SCHEMA = "fer-bench-soak/1"
BLOCK = "soak"
"""Name of the block that ``--page`` writes."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "soak", "run mixed calls for a long time: right answers, nothing grows", _soak
    )
    parser.add_argument("model", nargs="?", default="default", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--minutes", type=float, default=60.0, metavar="M", help="for each artifact (default: 60)"
    )
    parser.add_argument(
        "--backend", action="append", metavar="NAME", help="repeatable (default: all that are here)"
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="threads (default: 4)")
    opening, _ = markers(BLOCK)
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help=f"write the figures after {opening} in FILE"
    )


def _soak(options: Namespace) -> int:
    block = MeasuredBlock(options.page, BLOCK) if options.page else None
    results = []
    for cell in find_model(options.model, options.backend).cells:
        opened = partial(Predictor, cell.path, backend=cell.backend)
        name = f"{options.model} {cell.file}"
        result = soak(opened, options.minutes * 60, model=name, workers=options.workers)
        results.append(result)
        print(f"{name} on {result.backend}: {'; '.join(result.defects) or 'holds'}")
        for example in result.examples:
            print(f"  {example}")
    write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
    if block:
        block.write(_page(results))
    return GateError.exit_code if any(result.defects for result in results) else 0


def _page(results: Sequence[SoakResult]) -> str:
    lines = [
        f"{date.today():%B %Y}, {results[0].machine}, {results[0].workers} threads, "
        f"{results[0].seconds / 60:g} minutes each.",
        "",
        "| artifact | backend | calls | refused | wrong | memory, first → last | handles | threads "
        "| p99, first → last | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        cells = (
            one.model,
            one.backend,
            f"{one.calls:,}",
            f"{one.refused:,}",
            str(one.wrong),
            f"{one.memory_first_mb:.1f} → {one.memory_last_mb:.1f} MB ({one.memory_growth:+.2%})",
            f"{one.handles_first} → {one.handles_last}",
            f"{one.threads_first} → {one.threads_last}",
            f"{one.p99_first_ms:.2f} → {one.p99_last_ms:.2f} ms",
            "; ".join(one.defects) or "holds",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
