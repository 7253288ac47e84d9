"""How to export: each option with its default, its flag and its help text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.fer2013 import Data
from fer_export.tensorrt.options import PlanOptions, number, option

_INT8_RESTS = ("fp16", "fp32")


def points(text: str) -> float:
    """Points of accuracy as a fraction of 1."""
    return float(text) / 100


@dataclass(frozen=True)
class ExportOptions:
    """What is made, and what it is compared and calibrated on: see the help of each field.

    ``data`` is FER2013 or another data set of the model's classes. Without it artifacts are
    compared on seeded drawings, and no accuracy is measured. ``allowed_drop`` is a fraction of 1.
    ``plan`` says how TensorRT builds.
    """

    data: Data | None = None
    crops: int | None = number(
        None,
        "--crops",
        "how many pictures to compare on (default: all that the fp32 network runs on in 30 "
        "seconds, at least 32)",
    )
    half_weights: bool = option(
        False,
        "--half-weights",
        "store the weights of the fp32 ONNX as float16: half the size; its answers are held to the "
        "gate of fp16",
    )
    batch: int | None = number(None, "--batch", "a static batch (default: dynamic)")
    calibration: Path | None = option(  # noqa: RUF009 - a field, as the others are
        None,
        "--calib",
        "a calibration set of fer-calib (default: drawn from --data)",
        type=Path,
        metavar="FILE",
    )
    allowed_drop: float = option(
        0.005,
        "--max-drop",
        "points of accuracy on public-test that INT8 may cost (default: 0.5)",
        type=points,
        metavar="POINTS",
    )
    int8_rest: str = option(
        "fp16",
        "--int8-rest",
        "what trt-int8 computes in where it is not int8",
        choices=_INT8_RESTS,
    )
    prepare_only: bool = option(
        False,
        "--prepare-only",
        "stop at the ONNX from which a device builds its engine",
    )
    plan: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        if self.crops is not None and self.crops < 1:
            raise ConfigurationError(f"the number of crops should be 1 or more, not {self.crops}")
        if self.int8_rest not in _INT8_RESTS:
            raise ConfigurationError(
                f"int8_rest should be {' or '.join(_INT8_RESTS)}, not {self.int8_rest!r}"
            )
