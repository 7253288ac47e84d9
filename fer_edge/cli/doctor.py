"""fer-edge doctor."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import PRECISIONS
from fer_edge.backends.tune import tune
from fer_edge.backends.tuning_record import Timing, Tuning
from fer_edge.cli.diagnosis import Check, Diagnosis, diagnose
from fer_edge.command import Commands, add_command, write_result

SCHEMA = "fer-edge-doctor/2"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "doctor", "show what works here and what to install", _doctor)
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="the model to run and to tune: the name of a packaged model, a model directory or an "
        "artifact",
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="first measure every backend with several numbers of threads; backend=auto then takes "
        "the fastest",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="for --tune and auto; default: the one that the manifest names",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="for --tune and auto: auto, cpu, cuda, gpu, npu",
    )


def _doctor(options: Namespace) -> int:
    result: dict[str, Any] = {"schema": SCHEMA}
    if options.tune:
        tuning = tune(options.model, precision=options.precision, device=options.device)
        _print_tuning(tuning)
        result["tuning"] = encode(tuning)
    diagnosis = diagnose(options.model, precision=options.precision, device=options.device)
    _print(diagnosis)
    write_result(options, {**result, **encode(diagnosis)})
    return diagnosis.exit_code


def _print_tuning(tuning: Tuning) -> None:
    print(f"{tuning.model} ({tuning.precision}), one crop, {tuning.machine}")
    best = tuning.best()
    print(f"  {'backend':<12} {'threads':>7} {'p50 ms':>9}  computes in, on")
    for timing in tuning.timings:
        print(_timing(timing, timing == best))
    for failure in tuning.failures:
        print(f"  {failure.backend:<12} could not be measured: {failure.reason}")
    print()


def _timing(timing: Timing, best: bool) -> str:
    threads = "-" if timing.threads is None else timing.threads
    return (
        f"  {timing.backend:<12} {threads:>7} {timing.p50_ms:9.3f}  {timing.inference_precision}, "
        f"{timing.provider}{'  <- auto takes this' if best else ''}"
    )


def _print(diagnosis: Diagnosis) -> None:
    print(f"{diagnosis.python} on {diagnosis.system}")
    sections = {
        "model": (diagnosis.model,),
        "core": diagnosis.core,
        f"backends (auto takes the first of {', '.join(diagnosis.auto_order)})": (
            *diagnosis.backends,
            diagnosis.auto,
        ),
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
