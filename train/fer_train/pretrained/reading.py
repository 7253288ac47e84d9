"""A weights file to named tensors, whatever it is called; what it is stands in its first bytes.

Pickles are opened with ``torch.load(weights_only=True)`` and nothing else, numpy archives without
pickles.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.unpacking import require_bounded
from fer_edge.system.read_file import GIT_LFS_ADVICE, GIT_LFS_START
from fer_train.pretrained.labels import FACTS

__all__ = ["MAX_GROWTH", "MAX_UNPACKED", "Contents", "read"]

MAX_UNPACKED = 4 << 30
"""Bytes that an archive may unpack to; ViT-H/14 in float32 has 2.5 GB."""

MAX_GROWTH = 64
"""Times its own size that an archive may unpack to: trained weights hardly pack at all."""

_KNOWN = "known are safetensors, PyTorch state dicts (.pth, .pt, .bin) and Google's .npz"
_LOOKS_LIKE = {
    GIT_LFS_START: f"it {GIT_LFS_ADVICE}",
    b"<": "it is a web page; download the file itself",
    b"\x89HDF": "it is HDF5; Keras weights cannot be read",
}
_HEADER = struct.Struct("<Q")
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
_REFUSED = re.compile(r"GLOBAL (\S+)|Unsupported class:? (\S+)")
_TORCHS_START, _TORCHS_ADVICE = "WeightsUnpickler error:", "Check the documentation"
_DATA_PARALLEL = "module."
_MAX_REASON = 200
_MAX_LAYERS = 3


@dataclass(frozen=True)
class Contents:
    """What a file holds: tensors by name, its spec if it is one of ours, and told labels."""

    tensors: dict[str, torch.Tensor]
    spec: ModelSpec | None = None
    facts: dict[str, object] = field(default_factory=dict)


def read(path: Path) -> Contents:
    """Read a weights file; the tensors are on the CPU.

    Raises ArtifactError for a file that is missing, empty, damaged, of an unknown kind, or a
    pickle that holds more than weights; for an archive that unpacks to more than ``MAX_UNPACKED``
    bytes or ``MAX_GROWTH`` times its size; and for a folder.
    """
    _require_file(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
        size = path.stat().st_size
    except OSError as problem:
        raise ArtifactError(f"{path} cannot be read: {problem}") from problem
    if not start:
        raise ArtifactError(f"{path} is empty; {_KNOWN}")
    if start.startswith(b"PK"):
        return Contents(_read_npz(path)) if _is_npz(path) else _read_pickle(path)
    if start[8:9] == b"{" and _HEADER.unpack_from(start)[0] <= size:
        return _read_safetensors(path)
    if start.startswith(b"\x80"):
        return _read_pickle(path)
    hints = (hint for mark, hint in _LOOKS_LIKE.items() if start.startswith(mark))
    hint = next(hints, f"it begins with {start[:8]!r}")
    raise ArtifactError(f"{path} is no weights file of a known kind: {hint}. {_KNOWN}")


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(
            file.name
            for file in path.iterdir()
            if file.suffix in {".safetensors", ".bin", ".pth", ".pt", ".npz"}
        )
        such = f", such as {path / inside[0]}" if inside else ""
        raise ArtifactError(f"{path} is a folder; give the weights file in it{such}")
    if not path.is_file():
        raise ArtifactError(f"there is no weights file at {path}")


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except Exception as problem:  # a type that torch does not have is a KeyError, or another
        raise _damaged(path, "safetensors", problem) from problem
    if METADATA_KEY in metadata:
        spec = ModelSpec.from_json(metadata[METADATA_KEY], where=f"the spec in {path}")
        return Contents(tensors, spec)
    if "state" in metadata and any(name.startswith("averaged.") for name in tensors):
        raise ArtifactError(
            f"{path} is the state of a training that is not finished; give the checkpoint "
            f"{path.with_name('best.safetensors')} beside it"
        )
    return Contents(tensors)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            require_bounded(archive, min(MAX_UNPACKED, MAX_GROWTH * path.stat().st_size))
            members = archive.namelist()
    except Exception as problem:  # zipfile has no common base for its errors
        raise _damaged(path, "zip archive", problem) from problem
    return bool(members) and all(member.endswith(".npy") for member in members)


def _read_npz(path: Path) -> dict[str, torch.Tensor]:
    """Read floating-point arrays, as float32; a training's own counters are left out."""
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


def _read_pickle(path: Path) -> Contents:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        found = _REFUSED.search(str(problem))
        if found is None:
            raise _damaged(path, "PyTorch", problem) from problem
        raise ArtifactError(
            f"{path} holds more than weights ({found[1] or found[2]:.80}), and loading that would "
            "run code of the file's author. Where you trust it, open it there and write the "
            "weights alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from problem
    except Exception as problem:  # a damaged file makes torch raise nearly anything
        raise _damaged(path, "PyTorch", problem) from problem
    try:
        return _unwrapped(path, loaded)
    except ArtifactError:
        raise
    except Exception as problem:  # what was put together may be half of an object
        raise _damaged(path, "PyTorch", problem) from problem


def _unwrapped(path: Path, loaded: object) -> Contents:
    """Take the state dict out of what a training saved around it, layer by layer."""
    facts: dict[str, object] = {}
    for _ in range(_MAX_LAYERS):  # a pickle may hold itself
        if not isinstance(loaded, Mapping):
            raise ArtifactError(f"{path} holds a {type(loaded).__name__}, not a state dict")
        facts |= {key: value for key, value in loaded.items() if key in FACTS}
        inner = [loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inner:
            return Contents(_state_dict(path, loaded), facts=facts)
        loaded = inner[0]
    raise ArtifactError(f"{path} has a state dict below {_MAX_LAYERS} others; save that alone")


def _state_dict(path: Path, loaded: Mapping[object, object]) -> dict[str, torch.Tensor]:
    tensors = {
        _unwrapped_name(name): value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not tensors:
        keys = ", ".join(f"{key!r:.40}" for key in list(loaded)[:5]) or "nothing"
        raise ArtifactError(f"{path} holds no tensors by name, but {keys}; a state dict is needed")
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
            raise ArtifactError(f"{path} is no plain state dict: {name:.80} is not a dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ArtifactError(
                f"{path} is no plain state dict: {name:.80} claims {tensor.numel():,} numbers and "
                "keeps fewer; save it after .contiguous()"
            )
    return tensors


def _unwrapped_name(name: str) -> str:
    """Drop what torch.compile and DataParallel put before a name."""
    name, start = name.replace("_orig_mod.", ""), 0
    while name.startswith(_DATA_PARALLEL, start):
        start += len(_DATA_PARALLEL)
    return name[start:]


def _damaged(path: Path, kind: str, problem: Exception) -> ArtifactError:
    # torch advises to load without weights_only; a file may make the text as long as it likes
    told = str(problem).rpartition(_TORCHS_START)[2].partition(_TORCHS_ADVICE)[0]
    reason = " ".join(told.split())[:_MAX_REASON] or type(problem).__name__
    return ArtifactError(f"{path} is not a readable {kind} file: {reason}. Fetch it again")
