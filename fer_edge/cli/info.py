"""fer-edge info."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from fer_edge.artifacts.manifest import ArtifactEntry, Measurement
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

SCHEMA = "fer-edge-info/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "info", "show what a model is and what would run it", _info)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)


def _info(options: Namespace) -> int:
    model = Model.open(options.model)
    with open_predictor(model, options) as predictor:
        runs: dict[str, Any] = {**encode(predictor.info), "artifact": str(predictor.info.artifact)}
    spec = runs.pop("spec")
    entries = model.manifest.artifacts if model.manifest else ()
    for line in (*_section("runs", runs), *_section("spec", spec), *_artifacts(entries)):
        print(line)
    artifacts = [encode(entry) for entry in entries]
    write_result(options, {"schema": SCHEMA, "runs": runs, "spec": spec, "artifacts": artifacts})
    return 0


def _section(title: str, values: dict[str, Any], indent: str = "") -> Iterator[str]:
    yield f"{indent}{title}"
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _section(name, value, f"{indent}  ")
        elif isinstance(value, list) and value:
            yield f"{indent}  {name:<20} {', '.join(map(str, value))}"
        elif value not in (None, {}, []):
            yield f"{indent}  {name:<20} {value}"


def _artifacts(entries: tuple[ArtifactEntry, ...]) -> Iterator[str]:
    if entries:
        yield "artifacts"
    width = max((len(entry.file) for entry in entries), default=0)
    for entry in entries:
        size = entry.size_bytes + sum(companion.size_bytes for companion in entry.companions)
        made_for = f", made for {' and '.join(entry.backends)}" if entry.backends else ""
        yield (
            f"  {entry.file:<{width}}  {entry.precision}, {entry.target}, {size / 1e6:.1f} MB"
            f"{made_for}, sha256 {entry.sha256[:12]}…"
        )
        yield from (f"    {_measured(one)}" for one in entry.measured)


def _measured(one: Measurement) -> str:
    """What an export measured on one backend, in one line."""
    parts = []
    if (accuracy := one.accuracy) is not None:
        low, high = accuracy.accuracy_ci95
        parts.append(
            f"accuracy {accuracy.accuracy:.2%} [{low:.2%}, {high:.2%}] on {accuracy.split} "
            f"(n={accuracy.n}, {accuracy.use})"
        )
    parts.append(f"agrees with fp32 on {one.parity.top1_agreement:.2%}")
    if (latency := one.latency) is not None:
        threads = "" if latency.threads is None else f", threads={latency.threads}"
        parts.append(f"{latency.p50_ms:.2f} ms{threads} on {latency.machine}")
    return f"{one.backend} {one.version}: {'; '.join(parts)}"
