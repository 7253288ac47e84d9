"""fer-bench soak."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from fer_bench.regression.cells import find_model
from fer_bench.soak.run import SoakResult, SoakRun, soak
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.command import MODEL_HELP, Commands, add_command, write_result
from fer_edge.errors import GateError
from fer_edge.predictor import Predictor


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "soak",
        "make mixed calls for a long time, and check that answers stay right and nothing grows",
        _soak,
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"{MODEL_HELP}; default: default"
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, metavar="M", help="for each artifact (default: 60)"
    )
    parser.add_argument(
        "--backend",
        action="append",
        metavar="NAME",
        help="repeatable (default: every installed one)",
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="threads (default: 4)")


def _soak(options: Namespace) -> int:
    results: list[SoakResult] = []
    # a wrong path is found before hours are spent on the other models
    found = [
        (model, find_model(model, options.backend).cells)
        for model in options.models or [DEFAULT_MODEL]
    ]
    for model, cell in [(model, cell) for model, cells in found for cell in cells]:
        opened = partial(Predictor, cell.path, backend=cell.backend)
        name = model if cell.path == Path(model) else f"{model} {cell.file}"
        result = soak(opened, options.minutes * 60, model=name, workers=options.workers)
        results.append(result)
        print(f"{name} on {result.backend}: {'; '.join(result.defects) or 'holds'}")
        for example in result.examples:
            print(f"  {example}")
        # written after each artifact, so that an error in the next one does not lose these figures
        write_result(options, encode(SoakRun(results=tuple(results))))
    return GateError.exit_code if any(result.defects for result in results) else 0
