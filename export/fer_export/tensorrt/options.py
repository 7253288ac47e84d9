"""How a plan is built: each option with its default, its flag and its help text.

Options are declared as fields of a frozen dataclass, from which the command makes its flags.
"""

from __future__ import annotations

from argparse import Namespace, _ActionsContainer
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fer_edge.artifacts.plan import HARDWARE
from fer_edge.errors import ConfigurationError

T = TypeVar("T")

TRT_TARGETS = {"trt-fp32": "fp32", "trt-fp16": "fp16", "trt-int8": "int8"}
"""Precision by target; the ONNX has it already, because networks are strongly typed."""

PRODUCTS_KEY = "fer_edge.products"
"""ONNX metadata: JSON that maps each Conv, Gemm and MatMul node to the type it computes in."""

_MAX_LEVEL = 5
_ONLY_HERE = ("timing_cache", "verbose")
"""Options that mean nothing on another machine."""


def option(default: Any, flag: str, meaning: str, **settings: Any) -> Any:
    """A field of options with its flag; ``settings`` are those of argparse."""
    if default is False:
        settings["action"] = "store_true"
    elif default is not None and "(default:" not in meaning:
        meaning += " (default: %(default)s)"
    return field(default=default, metadata={"flag": flag, "help": meaning, **settings})


def number(default: int | None, flag: str, meaning: str, unit: str = "N") -> Any:
    """An option that is a whole number."""
    return option(default, flag, meaning, type=int, metavar=unit)


@dataclass(frozen=True)
class PlanOptions:
    """The optimisation profile, and what the builder may do: see the help of each field.

    The engine takes batches from ``min_batch`` to ``max_batch``; an ONNX with a static batch leaves
    no choice. ``hardware`` is one of ``HARDWARE``. Without a ``timing_cache`` the file is next to
    the plan.
    """

    min_batch: int = number(1, "--min-batch", "smallest batch of the profile")
    opt_batch: int = number(1, "--opt-batch", "batch that the engine is tuned for")
    max_batch: int = number(32, "--max-batch", "largest batch of the profile")
    workspace_mb: int = number(1024, "--workspace", "most memory that a layer may use", "MB")
    opt_level: int | None = number(
        None, "--opt-level", "how long the builder searches, 0 to 5 (default: TensorRT's 3)"
    )
    gpu: int = number(0, "--gpu", "which GPU builds, as CUDA counts them")
    dla_core: int | None = number(
        None, "--dla-core", "use this core of a Jetson's DLA, and the GPU for the rest"
    )
    hardware: str = option(
        "this-gpu",
        "--hardware-compat",
        "which GPUs the plan runs on; more GPUs make it slower",
        choices=HARDWARE,
    )
    version_compatible: bool = option(
        False,
        "--version-compatible",
        "let later minor versions of TensorRT run the plan; slower",
    )
    timing_cache: Path | None = option(  # noqa: RUF009 - a field, as the others are
        None,
        "--timing-cache",
        "where to keep what the builder measures, for the next build (default: next to DIR)",
        type=Path,
        metavar="FILE",
    )
    verbose: bool = option(False, "--trt-verbose", "print everything that TensorRT says")

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ConfigurationError(
                "batches should be 1 <= min <= opt <= max, not "
                f"{self.min_batch}, {self.opt_batch}, {self.max_batch}"
            )
        _require(self.workspace_mb >= 1, "the workspace", "at least 1 MB", self.workspace_mb)
        level = self.opt_level
        _require(level is None or 0 <= level <= _MAX_LEVEL, "the level", "0 to 5", level)
        _require(self.gpu >= 0, "the GPU", "0 or more", self.gpu)
        core = self.dla_core
        _require(core is None or core >= 0, "the DLA core", "0 or more", core)
        _require(self.hardware in HARDWARE, "hardware", " or ".join(HARDWARE), self.hardware)


def add_options(group: _ActionsContainer, kind: type) -> None:
    """Add a flag for each field of a dataclass that has one."""
    for one in fields(kind):
        settings = dict(one.metadata)
        if flag := settings.pop("flag", None):
            group.add_argument(flag, dest=one.name, default=one.default, **settings)


def options_of(kind: type[T], given: Namespace, **rest: Any) -> T:
    """What the flags say; ``rest`` are fields without a flag."""
    flagged = [one.name for one in fields(kind) if "flag" in one.metadata]  # type: ignore[arg-type]
    return kind(**{name: getattr(given, name) for name in flagged}, **rest)


def plan_flags(options: PlanOptions) -> list[str]:
    """The command line's words for what differs from the default and holds on any machine."""
    words = []
    for one in fields(PlanOptions):
        value = getattr(options, one.name)
        if value != one.default and one.name not in _ONLY_HERE:
            words += [one.metadata["flag"], *([] if value is True else [str(value)])]
    return words


def _require(holds: bool, what: str, expected: str, came: object) -> None:
    if not holds:
        raise ConfigurationError(f"{what} should be {expected}, not {came}")
