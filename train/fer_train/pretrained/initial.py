"""Filling a network with the weights that a user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import sha256_of
from fer_train.pretrained.fitting import Fitted, fit
from fer_train.pretrained.hub import fetch_from_hub
from fer_train.pretrained.labels import labels_in, rows_of
from fer_train.pretrained.namings import Named, heads_of, in_timms_names
from fer_train.pretrained.packages import read_published
from fer_train.pretrained.published import fit_published
from fer_train.pretrained.reading import SUFFIXES, read, weights_file
from fer_train.pretrained.settings_beside import read_config, require_same_normalisation
from fer_train.pretrained.stem import fit_stem, is_stem_of

_TIMM = "timm:"
_SIZES = {"img_size", "patch_size"}


@dataclass(frozen=True, kw_only=True)
class InitialWeights(Fitted):
    """Where a network's first weights came from, and what became of them.

    ``kind`` is ``checkpoint`` (one of ours), ``package``, ``graph model`` or the naming of the
    file: ``timm``, ``google``, ``torchvision`` or ``huggingface``. ``labels`` is the order of the
    classes in the file's head. It is None where the head is new, and where the file does not tell
    the order, so that ours is assumed. ``started_from`` tells package, version and licence, where
    they are known, and ``note`` what else differs from the original.
    """

    kind: str
    path: Path
    sha256: str
    labels: tuple[str, ...] | None = None
    started_from: str | None = None
    note: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the head was loaded, too, so that the network needs no training."""
        return not self.new

    def describe(self) -> str:
        """Tell in one line where the weights are from and what became of them."""
        said = [f"{len(self.loaded)} tensors from {self.path} ({self.kind})"]
        for what in ("adapted", "new", "ignored"):
            if names := getattr(self, what):
                said.append(f"{what}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}")  # noqa: PLR2004
        if self.is_complete and self.labels is None:
            said.append("its classes are assumed to be in our order")
        if self.started_from is not None:
            said.append(f"from {self.started_from}")
        if self.note:
            said.append(self.note)
        return "; ".join(said)


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

    ``source`` is one of these:

    - the name of a package's weights (``packages.PACKAGES``)
    - a graph model of TensorFlow.js (``graph_model``)
    - a file or folder: a checkpoint of ours, Google's ``.npz``, or a state dict as timm,
      torchvision or Hugging Face name it
    - the name of timm's pretrained weights, ``NAME[.TAG]``, with or without ``timm:`` before it

    Weights are adapted to another image size, colour or number of classes (``fitting.fit``). A head
    of the classes in ``spec`` is kept, and its rows are brought into our order. ``labels`` gives
    the order in the file, where the file does not tell it or is wrong. ``fetch`` downloads timm's
    weights. The batch norms of a graph model are measured on ``pictures``, uint8 ``(N, C, H, W)``
    as the network takes them.

    Raises ArtifactError for a file that is missing, damaged, of an unknown kind or does not fit,
    ConfigurationError for an unknown name of timm's or for ``labels`` that are not ours, and
    DownloadError where timm's weights cannot be fetched. The network is then as it was.
    """
    if (published := read_published(source)) is not None:
        return InitialWeights(
            **vars(fit_published(network, spec, published, pictures)),
            kind=published.kind,
            path=published.path,
            sha256=published.sha256,
            started_from=published.origin,
        )
    path = weights_file(_locate(source, fetch))
    contents = read(path)
    started_from = contents.spec.provenance.started_from if contents.spec else None
    if is_stem_of(contents.spec, spec):
        return InitialWeights(
            **vars(fit_stem(network, contents.tensors, path)),
            kind="the stem of a checkpoint",
            path=path,
            sha256=sha256_of(path),
            started_from=started_from,
        )
    if contents.spec is None:
        require_same_normalisation(path, spec.input)
        found = in_timms_names(contents.tensors)
        config = read_config(path) if found.kind == "huggingface" else {}
        own = labels_in(config) or labels_in(contents.facts)
    else:
        _require_same_settings(path, contents.spec, spec)
        found, config, own = Named("checkpoint", contents.tensors), {}, contents.spec.labels
    _require_same_heads(path, network, spec, found.heads or config.get("num_attention_heads"))
    told = tuple(labels) if labels is not None else own
    rows = rows_of(told, spec.labels) if told is not None else None
    if labels is not None and rows is None:
        raise ConfigurationError(f"the labels should be {', '.join(spec.labels)} in some order")
    size = f"{spec.input.height} x {spec.input.width} {spec.input.color}"
    where = f"{path} ({found.kind}) does not fit {spec.network.architecture} at {size}"
    fitted = fit(
        network,
        found.tensors,
        where + _hint(found, contents.spec, spec),
        keep_head=told is None or rows is not None,
        rows=rows,
    )
    return InitialWeights(
        **vars(fitted),
        kind=found.kind,
        path=path,
        sha256=sha256_of(path),
        labels=None if fitted.new else told,
        started_from=started_from,
        note=_other_epsilon(network, config),
    )


def _locate(source: str, fetch: Callable[[str], Path]) -> Path:
    path = Path(source).expanduser()
    if source.startswith(_TIMM):
        return fetch(source.removeprefix(_TIMM))
    if path.exists():
        return path
    is_name = path.name == source and path.suffix not in SUFFIXES
    if is_name and timm.is_model(source):
        return fetch(source)
    also = ", nor does timm have an architecture of that name" if is_name else ""
    raise ArtifactError(f"there is no weights file at {source}{also}")


def _require_same_settings(path: Path, theirs: ModelSpec, ours: ModelSpec) -> None:
    """Compare settings that show in no weight's shape, such as the number of heads."""
    had, wanted = (
        {key: value for key, value in spec.network.arguments.items() if key not in _SIZES}
        for spec in (theirs, ours)
    )
    if theirs.network.architecture == ours.network.architecture and had != wanted:
        raise ArtifactError(
            f"{path} is a {theirs.network.architecture} built with {had or 'no arguments'}, and "
            f"the model to train is built with {wanted or 'none'}"
        )


def _require_same_heads(path: Path, network: nn.Module, spec: ModelSpec, told: object) -> None:
    ours = heads_of(network)
    if told is not None and ours is not None and told != ours:
        raise ArtifactError(
            f"{path} has {told!r:.80} attention heads, and {spec.network.architecture} is set up "
            f"with {ours}; set num_heads of the network, or choose the model of these weights"
        )


def _hint(found: Named, theirs: ModelSpec | None, ours: ModelSpec) -> str:
    """Say why tensors may not fit, for the message that lists those that do not."""
    if theirs is not None and theirs.network.architecture != ours.network.architecture:
        return f" (it is a checkpoint of {theirs.network.architecture})"
    if found.kind == "google" and "cls_token" not in found.tensors:
        return (
            " (it has no class token, as GSAM's: train a network without one, which is "
            "--model vit-base-gap for B/16)"
        )
    return ""


def _other_epsilon(network: nn.Module, config: Mapping[str, object]) -> str:
    """Tell of layer norms that were trained with another epsilon: answers differ a little."""
    theirs = config.get("layer_norm_eps")
    ours = next((norm.eps for norm in network.modules() if isinstance(norm, nn.LayerNorm)), theirs)
    if theirs is None or theirs == ours:
        return ""
    return f"layer norms compute with an epsilon of {ours:g} in place of {theirs!r:.20}"
