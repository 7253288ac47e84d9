"""Model directories: a manifest, and the artifacts whose hashes it lists."""

from __future__ import annotations

import base64
import codecs
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.record import decode, encode, json_digest, parse_json
from fer_edge.errors import ArtifactError
from fer_edge.system.files import write_bytes
from fer_edge.system.read_file import read_file

MANIFEST = "manifest.json"
_MAX_BYTES = 4 << 20
_MAX_DIMENSIONS = 3


@dataclass(frozen=True)
class Parity:
    """How far an artifact is from its fp32 reference on the same crops.

    ``crops_from`` names the source of the crops. The KL divergence is in nats. Agreement is a
    fraction of 1; ``top1_agreement_by_class`` groups it by the answer of the reference.
    """

    crops: int
    crops_from: str
    max_probability_difference: float
    mean_kl: float
    top1_agreement: float
    top1_agreement_by_class: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Accuracy on a split, a fraction of 1, with its 95 % interval and how the split was used.

    ``drop`` is the accuracy of the reference minus this one on the same pictures, with its paired
    95 % interval.
    """

    split: str
    use: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, ...]
    drop: float
    drop_ci95: tuple[float, ...]


@dataclass(frozen=True)
class MeasuredLatency:
    """Median time of an engine's call with one crop, in ms, and the machine that it ran on."""

    p50_ms: float
    threads: int | None
    machine: str


@dataclass(frozen=True)
class Measurement:
    """What was measured of an artifact on one backend."""

    backend: str
    version: str
    inference_precision: str
    parity: Parity
    accuracy: MeasuredAccuracy | None = None
    latency: MeasuredLatency | None = None


@dataclass(frozen=True)
class Companion:
    """A file that belongs to an artifact: the weights of an IR, the sidecar of a plan."""

    file: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        _check_file_name(self.file)


@dataclass(frozen=True)
class ArtifactEntry:
    """One artifact of the directory, and what was measured of it on each backend.

    ``file`` is relative to the directory; ``size_bytes`` is the size of that file alone.
    ``backends`` names the backends that it was made for; empty means all that open its format.
    """

    file: str
    sha256: str
    size_bytes: int
    target: str
    precision: str
    companions: tuple[Companion, ...] = ()
    backends: tuple[str, ...] = ()
    measured: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        _check_file_name(self.file)


@dataclass(frozen=True)
class GoldenCrop:
    """A crop with its answer, so that a port in any language can be checked.

    ``pixels`` is the raw crop, of ``pixels_shape``, in BGR order if it has three channels.
    ``tensor`` is what pre-processing makes of it. Both are base64 of uint8 in C order.
    """

    pixels: str
    pixels_shape: tuple[int, ...]
    tensor: str
    tensor_shape: tuple[int, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.uint8],
        tensor: npt.NDArray[np.uint8],
        probabilities: npt.NDArray[np.float32],
    ) -> GoldenCrop:
        """Encode arrays: a crop ``(H, W)`` or ``(H, W, 3)``, its tensor ``(H, W, C)``, ``(7,)``."""
        return cls(
            _to_base64(pixels),
            pixels.shape,
            _to_base64(tensor),
            tensor.shape,
            tuple(float(p) for p in probabilities),
        )

    def arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Decode the raw crop and its tensor. Raises ArtifactError if they do not decode."""
        pairs = ((self.pixels, self.pixels_shape), (self.tensor, self.tensor_shape))
        try:
            raw, tensor = (_from_base64(text, shape) for text, shape in pairs)
        except (ValueError, OverflowError) as problem:
            raise ArtifactError(f"a golden crop of the manifest is damaged: {problem}") from problem
        return raw, tensor


@dataclass(frozen=True)
class Manifest:
    """Lists the artifacts of a model directory.

    ``precision`` is the one that a Predictor loads unless its caller names another. ``notes`` are
    what the export told of its choices and of what it could not check, a sentence each. ``digest``
    is the sha256 of all other fields.
    """

    name: str
    precision: str
    artifacts: tuple[ArtifactEntry, ...]
    golden: tuple[GoldenCrop, ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""
    schema: int = 1

    def __post_init__(self) -> None:
        files = [entry.file for entry in self.artifacts]
        files += [file.file for entry in self.artifacts for file in entry.companions]
        if len(set(files)) != len(files):
            raise ValueError(f"a manifest lists each file once, not {', '.join(files)}")

    def sealed(self) -> Manifest:
        """A copy with its digest, and with its fields as they will be read back.

        Raises ArtifactError if they could not be read back.
        """
        read_back = decode(type(self), encode(self), "the manifest")
        return replace(read_back, digest=read_back._computed_digest())

    def write(self, folder: Path) -> None:
        """Seal the manifest and write it into ``folder``."""
        write_bytes(folder / MANIFEST, self.sealed()._text())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check a manifest; the artifacts are checked when they are opened.

        Every byte must be as ``write`` left it, but for line ends and a byte-order mark, which git
        and editors change and which mean nothing in JSON. Raises ArtifactError for a manifest that
        is missing or damaged, or that has a newer schema.
        """
        path = folder / MANIFEST
        if not os.path.lexists(path):  # Path.exists raises where it may not look
            raise ArtifactError(
                f"{folder} is no model directory: it has no {MANIFEST}. "
                "Give one that fer-export wrote, or the path of an artifact."
            )
        text = read_file(path, "manifest", _MAX_BYTES, ArtifactError)
        text = text.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
        manifest = decode(cls, parse_json(text, str(path)), str(path))
        # a changed space, or last digit of a number, may leave the digest the same
        if manifest.digest != manifest._computed_digest() or text != manifest._text():
            raise ArtifactError(f"{path} was changed after it was written; export the model again")
        return manifest

    def _text(self) -> bytes:
        return (json.dumps(encode(self), indent=2, allow_nan=False) + "\n").encode()

    def _computed_digest(self) -> str:
        return json_digest(encode(replace(self, digest="")))


def _check_file_name(file: str) -> None:
    """Refuse a name that leads out of the directory, or differs between systems."""
    path = PurePosixPath(file)
    plain = str(path) == file != "." and not path.is_absolute() and ".." not in path.parts
    # NUL, control characters and lone surrogates cannot be printed
    if not plain or set("\\:") & set(file) or not file.isprintable():
        raise ValueError(f"an artifact's file should be a plain relative path, not {file!r}")


def _to_base64(array: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _from_base64(text: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if not 0 < len(shape) <= _MAX_DIMENSIONS or min(shape) < 1:
        raise ValueError("it has no shape of a picture")
    return np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(shape)
