"""First layers that are computed or taken over instead of learnt.

**From large coloured pictures to small gray ones.** A network that was trained on large pictures
sees most in a small one when that is enlarged first. Enlarging twice and then convolving with
stride 2 is, away from the border, one convolution of stride 1 on the small picture: each output
sees three neighbouring source pixels per direction. The planes of a gray picture are alike, so
their kernels add up.

**From a dense network to a ViT.** The first stages of a trained dense network are the stem of our
hybrid ViT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_train.pretrained.fitting import Fitted

# the weights with which each tap of the kernel sees the source pixels before, at and after the
# output; a bilinear enlargement has weights of 3/4 and 1/4
_PADDED_BOTH_SIDES = ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25))
_PADDED_AFTER = ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75))


def enlarging_stem(kernel: torch.Tensor, *, padded_after: bool) -> torch.Tensor:
    """Fold a bilinear enlargement by two into a 3 x 3 kernel of stride 2.

    ``kernel`` is ``(O, I, 3, 3)``; the result has the same shape and is for stride 1 and one pixel
    of padding on each side. ``padded_after`` says that the original pads below and on the right
    alone, as TensorFlow does for even sizes; otherwise it pads on all sides.
    """
    taps = kernel.new_tensor(_PADDED_AFTER if padded_after else _PADDED_BOTH_SIDES)
    return torch.einsum("oikl,ka,lb->oiab", kernel, taps, taps)


def gray_stem(
    kernel: torch.Tensor, mean: Sequence[float], gray_mean: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a kernel over three planes into one over a gray plane.

    ``kernel`` is ``(O, 3, K, K)``, for planes from which ``mean`` was subtracted, in the units of
    the normalised picture. The result is a kernel ``(O, 1, K, K)`` for a plane from which
    ``gray_mean`` was subtracted, and a number to add to each output, ``(O,)``.
    """
    away = gray_mean - kernel.new_tensor(mean)
    return kernel.sum(1, keepdim=True), torch.einsum("oikl,i->o", kernel, away)


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
