"""Reading a weights file into tensors by name. Its first bytes tell its kind, whatever its name.

Pickles are opened with ``torch.load(weights_only=True)`` and nothing else, numpy archives without
pickles.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from fer_edge.artifacts.model import PROGRAM_ADVICE, SAVE_ALONE, holds_weights
from fer_edge.artifacts.spec import METADATA_KEY, InputSpec, ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.unpacking import require_bounded
from fer_edge.system.files import sha256_of
from fer_edge.system.read_file import GIT_LFS_ADVICE, GIT_LFS_START, reason_of
from fer_edge.torch_model.checkpoint import refuse_state
from fer_train.pretrained.beside import FACTS, labels_in

MAX_UNPACKED = 4 << 30
"""Bytes that an archive may unpack to; ViT-H/14 in float32 has 2.5 GB."""

MAX_GROWTH = 64
"""Times its own size that an archive may unpack to: trained weights hardly pack at all."""

SUFFIXES = {".safetensors", ".bin", ".pth", ".pt", ".npz", ".ckpt"}

_USUAL_FILES = ("model.safetensors", "pytorch_model.bin", "model.bin")
_KNOWN = "known are safetensors, PyTorch state dicts (.pth, .pt, .bin) and Google's .npz"
_LOOKS_LIKE = {
    GIT_LFS_START: f"it {GIT_LFS_ADVICE}",
    b"<?xml": "it is XML, such as an OpenVINO IR, which does not keep the names. Where it was "
    f"exported, {SAVE_ALONE}",
    b"<": "it is a web page; download the file itself",
    b"\x1f\x8b": "it is packed with gzip; unpack it first",
    b"\x89HDF": "it is HDF5; Keras weights cannot be read",
    b"{": "it is JSON; give the weights file that it belongs to",
    b"\x08": f"it looks like ONNX, which does not keep the names. Where it was exported, "
    f"{SAVE_ALONE}. For a model of fer_edge's own, fer-export has --from-onnx",
}
_HEADER = struct.Struct("<Q")
_REFUSED = re.compile(r"GLOBAL (\S+)|Unsupported class:? (\S+)")
_TORCHS_START, _TORCHS_ADVICE = "WeightsUnpickler error:", "Check the documentation"
_NOT_TORCHS = "Unsupported operand"
_MAX_REASON = 200


@dataclass(frozen=True)
class Published:
    """What is known of weights without a head that a package carries.

    ``architecture`` is timm's name of their network; ``origin`` tells package, version and licence.
    ``mean`` (one per plane) and ``std`` are the normalisation that they were trained with, of
    pixels from 0 to 1. Where ``unmeasured``, the batch norms have scales and shifts, and their
    statistics have yet to be measured.
    """

    architecture: str
    origin: str
    mean: tuple[float, float, float]
    std: float
    unmeasured: bool = False


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what is told of them.

    ``kind`` is ``checkpoint`` (one of ours, which has a ``spec``), ``package`` or ``graph model``
    (which are ``published``), or the naming of the file: ``timm``, ``google``, ``torchvision`` or
    ``huggingface``. ``labels`` is the order of the classes in the head, ``heads`` the number of
    attention heads and ``epsilon`` that of the layer norms; None where nothing tells them.
    """

    path: Path
    sha256: str
    tensors: dict[str, torch.Tensor]
    kind: str = "timm"
    spec: ModelSpec | None = None
    labels: tuple[str, ...] | None = None
    heads: object = None
    epsilon: object = None
    published: Published | None = None

    def normalised(self, spec: InputSpec) -> InputSpec:
        """Give an input the normalisation of published weights; other weights leave it alone."""
        if (known := self.published) is None:
            return spec
        mean = known.mean if spec.channels == len(known.mean) else (sum(known.mean) / 3,)
        return replace(spec, mean=mean, std=(known.std,) * spec.channels)


def read(path: Path) -> Weights:
    """Read a weights file; the tensors are on the CPU, under the names that the file has.

    Raises ArtifactError for a file that is missing, empty, damaged or of an unknown kind, for a
    pickle that holds more than weights, and for an archive that unpacks to more than
    ``MAX_UNPACKED`` bytes or ``MAX_GROWTH`` times its size.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no weights file at {path}")
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
        size = path.stat().st_size
    except OSError as problem:
        raise ArtifactError(f"cannot read {path}: {reason_of(problem)}") from problem
    if not start:
        raise ArtifactError(f"{path} is empty; {_KNOWN}")
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start[8:9] == b"{" and _HEADER.unpack_from(start)[0] <= size:
        return _read_safetensors(path)
    if start.startswith(b"\x80"):
        return _read_pickle(path)
    hints = (hint for mark, hint in _LOOKS_LIKE.items() if start.startswith(mark))
    hint = next(hints, f"it begins with {start[:8]!r}")
    raise ArtifactError(f"{path} is no weights file of a known kind: {hint}. {_KNOWN}")


def weights_file(path: Path) -> Path:
    """Find the weights in a folder, such as Hugging Face's; a file is returned as it is.

    Raises ArtifactError for a folder without weights, and for one with several files of which none
    has a usual name.
    """
    if not path.is_dir():
        return path
    if parts := sorted(path.glob("*.index.json")):
        raise ArtifactError(
            f"{path} holds its weights in parts ({parts[0].name}); save them as one file: "
            "model.save_pretrained(FOLDER, max_shard_size='100GB')"
        )
    inside = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
    usual = [name for name in _USUAL_FILES if name in inside]
    if usual or len(inside) == 1:
        return path / (usual or inside)[0]
    such = f"; give one of {', '.join(inside)}" if inside else ""
    raise ArtifactError(f"{path} is a folder without {_USUAL_FILES[0]}{such}")


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except Exception as problem:  # a type that torch does not have is a KeyError, or another
        raise _damaged(path, "safetensors", problem) from problem
    if METADATA_KEY in metadata:
        spec = ModelSpec.from_json(metadata[METADATA_KEY], where=f"the spec in {path}")
        return Weights(path, sha256_of(path), tensors, "checkpoint", spec, spec.labels)
    refuse_state(path, metadata, tensors)
    return Weights(path, sha256_of(path), tensors)


def _read_zip(path: Path) -> Weights:
    try:
        with zipfile.ZipFile(path) as archive:
            require_bounded(archive, min(MAX_UNPACKED, MAX_GROWTH * path.stat().st_size))
            members = archive.namelist()
    except Exception as problem:  # zipfile has no common base for its errors
        raise _damaged(path, "zip archive", problem) from problem
    if members and all(member.endswith(".npy") for member in members):
        return Weights(path, sha256_of(path), _read_npz(path))
    if not holds_weights(members):
        raise ArtifactError(f"{path} {PROGRAM_ADVICE}")
    return _read_pickle(path)


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    """Read floating-point arrays as float32; a training's own counters are left out."""
    tensors = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if array.dtype.kind == "f":
                    whole = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
                    tensors[name] = torch.from_numpy(whole)
    except Exception as problem:  # zipfile, zlib and numpy each raise their own
        raise _damaged(path, ".npz", problem) from problem
    return tensors


def _number(kind: object, data: object = b"") -> object:
    """Build one of numpy's numbers from its bytes, and no other object."""
    if not isinstance(kind, np.dtype) or kind.kind not in "biufc" or not isinstance(data, bytes):
        raise ValueError("only numbers of numpy are read")
    (value,) = np.frombuffer(data, kind)
    return value.item()


_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    (_number, "numpy.core.multiarray.scalar"),  # before numpy 2
    (_number, "numpy._core.multiarray.scalar"),
    Namespace,
    *((PurePosixPath, f"pathlib{place}.PosixPath") for place in ("", "._local")),  # of 3.13
    *((PureWindowsPath, f"pathlib{place}.WindowsPath") for place in ("", "._local")),
]
"""What a pickle may hold beside tensors, as none of it runs code: a training saves its accuracy as
a number of numpy, and its options with the paths in them."""


def _read_pickle(path: Path) -> Weights:
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            return _unwrapped(path, torch.load(path, map_location="cpu", weights_only=True))
    except ArtifactError:
        raise
    except Exception as problem:  # a damaged file gives nearly any, or half of an object
        found = _REFUSED.search(str(problem))
        if found is None or not isinstance(problem, pickle.UnpicklingError):
            raise _damaged(path, "PyTorch", problem) from problem
        raise ArtifactError(
            f"{path} holds more than weights ({found[1] or found[2]:.80}), and loading that would "
            f"run code of the file's author. Where you trust it, open it there and {SAVE_ALONE}"
        ) from problem


def _damaged(path: Path, kind: str, problem: Exception) -> ArtifactError:
    # torch advises to load without weights_only; a file may make the text as long as it likes
    told = str(problem).rpartition(_TORCHS_START)[2].partition(_TORCHS_ADVICE)[0]
    reason = " ".join(told.split())[:_MAX_REASON] or type(problem).__name__
    advice = "Fetch it again"
    if _NOT_TORCHS in reason:
        advice = f"If it is a pickle of something else, open it where you trust it and {SAVE_ALONE}"
    return ArtifactError(f"{path} is not a readable {kind} file: {reason}. {advice}")


_USUAL_KEYS = (
    *("state_dict_ema", "model_ema", "ema", "ema_state_dict", "averaged"),
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights"),
)
"""What trainings call their state dict. Averaged weights come first."""

_WRAPPERS = re.compile(r"\A(?:module\.)+")  # of DataParallel; torch.compile has _orig_mod.
_SHOWN = 5
Saved = Mapping[object, object]


def _unwrapped(path: Path, saved: object) -> Weights:
    """Find the state dict in what a training saved, and what is told of the labels."""
    if not isinstance(saved, Mapping):
        raise ArtifactError(
            f"{path} holds a {type(saved).__name__}, not a state dict; {SAVE_ALONE}"
        )
    facts: dict[str, object] = {}
    found = _state_dicts(saved, (), facts, set())
    if not found:
        keys = ", ".join(f"{key!r:.40}" for key in list(saved)[:_SHOWN]) or "nothing"
        raise ArtifactError(
            f"{path} holds no tensors by name, but {keys}; a state dict is needed: {SAVE_ALONE}"
        )

    def rank(keys: tuple[str, ...]) -> tuple[int, ...]:
        last = len(_USUAL_KEYS)
        # a network has layers; a loss with class weights or centres has none
        is_one_layer = not any("." in str(name) for name in found[keys])
        known = (_USUAL_KEYS.index(key) if key in _USUAL_KEYS else last for key in keys)
        return (is_one_layer, *known)

    best = min(map(rank, found))
    first, *others = [keys for keys in found if rank(keys) == best]
    if others:
        names = ", ".join(f"{'.'.join(keys):.80}" for keys in (first, *others)[:_SHOWN])
        place = "".join(f"[{key!r:.40}]" for key in first)
        raise ArtifactError(
            f"{path} holds several state dicts ({names}); save the right one, such as "
            f"torch.save(torch.load(FILE){place}, 'weights.pth')"
        )
    tensors = _plain(path, found[first])
    return Weights(path, sha256_of(path), tensors, labels=labels_in(facts))


def _state_dicts(
    saved: Saved, keys: tuple[str, ...], facts: dict[str, object], seen: set[int]
) -> dict[tuple[str, ...], Saved]:
    """Find mappings of names to tensors, by the keys that lead to them; collect ``facts``.

    What stands around a state dict is none itself, and neither is an optimizer, which numbers its
    tensors.
    """
    seen.add(id(saved))  # a pickle may hold itself
    facts |= {key: saved[key] for key in FACTS if key in saved and key not in facts}
    found: dict[tuple[str, ...], Saved] = {}
    for key, inner in saved.items():
        if isinstance(key, str) and isinstance(inner, Mapping) and id(inner) not in seen:
            found |= _state_dicts(inner, (*keys, key), facts, seen)
    named = [name for name, value in saved.items() if isinstance(value, torch.Tensor)]
    if not found and named and all(isinstance(name, str) for name in named):
        found[keys] = saved
    return found


def _plain(path: Path, saved: Saved) -> dict[str, torch.Tensor]:
    tensors = {
        _WRAPPERS.sub("", str(name).replace("_orig_mod.", "")): value
        for name, value in saved.items()
        if isinstance(value, torch.Tensor)
    }
    for name, tensor in tensors.items():
        is_plain = tensor.device.type == "cpu" and tensor.layout == torch.strided
        if not is_plain or tensor.is_quantized:
            raise ArtifactError(f"{path} is no plain state dict: {name:.80} is not a dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ArtifactError(
                f"{path} is no plain state dict: {name:.80} claims {tensor.numel():,} numbers and "
                "keeps fewer; save it after .contiguous()"
            )
    return tensors
