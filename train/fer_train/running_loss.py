"""The loss of an epoch while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from fer_edge.errors import DivergedError
from fer_train.parallel import World

__all__ = ["KEPT", "RunningLoss"]

KEPT = (
    "the last saved state is kept on disk, and so is the best checkpoint. Train anew "
    "with a lower learning_rate, or with gradient_clip."
)
"""What an error says of what is left, and what to do."""

_CHECK_EVERY = 32


class RunningLoss:
    """Losses of ``steps`` steps, left on the device and looked at once in a while.

    ``where`` names the epoch in the message of an error; ``recent`` tells of the last step that
    was looked at, for a bar. ``seen`` holds loss and accuracy of each step that was looked at, the
    steps before an interruption included.
    """

    def __init__(
        self, world: World, steps: int, where: str, seen: Sequence[list[float]] = ()
    ) -> None:
        self._world, self._steps, self._where = world, steps, where
        self._pending: list[torch.Tensor] = []
        self.seen = list(seen)
        self.recent = ""

    def add(self, step: int, loss: torch.Tensor, accuracy: torch.Tensor) -> None:
        """Take the loss and accuracy of a step, scalars. Raises DivergedError, maybe later."""
        self._pending.append(torch.stack([loss, accuracy]))
        if len(self._pending) == _CHECK_EVERY or step + 1 == self._steps:
            self.look(step + 1)

    @property
    def loss(self) -> float:
        """Mean over the steps that were looked at."""
        return float(np.mean([loss for loss, _ in self.seen]))

    @property
    def accuracy(self) -> float:
        """Share of the pictures that were answered as labelled, mixed ones counted too."""
        return float(np.mean([accuracy for _, accuracy in self.seen]))

    def look(self, steps: int) -> None:
        """Look at all of the first ``steps`` steps.

        Every process sees the mean of all, so that all of them stop together.
        """
        if not self._pending:
            return
        values = self._world.mean(torch.stack(self._pending)).tolist()
        for number, (loss, _) in enumerate(values, steps - len(values)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss became {loss} in batch {number} of {self._where}; {KEPT}"
                )
        self.seen += values
        self._pending = []
        self.recent = f"loss {values[-1][0]:.3f}, accuracy {values[-1][1]:.0%}"
