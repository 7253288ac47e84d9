"""A weights file to named tensors. Its first bytes tell what it is, whatever its name.

Pickles are opened with ``torch.load(weights_only=True)`` and nothing else, numpy archives without
pickles.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.unpacking import require_bounded
from fer_edge.system.read_file import GIT_LFS_ADVICE, GIT_LFS_START
from fer_train.pretrained.labels import FACTS

__all__ = [
    "MAX_GROWTH",
    "MAX_UNPACKED",
    "Contents",
    "plain_scalars",
    "read",
    "unwrapped",
    "weights_file",
]

MAX_UNPACKED = 4 << 30
"""Bytes that an archive may unpack to; ViT-H/14 in float32 has 2.5 GB."""

MAX_GROWTH = 64
"""Times its own size that an archive may unpack to: trained weights hardly pack at all."""

_KNOWN = "known are safetensors, PyTorch state dicts (.pth, .pt, .bin) and Google's .npz"
_LOOKS_LIKE = {
    GIT_LFS_START: f"it {GIT_LFS_ADVICE}",
    b"<": "it is a web page; download the file itself",
    b"\x89HDF": "it is HDF5; Keras weights cannot be read",
    b"{": "it is JSON; give the weights file that it belongs to",
    b"\x08": "it looks like ONNX, whose weights have lost their names. Save the state dict where "
    "it was exported: torch.save(model.state_dict(), 'weights.pth'). A model of fer_edge's own "
    "goes to fer-export --from-onnx",
}
_OTHER_ZIPS = {
    "/constants.pkl": "TorchScript, which is code and weights. Save the weights alone, where you "
    "trust it: torch.save(torch.jit.load('model.pt').state_dict(), 'weights.pth')",
    "serialized_exported_program.json": "an exported program, which is code and weights. Save the "
    "weights alone: torch.save(torch.export.load('model.pt2').state_dict, 'weights.pth')",
    "models/model.json": "an exported program, which is code and weights. Save the weights alone: "
    "torch.save(torch.export.load('model.pt2').state_dict, 'weights.pth')",
    "model.weights.h5": "a Keras model, which cannot be read. Save a state dict of PyTorch",
}
_USUAL_FILES = ("model.safetensors", "pytorch_model.bin", "model.bin")
_SUFFIXES = {".safetensors", ".bin", ".pth", ".pt", ".npz", ".ckpt"}
_HEADER = struct.Struct("<Q")
_REFUSED = re.compile(r"GLOBAL (\S+)|Unsupported class:? (\S+)")
_TORCHS_START, _TORCHS_ADVICE = "WeightsUnpickler error:", "Check the documentation"
_MAX_REASON = 200


@dataclass(frozen=True)
class Contents:
    """What a file holds: tensors by name, its spec if it is ours, and what it says of labels."""

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
        return _read_zip(path)
    if start[8:9] == b"{" and _HEADER.unpack_from(start)[0] <= size:
        return _read_safetensors(path)
    if start.startswith(b"\x80"):
        return _read_pickle(path)
    hints = (hint for mark, hint in _LOOKS_LIKE.items() if start.startswith(mark))
    hint = next(hints, f"it begins with {start[:8]!r}")
    raise ArtifactError(f"{path} is no weights file of a known kind: {hint}. {_KNOWN}")


def weights_file(path: Path) -> Path:
    """The weights in a folder, such as Hugging Face's; a file is given back as it is.

    Raises ArtifactError for a folder without weights, or with several of which none has the name
    that such folders give theirs.
    """
    if not path.is_dir():
        return path
    for name in _USUAL_FILES:
        if (path / name).is_file():
            return path / name
    if parts := sorted(path.glob("*.index.json")):
        raise ArtifactError(
            f"{path} holds its weights in parts ({parts[0].name}); save them as one file: "
            "model.save_pretrained(FOLDER, max_shard_size='100GB')"
        )
    inside = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if len(inside) == 1:
        return inside[0]
    such = f"; give one of {', '.join(file.name for file in inside)}" if inside else ""
    raise ArtifactError(f"{path} is a folder without {_USUAL_FILES[0]}{such}")


def _require_file(path: Path) -> None:
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


def _read_zip(path: Path) -> Contents:
    try:
        with zipfile.ZipFile(path) as archive:
            require_bounded(archive, min(MAX_UNPACKED, MAX_GROWTH * path.stat().st_size))
            members = archive.namelist()
    except Exception as problem:  # zipfile has no common base for its errors
        raise _damaged(path, "zip archive", problem) from problem
    if members and all(member.endswith(".npy") for member in members):
        return Contents(_read_npz(path))
    for mark, told in _OTHER_ZIPS.items():
        if any(member.endswith(mark) for member in members):
            raise ArtifactError(f"{path} is {told}")
    return _read_pickle(path)


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
        with torch.serialization.safe_globals(plain_scalars()):
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
        tensors, facts = unwrapped(path, loaded)
    except ArtifactError:
        raise
    except Exception as problem:  # what was put together may be half of an object
        raise _damaged(path, "PyTorch", problem) from problem
    return Contents(tensors, facts=facts)


def _damaged(path: Path, kind: str, problem: Exception) -> ArtifactError:
    # torch advises to load without weights_only; a file may make the text as long as it likes
    told = str(problem).rpartition(_TORCHS_START)[2].partition(_TORCHS_ADVICE)[0]
    reason = " ".join(told.split())[:_MAX_REASON] or type(problem).__name__
    return ArtifactError(f"{path} is not a readable {kind} file: {reason}. Fetch it again")


_KINDS = "biufc"
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_REALS = ("float16", "float32", "float64")
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The same function before numpy 2, and since."""


def plain_scalars() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What ``torch.serialization.safe_globals`` takes to read numpy's numbers."""
    kinds = {type(np.dtype(name)) for name in (*_NUMBERS, *_REALS)}
    return [np.dtype, *kinds, *((_number, f"{module}.scalar") for module in _MODULES)]


def _number(kind: object, data: object = b"") -> object:
    """One number from its bytes. Raises ValueError for any other type, objects above all."""
    if not isinstance(kind, np.dtype) or kind.kind not in _KINDS or not isinstance(data, bytes):
        raise ValueError("only numbers of numpy are read")
    (value,) = np.frombuffer(data, kind)
    return value.item()


_PREFERRED = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "averaged")
"""Averaged weights are the ones to evaluate, where both are kept."""

_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
_MAX_LAYERS = 4
_SHOWN = 5
_DATA_PARALLEL = "module."


def unwrapped(path: Path, loaded: object) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Find the tensors by name, and what else the file tells of its labels.

    Of several state dicts averaged ones come first, then those with the usual names. Raises
    ArtifactError where none can be chosen, and for tensors that are not plain.
    """
    facts: dict[str, object] = {}
    for _ in range(_MAX_LAYERS):  # a pickle may hold itself
        if not isinstance(loaded, Mapping):
            raise ArtifactError(f"{path} holds a {type(loaded).__name__}, not a state dict")
        facts |= {key: value for key, value in loaded.items() if key in FACTS}
        inner = {
            key: value
            for key, value in loaded.items()
            if isinstance(key, str) and isinstance(value, Mapping) and _may_hold_weights(key, value)
        } or {key: value for key, value in loaded.items() if _holds_deeper(key, value)}
        if not inner:
            return _plain(path, loaded), facts
        loaded = _chosen(path, inner)
    raise ArtifactError(f"{path} has a state dict below {_MAX_LAYERS} others; save that alone")


def _may_hold_weights(key: str, value: Mapping[object, object]) -> bool:
    """A mapping of tensors by name, or one of the usual names with more inside."""
    named = [name for name, item in value.items() if isinstance(item, torch.Tensor)]
    if named:
        return all(isinstance(name, str) for name in named)
    return key in (*_PREFERRED, *_USUAL) and any(isinstance(v, Mapping) for v in value.values())


def _holds_deeper(key: object, value: object, layers: int = _MAX_LAYERS) -> bool:
    """Whether tensors by name are somewhere below; those of an optimizer are numbered."""
    if not isinstance(key, str) or not isinstance(value, Mapping) or not layers:
        return False
    return _may_hold_weights(key, value) or any(
        _holds_deeper(name, item, layers - 1) for name, item in value.items()
    )


def _chosen(path: Path, inner: Mapping[str, object]) -> object:
    for key in (*_PREFERRED, *_USUAL):
        if key in inner:
            return inner[key]
    if len(inner) > 1:
        raise ArtifactError(
            f"{path} holds several state dicts ({', '.join(f'{key:.40}' for key in inner)}); save "
            "the right one: torch.save(torch.load(...)[KEY], 'weights.pth')"
        )
    return next(iter(inner.values()))


def _plain(path: Path, loaded: Mapping[object, object]) -> dict[str, torch.Tensor]:
    tensors = {
        _unwrapped_name(name): value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not tensors:
        keys = ", ".join(f"{key!r:.40}" for key in list(loaded)[:_SHOWN]) or "nothing"
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
