"""A model as a caller names it, and which of its artifacts a backend opens."""

from __future__ import annotations

import os
import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fer_edge.artifacts.artifact import (
    FORMATS,
    OPENED_BY,
    Artifact,
    backends_for,
    format_of,
    read_artifact,
    read_entry,
)
from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Manifest
from fer_edge.artifacts.spec import PRECISIONS, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.read_file import as_address

DEFAULT_MODEL = "default"
"""The name of the packaged model that is taken where the caller names none."""

_MODELS = Path(__file__).parents[1] / "models"
_WEIGHTS = (".pth", ".pt", ".bin", ".tar", ".pkl", ".ckpt", ".npz")
"""Suffixes of weights that fer-train import reads, or says why it cannot."""

_CONFIG = "config.json"
"""What stands beside weights of Hugging Face."""

_OF_TENSORFLOW = (".h5", ".hdf5", ".keras", ".pb", ".tflite")

_TARGETS = {"onnxruntime": "onnx", "openvino": "openvino", "tensorrt": "trt"}
"""What fer-export calls the artifacts of a backend, before the precision."""


def packaged_models() -> tuple[str, ...]:
    """Names of the models that are part of this installation."""
    try:
        return tuple(sorted(folder.name for folder in _MODELS.iterdir() if folder.is_dir()))
    except OSError:
        return ()


def model_path(model: str | os.PathLike[str]) -> Path:
    """The folder of a packaged model for its name, else the path itself.

    Raises ConfigurationError for anything but a name or a path.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigurationError(
            f"a model is {DEFAULT_MODEL!r} or a path, not {type(model).__name__}"
        )
    if model == DEFAULT_MODEL or (isinstance(model, str) and model in packaged_models()):
        return _MODELS / model
    return Path(model)


def check_model(model: str | os.PathLike[str]) -> None:
    """Raise ArtifactError where there is nothing at a model's path; no model is read.

    A file of another kind than an artifact is a ConfigurationError that tells what it is.
    """
    path = model_path(model)
    if os.path.exists(path):  # Path.exists raises where it may not look
        if format_of(path) is None and not os.path.isdir(path):
            raise ConfigurationError(another_kind(path))
        return
    if model == DEFAULT_MODEL:
        raise ArtifactError("the packaged model is missing; reinstall fer-edge")
    if address := as_address(model):
        raise ArtifactError(f"{address} is an address; download the model and give its path")
    names = ", ".join(map(repr, packaged_models() or (DEFAULT_MODEL,)))
    raise ArtifactError(
        f"there is no model at {model}, or none that you may see; give {names}, a model directory "
        "or an artifact"
    )


class Model:
    """A model directory, whose manifest was read and checked, or one artifact file.

    Open it once and pass it on::

        model = Model.open("default")              # or a path, or a Model, which is returned
        model.artifact("openvino")                 # what that backend opens, read and checked
        model.artifact("openvino", "fp32")         # in another precision than the manifest's own
        model.artifact("tensorrt", formats=("onnx",))   # what a TensorRT engine is built from
        model.offers("tensorrt")                   # whether there is one, without reading it

    ``manifest`` is None for a single file. ``name`` is what the caller gave. ``spec`` is the
    caller's, for an artifact that carries none.
    """

    def __init__(
        self, name: str, path: Path, manifest: Manifest | None, spec: ModelSpec | None = None
    ) -> None:
        self.name, self.path, self.manifest, self.spec = name, path, manifest, spec
        self._file: Artifact | None = None

    @classmethod
    def open(
        cls, model: str | os.PathLike[str] | Model = DEFAULT_MODEL, *, spec: ModelSpec | None = None
    ) -> Model:
        """Find a model and read its manifest. Artifacts are read and checked by ``artifact``.

        ``model`` is the name of a packaged model, a model directory, or an artifact. Raises
        ArtifactError where there is none and for a damaged manifest, and ConfigurationError for a
        file that is no artifact and a folder of Hugging Face's weights.
        """
        if isinstance(model, Model):
            return cls(model.name, model.path, model.manifest, spec) if spec else model
        check_model(model)
        path, name = model_path(model), os.fspath(model)
        if os.path.isdir(path):
            if os.path.exists(path / _CONFIG) and not os.path.lexists(path / MANIFEST):
                raise ConfigurationError(
                    f"{path} is a folder of weights with a {_CONFIG}, such as Hugging Face's, and "
                    f"no model directory. {import_advice(path)}"
                )
            return cls(name, path, Manifest.read(path), spec)
        return cls(name, path, None, spec)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of the artifacts that the manifest lists; none for a single file."""
        entries = self.manifest.artifacts if self.manifest else ()
        return tuple(dict.fromkeys(entry.precision for entry in entries))

    def offers(
        self, backend: str, precision: str | None = None, formats: tuple[str, ...] | None = None
    ) -> bool:
        """Whether there is something that ``artifact`` would read."""
        return self._chosen(backend, precision, formats) is not None

    def artifact(
        self, backend: str, precision: str | None = None, formats: tuple[str, ...] | None = None
    ) -> Artifact:
        """Choose the artifact for ``backend``, read it and check its hash.

        ``precision`` chooses within a directory; None takes the one that the manifest names.
        ``formats`` are those to choose from, the preferred first; None takes what the backend
        opens. Among several, one made for this backend goes before one for all. Raises
        ConfigurationError where nothing fits, with the command that makes it, and ArtifactError
        for a missing or damaged file.
        """
        chosen = self._chosen(backend, precision, formats)
        if chosen is None:
            raise self.nothing_for(backend, precision, formats)
        if isinstance(chosen, ArtifactEntry):
            return read_entry(self.path, chosen, self.spec)
        if self._file is None:
            self._file = read_artifact(chosen, self.spec)
        return self._file

    def sha256(self, backend: str, precision: str | None = None) -> str:
        """The hash of what ``artifact`` gives; the files of a directory are not read for it."""
        chosen = self._chosen(backend, precision)
        if isinstance(chosen, ArtifactEntry):
            return chosen.sha256
        return self.artifact(backend, precision).sha256

    def _chosen(
        self, backend: str, precision: str | None, formats: tuple[str, ...] | None = None
    ) -> ArtifactEntry | Path | None:
        """The line of the manifest, or the file itself, that ``artifact`` reads, if any fits."""
        accepted = _formats(backend, formats)
        if precision not in (None, *PRECISIONS):
            return None
        if self.manifest is None:
            return self.path if format_of(self.path) in accepted else None
        fitting = [
            entry
            for form in accepted
            for entry in self.manifest.artifacts
            if entry.precision == (precision or self.manifest.precision)
            and format_of(entry.file) == form
            and (not entry.backends or backend in entry.backends)
        ]
        # one made for this backend, else the first
        return max(fitting, key=lambda entry: backend in entry.backends, default=None)

    def nothing_for(
        self,
        backend: str | None,
        precision: str | None = None,
        formats: tuple[str, ...] | None = None,
    ) -> ConfigurationError:
        """The error that says what this model lacks and what to do; ``backend`` None is any."""
        if precision not in (None, *PRECISIONS):
            return ConfigurationError(
                f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}"
            )
        if self.manifest is None:
            return self._another_format(backend, formats)
        wanted = precision or self.manifest.precision
        have = ", ".join(f"{e.target} ({e.precision})" for e in self.manifest.artifacts)
        target = f"{_TARGETS.get(backend or 'onnxruntime', '')}-{wanted}"
        if formats:  # what is asked for is not what the backend itself opens
            target = f"{formats[0]}-{wanted}"
        target = "onnx" if target == "onnx-fp32" else target
        # an engine is built from an ONNX of its own precision too
        bases = {"fp32", wanted} if target.startswith("trt-") else {"fp32"}
        has_base = any(self.offers("onnxruntime", base) for base in bases)
        source = f"--from-onnx {shlex.quote(self.name)}" if has_base else "--weights CHECKPOINT"
        step = f"Make one with: fer-export {source} --target {target} --out DIR"
        if backend == "torch":
            step = "Give the checkpoint itself, a .safetensors file"
        others = [one for one in self.precisions if backend and self.offers(backend, one, formats)]
        if others:
            step += f", or ask for precision {' or '.join(map(repr, others))}"
        whose = f" for {backend}" if backend else ""
        return ConfigurationError(
            f"{self.name} has no {wanted} artifact{whose}; it has {have}. {step}"
        )

    def _another_format(
        self, backend: str | None, formats: tuple[str, ...] | None
    ) -> ConfigurationError:
        opens = _formats(backend, formats)
        suffixes = [suffix for suffix, one in FORMATS.items() if one in opens]
        return ConfigurationError(
            f"{self.path} is not a file that {backend or 'any of these backends'} opens; expected "
            f"{' or '.join(suffixes)}. It is opened by {' and '.join(backends_for(self.path))}"
        )

    def __repr__(self) -> str:
        return f"<Model {self.name}>"


def _formats(backend: str | None, formats: tuple[str, ...] | None) -> tuple[str, ...]:
    return OPENED_BY.get(backend or "", ()) if formats is None else formats


SAVE_ALONE = "save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
PROGRAM_ADVICE = (
    "is a zip archive of something else than a state dict, such as TorchScript, an exported "
    f"program or a Keras model. Where you trust it, open it there and {SAVE_ALONE}"
)


def holds_weights(members: Sequence[str]) -> bool:
    """Whether a zip archive with these members is a state dict of torch's or an .npz."""
    if members and all(member.endswith(".npy") for member in members):
        return True
    kinds = {member.rpartition("/")[2] for member in members}
    return "data.pkl" in kinds and "constants.pkl" not in kinds


def _is_program(path: Path) -> bool:
    """Whether a file is a zip archive of anything but weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not holds_weights(archive.namelist())
    except Exception:  # zipfile has no common base for its errors
        return False


def import_advice(path: Path) -> str:
    """The command that makes a checkpoint of a file of weights."""
    out = path.with_suffix(".safetensors")
    if out == path:
        out = path.with_stem(f"{path.stem}-checkpoint")
    return (
        "Make a checkpoint of it with: fer-train import --weights "
        f"{shlex.quote(str(path))} --model NETWORK --out {shlex.quote(str(out))}"
    )


def another_kind(path: Path) -> str:
    """What a file is that is no artifact, by its name, and what to do with it."""
    suffix = path.suffix.lower()
    graph = path.with_suffix(".xml" if path.suffix.islower() else ".XML")
    if suffix == ".bin" and os.path.exists(graph):
        return f"{path} holds the weights of an IR; give {graph}"
    if path.name == MANIFEST:
        return f"{path} is the manifest of a model; give its folder, {path.parent}"
    if suffix in _OF_TENSORFLOW:
        return (
            f"{path} is a model of TensorFlow or Keras, which is not read; convert it to ONNX with "
            "tf2onnx, and give that with a spec"
        )
    if suffix in _WEIGHTS and _is_program(path):
        return f"{path} {PROGRAM_ADVICE}"
    if suffix in _WEIGHTS:
        return (
            f"{path} holds weights, and is neither checkpoint nor artifact. {import_advice(path)}"
        )
    return f"{path} is not an artifact; the name of one ends in {', '.join(FORMATS)}"
