"""fer-edge info."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.artifacts.record import encode
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_predictor_options,
    open_predictor,
    write_result,
)

__all__ = ["add_parser"]

SCHEMA = "fer-edge-info/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "info", "tell what a model is and what would run it", _info)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)


def _info(options: Namespace) -> int:
    model = Model.open(options.model)
    with open_predictor(model, options) as predictor:
        runs: dict[str, Any] = {**encode(predictor.info), "artifact": str(predictor.info.artifact)}
    spec = runs.pop("spec")
    entries = model.manifest.artifacts if model.manifest else ()
    artifacts = [encode(entry) for entry in entries]
    _print("runs", runs)
    _print("spec", spec)
    for entry in artifacts:
        _print(entry["file"], entry)
    write_result(options, {"schema": SCHEMA, "runs": runs, "spec": spec, "artifacts": artifacts})
    return 0


def _print(title: str, values: dict[str, Any], indent: str = "") -> None:
    print(f"{indent}{title}")
    for name, value in values.items():
        if isinstance(value, dict) and value:
            _print(name, value, indent + "  ")
        elif isinstance(value, list) and value:
            print(f"{indent}  {name:<20} {', '.join(map(str, value))}")
        elif value not in (None, {}, []):
            print(f"{indent}  {name:<20} {value}")
