"""The command fer-export."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from fer_edge.command import command_parser, run_command, say, write_result
from fer_edge.dependencies import requires
from fer_edge.record import encode

__all__ = ["main"]

SCHEMA = "fer-export/1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-export; returns the exit code."""
    parser = command_parser(
        "fer-export",
        "Export a checkpoint to artifacts, and prove each against the network that it came from.",
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, required=True, help="a checkpoint of fer-train"
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help="what to build; may be repeated: onnx (the default)",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="the model directory to write"
    )
    parser.add_argument(
        "--data",
        metavar="FER2013",
        type=Path,
        help="zip, folder or CSV of FER2013: compare on public-test and measure accuracy "
        "(default: compare on seeded drawings)",
    )
    parser.add_argument("--force", action="store_true", help="replace DIR if it exists")
    parser.set_defaults(handler=_export)
    return run_command(parser, arguments)


def _export(options: Namespace) -> int:
    with requires("export"):
        from fer_export.pipeline import export_model
    manifest = export_model(
        options.weights,
        options.out,
        options.target or ["onnx"],
        data=options.data,
        force=options.force,
        report=say,
    )
    for entry in manifest.artifacts:
        print(f"{options.out / entry.file}  {entry.precision}  {entry.size_bytes / 1e6:.2f} MB")
        if entry.parity:
            print(
                f"  against the network: max |Δp| {entry.parity.max_probability_difference:.1e}, "
                f"top-1 agreement {entry.parity.top1_agreement:.2%} "
                f"on {entry.parity.crops} crops ({entry.parity.crops_from})"
            )
        if entry.accuracy:
            low, high = entry.accuracy.accuracy_ci95
            print(
                f"  accuracy {entry.accuracy.accuracy:.2%} [{low:.2%}, {high:.2%}] on "
                f"{entry.accuracy.split} ({entry.accuracy.use})"
            )
    artifacts = [encode(entry) for entry in manifest.artifacts]
    write_result(options, {"schema": SCHEMA, "out": str(options.out), "artifacts": artifacts})
    return 0
