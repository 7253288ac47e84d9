"""The first stages of a trained dense network, as the stem of a ViT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_train.pretrained.fitting import Fitted

__all__ = ["fit_stem", "is_stem_of"]

_STAGES, _STEM = "stages.", "patch_embed.backbone.stages."


def is_stem_of(theirs: ModelSpec | None, ours: ModelSpec) -> bool:
    """Tell whether a checkpoint is of a network whose first stages are the stem of ours."""
    names = ("fer_dense", "fer_vit")
    return theirs is not None and names == (
        theirs.network.architecture,
        ours.network.architecture,
    )


def fit_stem(network: nn.Module, given: dict[str, torch.Tensor], path: Path) -> Fitted:
    """Fill the stem of ``network`` from a dense checkpoint; all that is behind it stays new.

    Raises ArtifactError where the dense network is of another width; the network is then as it was.
    """
    wanted = network.state_dict()
    stem = {name: name.replace(_STEM, _STAGES) for name in wanted if name.startswith(_STEM)}
    if missing := sorted(set(stem.values()) - given.keys()):
        raise ArtifactError(f"{path} lacks {', '.join(missing[:5])}, which the stem consists of")
    for name, theirs in stem.items():
        if wanted[name].shape != given[theirs].shape:
            raise ArtifactError(
                f"{path} has {theirs} {tuple(given[theirs].shape)}, and the stem takes "
                f"{tuple(wanted[name].shape)}; set width of the network to that of the checkpoint"
            )
    network.load_state_dict({**wanted, **{name: given[theirs] for name, theirs in stem.items()}})
    return Fitted(
        loaded=tuple(stem),
        new=tuple(name for name in wanted if name not in stem),
        adapted=(),
        ignored=tuple(sorted(given.keys() - set(stem.values()))),
    )
