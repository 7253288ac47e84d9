"""The page's files: the ones in ``static/``, the models, and ``page.json`` that lists the models.

``static/onnxruntime`` holds the parts of the npm package onnxruntime-web that the page runs, as
``make onnxruntime-web`` fetched them. The WebAssembly file is kept packed (3.7 MB instead of
14 MB) in the repository and the wheel, and unpacked when the page is written or served.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fer_edge
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import DEFAULT_MODEL, Model, packaged_models
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError
from fer_edge.faces.detection import MIN_SIZE
from fer_edge.faces.yunet import MAX_OVERLAP, YUNET_FILE, Yunet
from fer_edge.predictor import Predictor
from fer_edge.system.files import new_folder

CONFIG_FILE = "page.json"

_STATIC = Path(__file__).with_name("static")
_LICENSE = YUNET_FILE.with_name("LICENSE.yunet")
_UNSERVED = {".ts", ".mts", ".json"}  # for the type checker only
_PACKED = ".gz"
_BACKEND, _FORMATS = "onnxruntime", ("onnx",)
_SCHEMA = 1


@dataclass(frozen=True)
class SiteFile:
    """One file of the page: ``data``, or what ``path`` holds; ``packed`` says that it is gzip."""

    path: Path | None = None
    data: bytes | None = None
    packed: bool = False

    def stored(self) -> bytes:
        """Give the bytes as they are kept."""
        if self.data is not None:
            return self.data
        assert self.path is not None  # noqa: S101 - one of both is given
        return self.path.read_bytes()

    def read(self) -> bytes:
        """Give the bytes that a browser gets, unpacked."""
        return gzip.decompress(self.stored()) if self.packed else self.stored()


def write_site(out: Path, *, model: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Write the page into the folder ``out``; returns what is in its ``page.json``.

    ``out`` is replaced if it is a page already. ``model`` is an ONNX of ours or a model directory,
    which becomes the page's first choice before the packaged models. Any HTTP server serves the
    folder, under any path. Raises ConfigurationError for an ``out`` that holds something else, and
    ArtifactError for a model that cannot be used.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG_FILE).is_file():
        raise ConfigurationError(
            f"{out} holds other files, which would be lost; give a new or empty folder"
        )
    files, config = site_files(model=model)
    with new_folder(out) as folder:
        for name, file in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read())
        folder.chmod(0o755)
    return config


def site_files(
    *, model: str | os.PathLike[str] | None = None, server: Mapping[str, Any] | None = None
) -> tuple[dict[str, SiteFile], dict[str, Any]]:
    """The page's files by their path in it, and what is in its ``page.json``.

    ``server`` is the part of ``page.json`` about the server behind the page.
    """
    files = dict(_static_files())
    yunet = "models/" + YUNET_FILE.name
    files[yunet] = SiteFile(YUNET_FILE)
    files[f"models/{_LICENSE.name}"] = SiteFile(_LICENSE)
    models = []
    for name, artifact, spec in _models(model):
        where = f"models/{name}/{artifact.path.name}"
        files[where] = SiteFile(data=artifact.data)
        models.append(
            {
                "name": name,
                "architecture": spec.network.architecture,
                "precision": spec.precision,
                "file": where,
                "integrity": _integrity(artifact.data),
                "bytes": len(artifact.data),
                "labels": spec.labels,
                "input": asdict(spec.input),
            }
        )
    config = {
        "schema": _SCHEMA,
        "version": fer_edge.__version__,
        "detector": {
            "file": yunet,
            "integrity": _integrity(YUNET_FILE.read_bytes()),
            "framing": asdict(Yunet.framing),
            "min_score": Yunet.min_score,
            "min_size": MIN_SIZE,
            "overlap": MAX_OVERLAP,
        },
        "models": models,
        "server": server,
    }
    files[CONFIG_FILE] = SiteFile(data=json.dumps(config, indent=2).encode())
    return files, config


def _static_files() -> Iterator[tuple[str, SiteFile]]:
    for path in sorted(_STATIC.rglob("*")):
        if path.is_file() and path.suffix not in _UNSERVED:
            packed = path.suffix == _PACKED
            name = path.relative_to(_STATIC).as_posix()
            yield name.removesuffix(_PACKED), SiteFile(path, packed=packed)


def _models(
    given: str | os.PathLike[str] | None,
) -> Iterator[tuple[str, Artifact, ModelSpec]]:
    """A name for the page, the artifact and its spec: the given model, then the packaged ones."""
    packaged = sorted(packaged_models(), key=lambda name: (name != DEFAULT_MODEL, name))
    models = [(name, Model.open(name)) for name in packaged]
    if given is not None:
        own = Model.open(given)
        models.insert(0, (f"own-{own.path.stem}", own))
    for name, model in models:
        for precision in _precisions(model):
            artifact = model.artifact(_BACKEND, precision, formats=_FORMATS)
            with Predictor(model.path, backend=_BACKEND, precision=precision) as opened:
                yield name, artifact, opened.info.spec


def _precisions(model: Model) -> list[str | None]:
    """Those that a browser can run, the model's own choice first."""
    if model.manifest is None:
        return [None]
    own = model.manifest.precision
    there = [one for one in model.precisions if model.offers(_BACKEND, one, _FORMATS)]
    return sorted(there, key=lambda precision: precision != own)


def _integrity(data: bytes) -> str:
    """The hash as browsers check it (Subresource Integrity)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()
