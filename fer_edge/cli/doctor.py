"""fer-edge doctor."""

from __future__ import annotations

from argparse import Namespace

from fer_edge.artifact import DEFAULT_MODEL
from fer_edge.command import Commands, add_command, write_result
from fer_edge.diagnosis import Check, Diagnosis, diagnose
from fer_edge.faces.yunet import fetch_yunet
from fer_edge.record import encode

__all__ = ["add_parser"]

SCHEMA = "fer-edge-doctor/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "doctor", "tell what works here and what to install", _doctor)
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="whose golden crops to run: default (the packaged model), or a model directory",
    )
    parser.add_argument(
        "--fetch-yunet",
        action="store_true",
        help="first fetch the YuNet face detector (230 kB, hash checked) from OpenCV Zoo",
    )


def _doctor(options: Namespace) -> int:
    if options.fetch_yunet:
        print(f"YuNet lies at {fetch_yunet()}")
    diagnosis = diagnose(options.model)
    _print(diagnosis)
    write_result(options, {"schema": SCHEMA, **encode(diagnosis)})
    return diagnosis.exit_code


def _print(diagnosis: Diagnosis) -> None:
    print(f"{diagnosis.python} on {diagnosis.system}")
    sections = {
        "model": (diagnosis.model,),
        f"backends (auto takes the first of {', '.join(diagnosis.auto_order)})": diagnosis.backends,
        "face detection": (diagnosis.faces,),
        "devices": diagnosis.devices,
        "extras": diagnosis.extras,
    }
    for title, checks in sections.items():
        print(f"\n{title}")
        for check in checks:
            print(_line(check))
    for problem in diagnosis.problems:
        print(f"\nproblem: {problem}")


def _line(check: Check) -> str:
    return f"  {'ok' if check.ok else '--'}  {check.name:<12} {check.detail}"
