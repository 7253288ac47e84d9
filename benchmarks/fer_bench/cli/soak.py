"""fer-bench soak."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fer_bench.pages import MeasuredBlock, markers
from fer_bench.regression.cells import find_model
from fer_bench.results import check_schema, read_json
from fer_bench.soak.run import SoakResult, soak
from fer_bench.tables import markdown_table
from fer_edge.artifacts.record import decode, encode
from fer_edge.command import MODEL_HELP, Commands, add_command, write_result
from fer_edge.errors import ConfigurationError, GateError
from fer_edge.predictor import Predictor

__all__ = ["BLOCK", "add_parser"]

SCHEMA = "fer-bench-soak/1"
BLOCK = "soak"
"""Name of the block that ``--page`` writes."""

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
        commands, "soak", "run mixed calls for a long time: right answers, nothing grows", _soak
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{MODEL_HELP}; none: default, or what --take has",
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, metavar="M", help="for each artifact (default: 60)"
    )
    parser.add_argument(
        "--backend", action="append", metavar="NAME", help="repeatable (default: all that are here)"
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="threads (default: 4)")
    parser.add_argument(
        "--take",
        action="append",
        default=[],
        type=Path,
        metavar="JSON",
        help="an earlier result, to stand before the new ones; repeatable",
    )
    opening, _ = markers(BLOCK)
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help=f"write the figures after {opening} in FILE"
    )
    parser.add_argument(
        "--note", default="", metavar="TEXT", help="how they were taken, for the page to say"
    )


def _soak(options: Namespace) -> int:
    block = MeasuredBlock(options.page, BLOCK) if options.page else None
    results = [result for path in options.take for result in _read(path)]
    models = options.models or ([] if options.take else ["default"])
    # a model that is not there is told before the hours
    found = [(model, find_model(model, options.backend).cells) for model in models]
    _keep(results, options, block)
    for model, cell in [(model, cell) for model, cells in found for cell in cells]:
        opened = partial(Predictor, cell.path, backend=cell.backend)
        name = model if cell.path == Path(model) else f"{model} {cell.file}"
        result = soak(opened, options.minutes * 60, model=name, workers=options.workers)
        results.append(result)
        print(f"{name} on {result.backend}: {'; '.join(result.defects) or 'holds'}")
        for example in result.examples:
            print(f"  {example}")
        _keep(results, options, block)
    return GateError.exit_code if any(result.defects for result in results) else 0


def _keep(results: Sequence[SoakResult], options: Namespace, block: MeasuredBlock | None) -> None:
    """Write what there is: an hour's figures outlive whatever stops the next."""
    if results:
        write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
        if block:
            block.write(_page(results, options.note))


def _read(path: Path) -> list[SoakResult]:
    """The results of a file that ``--json`` wrote. Raises ConfigurationError for any other."""
    value = read_json(path)
    check_schema(value, SCHEMA, path)
    rows = value.get("results")
    if not isinstance(rows, list) or not rows:
        raise ConfigurationError(f"{path} is damaged: it has no results")
    return [decode(SoakResult, row, str(path), ConfigurationError) for row in rows]


def _page(results: Sequence[SoakResult], note: str) -> str:
    places = (f"{one.machine}, on {one.cores} of its cores, {one.month}" for one in results)
    table = markdown_table(_COLUMNS, [_row(result) for result in results])
    return f"{'; '.join(dict.fromkeys(places))}. {note}".strip() + f"\n\n{table}"


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
