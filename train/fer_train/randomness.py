"""The random numbers of a training, from generators that are seeded anew for every use.

Nothing depends on what was drawn before. So a training can continue at any step, and teachers can
answer a view before the student sees it.
"""

from __future__ import annotations

import numpy as np
import torch

from fer_train.augmentation import NUMBERS
from fer_train.parallel import Execution

_ORDER, _VIEW, _STEP = range(3)
_MOST = 2**62


def draw_view(
    seed: int, number: int, count: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Draw an augmented version of ``count`` pictures, which ``seed`` and ``number`` determine.

    The result, float32 ``(count, NUMBERS)`` from 0 to 1, says how each picture is changed
    (``fer_train.augmentation``). NumPy draws it, so that it is the same on every device and with
    any number of processes.
    """
    numbers = np.random.default_rng([_VIEW, seed, number]).random((count, NUMBERS), np.float32)
    return torch.from_numpy(numbers).to(device)


def draw_order(seed: int, epoch: int, count: int) -> torch.Tensor:
    """Draw the order in which ``count`` pictures are seen, the same in all processes."""
    return torch.from_numpy(np.random.default_rng([_ORDER, seed, epoch]).permutation(count))


def draw_step(
    seed: int, epoch: int, step: int, how: Execution
) -> tuple[np.random.Generator, torch.Generator]:
    """Seed the generators of one process in one step.

    The first draws on the host, for decisions about the whole batch, so that nothing waits for the
    device; the second on the device. torch's global one, from which dropout draws, is seeded too.
    """
    on_host = np.random.default_rng([_STEP, seed, epoch, step, how.rank])
    dropout, mixing = on_host.integers(_MOST, size=2).tolist()
    torch.manual_seed(dropout)
    return on_host, torch.Generator(how.device).manual_seed(mixing)
