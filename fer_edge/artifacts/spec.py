"""ModelSpec: what a model is and where it came from, carried inside every artifact."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.emotion import LABELS

METADATA_KEY = "fer_edge"
"""The name under which every format keeps the spec in its metadata."""

PRECISIONS = ("fp32", "fp16", "int8")
CHANNELS = {"gray": 1, "rgb": 3}
INTERPOLATIONS = ("area", "linear")
BT_601 = (0.299, 0.587, 0.114)
MAX_SIDE = 1024
MIN_LABELS, MAX_LABELS = 2, 64
DIGEST_LENGTH = 64
_MAX_BYTES = 64 << 10
_LONGEST = 300
_LONGEST_LABEL = 40
_LABELS_RULE = (
    f"{MIN_LABELS} to {MAX_LABELS} different names of 1 to {_LONGEST_LABEL} letters, digits, "
    "spaces, -, _ or '"
)


@dataclass(frozen=True)
class NetworkSpec:
    """A timm architecture with our stem and head; enough to rebuild it.

    ``stem_stride`` replaces the stride of the first convolution; None keeps timm's own.
    ``batch_norm_epsilon`` and ``activation`` work the same way. ``arguments`` go to
    ``timm.create_model`` unchanged.
    """

    architecture: str
    stem_stride: int | None = None
    batch_norm_epsilon: float | None = None
    activation: str | None = None
    arguments: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stride, epsilon = self.stem_stride, self.batch_norm_epsilon
        _require(stride is None or stride >= 1, "stem stride", "at least 1", stride)
        fits = epsilon is None or (math.isfinite(epsilon) and epsilon > 0)
        _require(fits, "batch norm epsilon", "a finite number above 0", epsilon)


@dataclass(frozen=True)
class InputSpec:
    """How a face crop becomes the network's tensor.

    The runtime converts the crop to ``color``, resizes it to ``height`` x ``width`` and hands
    over uint8; the graph divides by 255, subtracts ``mean`` and divides by ``std`` (one value
    per channel). Gray is ``gray_coefficients`` over R, G, B (ITU-R BT.601), rounded.

    ``interpolation="linear"`` is bilinear between pixel centres, with the border repeated, and
    rounded. ``"area"`` works in three steps. As long as both sides are at least three times the new
    ones, blocks of 2 x 2 pixels are averaged and rounded; an odd last row or column is left out.
    Images that are then within twice the new size, or smaller than it, use ``"linear"``. All others
    are resized bilinearly to ``ceil(side / (2 * new side))`` times the new size in each direction,
    and whole blocks of these pixels are averaged and rounded.

    A face box becomes a crop in two steps: it grows by ``crop_margin`` of its longer side on every
    side and, if ``crop_square``, to a square about its centre.
    """

    height: int
    width: int
    color: str = "gray"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    interpolation: str = "area"
    gray_coefficients: tuple[float, ...] = BT_601
    crop_margin: float = 0.0
    crop_square: bool = True

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            _require(1 <= side <= MAX_SIDE, f"input {name}", f"1 to {MAX_SIDE}", side)
        _require(self.color in CHANNELS, "input color", " or ".join(CHANNELS), self.color)
        for name, values in (("mean", self.mean), ("std", self.std)):
            fits = len(values) == self.channels and all(map(math.isfinite, values))
            _require(fits, f"input {name}", f"{self.channels} finite numbers", values)
        _require(all(value > 0 for value in self.std), "input std", "above 0", self.std)
        _require(
            self.interpolation in INTERPOLATIONS,
            "input interpolation",
            " or ".join(INTERPOLATIONS),
            self.interpolation,
        )
        coefficients = self.gray_coefficients
        _require(coefficients == BT_601, "gray coefficients", str(BT_601), coefficients)
        _require(0 <= self.crop_margin <= 1, "crop margin", "0 to 1", self.crop_margin)

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""
        return CHANNELS[self.color]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one crop as the artifact takes it."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Provenance:
    """Where the weights came from. Hashes are sha256 in hexadecimal; None is unknown.

    ``data_sha256`` is the hash of the decoded pictures and their labels, so it does not depend on
    the container that they came in (``LabelledCrops.sha256``). The others are hashes of files.
    ``started_from`` names the package, version and licence of the published weights that the
    training, or the one that it continues, began with. ``calibration_note`` says what could not be
    verified when the calibration set was drawn.
    """

    training_run: str | None = None
    data_sha256: str | None = None
    calibration_sha256: str | None = None
    calibration_note: str | None = None
    parent_sha256: str | None = None
    started_from: str | None = None

    def __post_init__(self) -> None:
        start = self.started_from
        _require(start is None or len(start) <= _LONGEST, "started_from", "300 characters", start)
        for name in ("data_sha256", "calibration_sha256", "parent_sha256"):
            digest = getattr(self, name)
            fits = digest is None or (
                len(digest) == DIGEST_LENGTH and not set(digest) - set("0123456789abcdef")
            )
            _require(fits, name, "64 hexadecimal digits", digest)


@dataclass(frozen=True)
class ModelSpec:
    """The contract of an artifact, known before anything is measured.

    ``labels`` names the outputs in their order, 2 to 64 classes; FER2013's seven by default.
    """

    network: NetworkSpec
    input: InputSpec
    precision: str = "fp32"
    temperature: float = 1.0
    labels: tuple[str, ...] = LABELS
    provenance: Provenance = field(default_factory=Provenance)
    schema: int = 1

    def __post_init__(self) -> None:
        self.check_labels(self.labels)
        _require(self.precision in PRECISIONS, "precision", ", ".join(PRECISIONS), self.precision)
        fits = math.isfinite(self.temperature) and self.temperature > 0
        _require(fits, "temperature", "a finite number above 0", self.temperature)

    @staticmethod
    def check_labels(labels: tuple[str, ...]) -> None:
        """Raise ValueError for names that cannot be a model's labels."""
        _require(_are_labels(labels), "labels", _LABELS_RULE, labels)

    def to_json(self) -> str:
        """Serialise; the same spec gives the same text."""
        return json.dumps(encode(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the model spec") -> ModelSpec:
        """Parse and check a spec.

        Raises ArtifactError for anything but a spec of this schema; ``where`` names its source.
        """
        return decode(cls, parse_json(text, where, _MAX_BYTES), where)

    def with_changes(self, **changes: Any) -> ModelSpec:
        """Return a copy with some fields replaced and checked again."""
        return replace(self, **changes)

    def with_provenance(self, **changes: Any) -> ModelSpec:
        """Return a copy with some fields of its provenance replaced."""
        return replace(self, provenance=replace(self.provenance, **changes))


def _are_labels(labels: tuple[str, ...]) -> bool:
    """Names also go into files of one name a line, and into lists with commas."""
    plain = all(
        0 < len(name) <= _LONGEST_LABEL
        and name == name.strip()
        and all(letter.isalnum() or letter in " -_'" for letter in name)
        for name in labels
    )
    return plain and MIN_LABELS <= len(labels) <= MAX_LABELS and len(set(labels)) == len(labels)


def _require(holds: bool, what: str, expected: str, came: object) -> None:
    if not holds:
        raise ValueError(f"{what} should be {expected}, not {came!r}")
