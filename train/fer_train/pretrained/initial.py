"""From what people have to a network that is filled with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import sha256_of
from fer_train.pretrained import google, huggingface, torchvision_vit
from fer_train.pretrained.attention import heads_of
from fer_train.pretrained.fitting import Fitted, fit
from fer_train.pretrained.hub import fetch_from_hub
from fer_train.pretrained.hybrid import fit_stem, is_stem_of
from fer_train.pretrained.labels import labels_in, rows_of
from fer_train.pretrained.normalisation import require_same_normalisation
from fer_train.pretrained.packages import read_published
from fer_train.pretrained.published import fit_published
from fer_train.pretrained.reading import Contents, read, weights_file

__all__ = ["InitialWeights", "load_initial"]

_TIMM = "timm:"
_SUFFIXES = {".safetensors", ".pth", ".pt", ".bin", ".npz", ".ckpt"}
_SIZES = {"img_size", "patch_size"}


@dataclass(frozen=True)
class InitialWeights:
    """Where a network's first weights came from, and what became of them.

    ``kind`` is ``checkpoint`` (one of ours) or the naming of the file: ``timm``, ``google``,
    ``torchvision`` or ``huggingface``. ``loaded`` and ``new`` name the network's parameters and
    buffers; ``adapted`` are those loaded ones that were changed for another image size, colour or
    order of labels; ``ignored`` are what the file holds and no network needs. ``labels`` is the
    order of the classes in the file's head, None where it is not kept or the file does not tell;
    then our order is taken. ``inexact`` are the adapted ones with which the network answers
    otherwise than the original. ``started_from`` tells package, version and licence, where they are
    known.

    """

    kind: str
    path: Path
    sha256: str
    loaded: tuple[str, ...]
    new: tuple[str, ...]
    adapted: tuple[str, ...]
    ignored: tuple[str, ...]
    labels: tuple[str, ...] | None
    started_from: str | None = None
    inexact: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the head came, too: such a network can be exported without training."""
        return not self.new

    def describe(self) -> str:
        """Tell it in one line."""
        said = [f"{len(self.loaded)} tensors from {self.path} ({self.kind})"]
        for what in ("adapted", "new", "ignored"):
            if names := getattr(self, what):
                said.append(f"{what}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}")  # noqa: PLR2004
        if self.is_complete and self.labels is None:
            said.append("its classes are taken to stand in the order of ours")
        if self.started_from is not None:
            said.append(f"from {self.started_from}")
        return "; ".join(said)


@dataclass(frozen=True)
class _Source:
    """A file's tensors in timm's naming, and what it tells of their meaning."""

    kind: str
    tensors: dict[str, torch.Tensor]
    labels: tuple[str, ...] | None = None
    heads: object = None
    note: str = ""


def load_initial(
    network: nn.Module,
    spec: ModelSpec,
    source: str,
    *,
    labels: Sequence[str] | None = None,
    pictures: torch.Tensor | None = None,
    fetch: Callable[[str], Path] = fetch_from_hub,
) -> InitialWeights:
    """Fill ``network``, built from ``spec``, with the weights at ``source``.

    ``source`` is the name of a package's weights (``packages.PACKAGES``), a graph model of
    TensorFlow.js (``graph_model``), a file (a checkpoint of ours, Google's ``.npz``, a state dict
    in timm's or Hugging Face's naming) or the name of timm's pretrained weights,
    ``timm:NAME[.TAG]`` or without the ``timm:``. Another image size, colour or number of classes
    is adapted to; see ``fitting.fit``. A head of our seven classes is kept, in our order:
    ``labels`` is the order in
    the file, where that does not tell it or tells it wrongly. ``fetch`` gives the file of timm's
    weights. ``pictures``, uint8 ``(N, C, H, W)`` as the network takes them, are what the batch
    norms of a graph model are measured on.

    Raises ArtifactError for a file that is missing, damaged, of an unknown kind or does not fit,
    ConfigurationError for an unknown name of timm's or for ``labels`` that are not ours, and
    DownloadError where timm's weights cannot be fetched. The network is then as it was.
    """
    if (published := read_published(source)) is not None:
        fitted = fit_published(network, spec, published, pictures)
        return _filled(published.kind, published.path, published.sha256, fitted, published.origin)
    path = weights_file(_locate(source, fetch))
    contents = read(path)
    started_from = contents.spec.provenance.started_from if contents.spec else None
    if is_stem_of(contents.spec, spec):
        fitted = fit_stem(network, contents.tensors, path)
        return _filled("the stem of a checkpoint", path, sha256_of(path), fitted, started_from)
    if contents.spec is None:
        require_same_normalisation(path, spec.input)
    found = _identified(path, contents, spec)
    ours = heads_of(network)
    if found.heads is not None and ours is not None and found.heads != ours:
        raise ArtifactError(
            f"{path} has {found.heads!r:.80} attention heads, and {spec.network.architecture} as "
            f"it is set up has {ours}; set num_heads of the network, or choose the model that they "
            "are of"
        )
    told = tuple(labels) if labels is not None else found.labels
    rows = rows_of(told, spec.labels) if told is not None else None
    if labels is not None and rows is None:
        raise ConfigurationError(f"the labels should be {', '.join(spec.labels)} in some order")
    keep_head = told is None or rows is not None
    size = f"{spec.input.height} x {spec.input.width} {spec.input.color}"
    where = f"{path} ({found.kind}) does not fit {spec.network.architecture} at {size}{found.note}"
    fitted = fit(network, found.tensors, where, keep_head=keep_head, rows=rows)
    return InitialWeights(
        kind=found.kind,
        path=path,
        sha256=sha256_of(path),
        loaded=fitted.loaded,
        new=fitted.new,
        adapted=fitted.adapted,
        ignored=fitted.ignored,
        labels=None if fitted.new else told,
        started_from=started_from,
        inexact=fitted.inexact,
    )


def _filled(
    kind: str, path: Path, sha256: str, fitted: Fitted, started_from: str | None
) -> InitialWeights:
    """Tell what became of weights without a head."""
    return InitialWeights(
        kind=kind,
        path=path,
        sha256=sha256,
        loaded=fitted.loaded,
        new=fitted.new,
        adapted=fitted.adapted,
        ignored=fitted.ignored,
        labels=None,
        started_from=started_from,
    )


def _locate(source: str, fetch: Callable[[str], Path]) -> Path:
    path = Path(source).expanduser()
    if source.startswith(_TIMM):
        return fetch(source.removeprefix(_TIMM))
    if path.exists():
        return path
    is_name = path.name == source and path.suffix not in _SUFFIXES
    if is_name and timm.is_model(source):
        return fetch(source)
    also = ", nor does timm have an architecture of that name" if is_name else ""
    raise ArtifactError(f"there is no weights file at {source}{also}")


def _identified(path: Path, contents: Contents, spec: ModelSpec) -> _Source:
    tensors = contents.tensors
    if contents.spec is not None:
        return _checkpoint(path, tensors, contents.spec, spec)
    told = labels_in(contents.facts)
    if google.recognises(tensors):
        turned, note = google.to_timm(tensors), ""
        if "cls_token" not in turned:
            note = (
                " (it has no class token, as GSAM's: train a network without one, which is "
                "--model vit-base-gap for B/16)"
            )
        return _Source("google", turned, told, google.heads(tensors), note)
    if torchvision_vit.recognises(tensors):
        return _Source("torchvision", torchvision_vit.to_timm(tensors), told)
    if huggingface.recognises(tensors):
        config = huggingface.read_config(path)
        return _Source(
            "huggingface",
            huggingface.to_timm(tensors),
            labels_in(config) or told,
            config.get("num_attention_heads"),
        )
    return _Source("timm", tensors, told)


def _checkpoint(
    path: Path, tensors: dict[str, torch.Tensor], theirs: ModelSpec, ours: ModelSpec
) -> _Source:
    """Take a checkpoint of ours; its settings tell what the shapes do not."""
    had, wanted = (
        {key: value for key, value in spec.network.arguments.items() if key not in _SIZES}
        for spec in (theirs, ours)
    )
    if theirs.network.architecture != ours.network.architecture:
        note = f" (it is a checkpoint of {theirs.network.architecture})"
    elif had != wanted:
        raise ArtifactError(
            f"{path} is a {theirs.network.architecture} built with {had or 'no arguments'}, and "
            f"the model to train is built with {wanted or 'none'}"
        )
    else:
        note = ""
    return _Source("checkpoint", tensors, theirs.labels, note=note)
