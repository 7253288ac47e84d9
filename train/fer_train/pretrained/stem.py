"""A first layer for small gray pictures, worked out from one that was made for large coloured ones.

A network that was trained on large pictures sees most in a small one when that is enlarged first.
Enlarging twice and then convolving with stride 2 is, but for the border, one convolution of stride
1 on the small picture: each output sees three neighbouring source pixels per direction. The planes
of a gray picture are alike, so their kernels add up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["enlarging_stem", "gray_stem"]

# what each tap of the kernel sees of the source pixels one before, at and one after the output;
# bilinear enlargement has weights of 3/4 and 1/4
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

    ``kernel`` is ``(O, 3, K, K)`` for planes that ``mean`` was subtracted from, in the units of
    the normalised picture. The result is ``(O, 1, K, K)`` for a plane that ``gray_mean`` was
    subtracted from, and what has to be added to each output, ``(O,)``.
    """
    away = gray_mean - kernel.new_tensor(mean)
    return kernel.sum(1, keepdim=True), torch.einsum("oikl,i->o", kernel, away)
