"""Filling a network with weights that were trained before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_train.pretrained.beside import require_same_normalisation, rows_of
from fer_train.pretrained.fitting import Fitted, fit
from fer_train.pretrained.namings import heads_of
from fer_train.pretrained.reading import Weights
from fer_train.pretrained.stem import fit_published, fit_stem, is_stem_of

_SIZES = {"img_size", "patch_size"}


@dataclass(frozen=True, kw_only=True)
class InitialWeights(Fitted):
    """Where a network's first weights came from, and what became of them.

    ``kind`` is that of ``Weights``. ``labels`` is the order of the classes in the file's head. It
    is None where the head is new, and where the file does not tell the order, so that ours is
    assumed. ``started_from`` tells package, version and licence, where they are known, and ``note``
    what else differs from the original.
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
    weights: Weights,
    *,
    labels: Sequence[str] | None = None,
    pictures: torch.Tensor | None = None,
) -> InitialWeights:
    """Fill ``network``, built from ``spec``, with ``weights`` (``read_source``).

    They are adapted to another image size, colour or number of classes (``fitting.fit``). A head of
    the classes in ``spec`` is kept, and its rows are brought into our order. ``labels`` gives the
    order in the file, where the file does not tell it or is wrong. The batch norms of a graph model
    are measured on ``pictures``, uint8 ``(N, C, H, W)`` as the network takes them.

    Raises ArtifactError for weights that do not fit and ConfigurationError for ``labels`` that are
    not ours. The network is then as it was.
    """
    kind, told, note = weights.kind, None, ""
    started_from = weights.spec.provenance.started_from if weights.spec else None
    if (known := weights.published) is not None:
        fitted, started_from = fit_published(network, spec, weights, known, pictures), known.origin
    elif is_stem_of(weights.spec, spec):
        fitted, kind = fit_stem(network, weights), "the stem of a checkpoint"
    else:
        told = weights.labels if labels is None else tuple(labels)
        rows = None if told is None else rows_of(told, spec.labels)
        if labels is not None and rows is None:
            raise ConfigurationError(f"the labels should be {', '.join(spec.labels)} in some order")
        _require_same_settings(network, weights, spec)
        where = _misfit(weights, spec)
        is_ours = told is None or rows is not None
        fitted = fit(network, weights.tensors, where, keep_head=is_ours, rows=rows)
        note = _other_epsilon(network, weights.epsilon)
    return InitialWeights(
        **vars(fitted),
        kind=kind,
        path=weights.path,
        sha256=weights.sha256,
        labels=None if fitted.new else told,
        started_from=started_from,
        note=note,
    )


def _require_same_settings(network: nn.Module, weights: Weights, ours: ModelSpec) -> None:
    """Compare what shows in no weight's shape: normalisation, settings, the number of heads."""
    path, theirs, architecture = weights.path, weights.spec, ours.network.architecture
    if theirs is None:
        require_same_normalisation(path, ours.input)
    elif theirs.network.architecture == architecture:
        had, wanted = (
            {key: value for key, value in spec.network.arguments.items() if key not in _SIZES}
            for spec in (theirs, ours)
        )
        if had != wanted:
            raise ArtifactError(
                f"{path} is a {architecture} built with {had or 'no arguments'}, and the model to "
                f"train is built with {wanted or 'none'}"
            )
    told, heads = weights.heads, heads_of(network)
    if told is not None and heads is not None and told != heads:
        raise ArtifactError(
            f"{path} has {told!r:.80} attention heads, and {architecture} is set up with {heads}; "
            "set num_heads of the network, or choose the model of these weights"
        )


def _misfit(weights: Weights, ours: ModelSpec) -> str:
    """Begin the message that lists tensors that do not fit, and say why they may not."""
    theirs, hint = weights.spec, ""
    if theirs is not None and theirs.network.architecture != ours.network.architecture:
        hint = f" (it is a checkpoint of {theirs.network.architecture})"
    elif weights.kind == "google" and "cls_token" not in weights.tensors:
        hint = (
            " (it has no class token, as GSAM's: train a network without one, which is "
            "--model vit-base-gap for B/16)"
        )
    size = f"{ours.input.height} x {ours.input.width} {ours.input.color}"
    fits_not = f"does not fit {ours.network.architecture} at {size}"
    return f"{weights.path} ({weights.kind}) {fits_not}{hint}"


def _other_epsilon(network: nn.Module, theirs: object) -> str:
    """Tell of layer norms that were trained with another epsilon: answers differ a little."""
    ours = next((norm.eps for norm in network.modules() if isinstance(norm, nn.LayerNorm)), theirs)
    if theirs is None or theirs == ours:
        return ""
    return f"layer norms compute with an epsilon of {ours:g} in place of {theirs!r:.20}"
