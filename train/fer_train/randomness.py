"""Where the random numbers of an epoch come from.

They are drawn from generators seeded by the recipe's seed, the epoch and the process, so an epoch
that is begun again draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fer_train.parallel import World

__all__ = ["Draws", "draws_of"]

_EPOCHS_APART = 100_003


@dataclass(frozen=True)
class Draws:
    """The random numbers of one process in one epoch.

    ``order`` numbers the pictures as they are seen, the same in all processes. ``pictures``
    draws on the device, for the changes of each picture; ``batches`` on the host, for decisions
    about whole batches, which the device must not be asked for.
    """

    order: torch.Tensor
    pictures: torch.Generator
    batches: np.random.Generator


def draws_of(seed: int, epoch: int, count: int, world: World) -> Draws:
    """Seed the generators of an epoch over ``count`` pictures, torch's global one included."""
    shared = seed * _EPOCHS_APART + epoch
    own = shared * world.size + world.rank
    torch.manual_seed(own)  # dropout draws from the global one
    order = torch.randperm(count, generator=torch.Generator().manual_seed(shared))
    return Draws(
        order.to(world.device),
        torch.Generator(world.device).manual_seed(own),
        np.random.default_rng(own),
    )
