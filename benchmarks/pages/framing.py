"""Where FER2013's crops sit relative to the boxes of a face detector.

A FER2013 picture is what somebody cut around a face. Each picture is enlarged and set into an empty
surround, where the detectors find the face again. Comparing the picture's outline with their box
gives the conversion that `fer_edge.faces.detectors` holds as constants. Two surrounds show how much
of the result comes from the surround: ``gray``, the picture's mean, and ``border``, its border
pixels repeated.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fer_bench.tables import markdown_table
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, add_data_option, write_result
from fer_edge.errors import ConfigurationError, DataError
from fer_edge.evaluation.fer2013 import LabelledCrops, load
from fer_edge.faces.detectors import Detection, Detector, Framing, Haar
from fer_edge.faces.yunet import YUNET_SHA256, Yunet
from fer_edge.system.progress import track
from pages.blocks import MeasuredBlock, add_write_option

SURROUNDS = ("gray", "border")
SPLIT = "public-test"

_SIDE = 192
_SURROUND = 96
_LEAST_FACE = _SIDE / 2


@dataclass(frozen=True)
class Quartiles:
    """The middle of a distribution."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles | None:
        """Take the quartiles of ``values``, interpolated linearly; None of no values."""
        if not values:
            return None
        return cls(*(float(value) for value in np.percentile(values, (25, 50, 75))))


@dataclass(frozen=True)
class Result:
    """What one detector found in ``count`` pictures with one surround: a face in ``found`` of them.

    ``side`` is the picture's side in widths of the box. The anchor is ``right`` and ``down`` of the
    picture's centre, in sides of the picture. ``framing`` holds the constants in use, and
    ``overlap`` is the intersection over union of the picture with the square that they make of
    the detection. The quartiles are None where nothing was found.
    """

    detector: str
    surround: str
    count: int
    found: int
    side: Quartiles | None
    right: Quartiles | None
    down: Quartiles | None
    overlap: Quartiles | None
    framing: Framing


def sample(data: Path, count: int, seed: int) -> LabelledCrops:
    """Draw ``count`` different pictures of FER2013's public-test.

    Raises DataError if there are fewer, or if FER2013 cannot be read.
    """
    if seed < 0:
        raise ConfigurationError(f"the seed of a draw should be 0 or above, not {seed}")
    crops = load(data, SPLIT)
    if not 1 <= count <= len(crops):
        raise DataError(f"{data} has {len(crops)} pictures of {SPLIT}; {count} cannot be drawn")
    chosen = np.random.default_rng(seed).choice(len(crops), count, replace=False)
    return crops.take(chosen)


def scene(picture: npt.NDArray[np.uint8], surround: str) -> npt.NDArray[np.uint8]:
    """Set a picture, enlarged to 192 pixels a side, into a surround of 96 pixels on every side.

    ``picture`` is uint8 ``(H, W)``, as is what comes back. Raises ConfigurationError for a
    surround other than ``SURROUNDS``.
    """
    if surround not in SURROUNDS:
        raise ConfigurationError(f"unknown surround {surround!r}; known are {SURROUNDS}")
    large = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    kind = cv2.BORDER_CONSTANT if surround == "gray" else cv2.BORDER_REPLICATE
    widths = (_SURROUND, _SURROUND, _SURROUND, _SURROUND)
    padded = cv2.copyMakeBorder(large, *widths, kind, value=float(picture.mean()))
    return np.asarray(padded, np.uint8)


def measure(pictures: npt.NDArray[np.uint8], detector: Detector, surround: str) -> Result:
    """Compare where a detector finds a face with where the picture ends.

    ``pictures`` is uint8 ``(N, H, W)``. A face counts as found if its anchor lies in the middle
    half of the picture; of several the largest is taken.
    """
    label = f"{detector.name} on {surround}"
    found = [
        detection
        for picture in track(pictures, len(pictures), label)
        if (detection := _central(detector.find(scene(picture, surround), _LEAST_FACE)))
    ]
    anchors = [[(at - _SURROUND) / _SIDE - 0.5 for at in detection.anchor] for detection in found]
    return Result(
        detector=detector.name,
        surround=surround,
        count=len(pictures),
        found=len(found),
        side=Quartiles.of([_SIDE / detection.box[2] for detection in found]),
        right=Quartiles.of([right for right, _ in anchors]),
        down=Quartiles.of([down for _, down in anchors]),
        overlap=Quartiles.of([_overlap(detection) for detection in found]),
        framing=detector.framing,
    )


def report(
    data: Path, detectors: Mapping[str, Detector], *, count: int = 1000, seed: int = 0
) -> list[Result]:
    """Measure every detector in both surrounds on the same pictures."""
    pictures = sample(data, count, seed).images
    return [measure(pictures, d, surround) for d in detectors.values() for surround in SURROUNDS]


def table(results: Sequence[Result]) -> str:
    """Lay the results out as a Markdown table, quartiles around the median."""
    header = (
        "detector", "surround", "found", "picture side / box width", "anchor right", "anchor down",
        "overlap after conversion",
    )  # fmt: skip
    rows = []
    for it in results:
        cells = [_cell(it.side, ".2f"), _cell(it.right, "+.3f"), _cell(it.down, "+.3f")]
        cells.append(_cell(it.overlap, ".2f"))
        rows.append([it.detector, it.surround, f"{it.found / it.count:.1%}", *cells])
    constants = {r.detector: r.framing for r in results}
    used = [
        (name, f"{f.side:.2f}", f"{f.right:+.2f}", f"{f.down:+.2f}")
        for name, f in constants.items()
    ]
    return (
        f"{markdown_table(header, rows)}\n\nThe constants in use:\n\n"
        f"{markdown_table(('detector', 'side', 'right', 'down'), used)}"
    )


def _central(detections: Sequence[Detection]) -> Detection | None:
    middle = _SURROUND + _SIDE / 2
    inside = [d for d in detections if all(abs(at - middle) <= _SIDE / 4 for at in d.anchor)]
    return max(inside, key=lambda d: d.box[2] * d.box[3], default=None)


def _overlap(detection: Detection) -> float:
    left, top, side = detection.square
    shared = 1.0
    for start in (left, top):
        shared *= max(0.0, min(start + side, _SURROUND + _SIDE) - max(start, _SURROUND))
    return shared / (side**2 + _SIDE**2 - shared)


def _cell(values: Quartiles | None, form: str) -> str:
    if values is None:
        return "none"
    return f"{values.lower:{form}} **{values.median:{form}}** {values.upper:{form}}"


SCHEMA = "fer-pages-framing/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "framing", "measure where FER2013's crops sit in detected boxes", _framing
    )
    add_data_option(parser)
    parser.add_argument("--count", type=int, metavar="N", default=1000, help="pictures to draw")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the draw")
    add_write_option(parser)


def _framing(options: Namespace) -> int:
    block = MeasuredBlock(options.write, "framing")
    detectors: dict[str, Detector] = {"haar": Haar(), "yunet": Yunet()}
    results = report(options.data, detectors, count=options.count, seed=options.seed)
    text = table(results)
    print(text)
    block.write(
        f"Measured on {options.count:,} pictures of FER2013's {SPLIT}, drawn with seed "
        f"{options.seed}, with OpenCV {cv2.__version__}. A cell gives the lower quartile, the "
        f"**median** and the upper quartile.\n\n{text}"
    )
    write_result(
        options,
        {
            "schema": SCHEMA,
            "split": SPLIT,
            "count": options.count,
            "seed": options.seed,
            "opencv": cv2.__version__,
            "yunet_sha256": YUNET_SHA256,
            "results": [encode(result) for result in results],
        },
    )
    return 0
