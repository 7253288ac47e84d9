"""The loss of an epoch while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from fer_edge.errors import DivergedError
from fer_train.parallel import World

KEPT = (
    "the last saved state is kept on disk, and so is the best checkpoint. Train anew "
    "with a lower learning_rate, or with gradient_clip."
)
"""The end of an error's message: what is kept and what to do."""

_CHECK_EVERY = 32


class RunningLoss:
    """Losses of ``steps`` steps. They stay on the device and are fetched every 32 steps.

    ``where`` names the epoch in error messages; ``recent`` describes the last step that was
    fetched, for a progress bar. ``seen`` holds loss and accuracy of each step that was
    fetched, those before an interruption included.
    """

    def __init__(
        self, world: World, steps: int, where: str, seen: Sequence[list[float]] = ()
    ) -> None:
        self._world, self._steps, self._where = world, steps, where
        self._pending: list[torch.Tensor] = []
        self.seen = list(seen)
        self.recent = ""

    def add(self, step: int, loss: torch.Tensor, accuracy: torch.Tensor) -> None:
        """Add the loss and accuracy of a step, scalars. Raises DivergedError, maybe steps later."""
        self._pending.append(torch.stack([loss, accuracy]))
        if len(self._pending) == _CHECK_EVERY or step + 1 == self._steps:
            self.fetch(step + 1)

    @property
    def loss(self) -> float:
        """Mean over the steps that were fetched."""
        return float(np.mean([loss for loss, _ in self.seen]))

    @property
    def accuracy(self) -> float:
        """Share of the pictures that were answered as labelled, mixed ones counted too."""
        return float(np.mean([accuracy for _, accuracy in self.seen]))

    def fetch(self, steps: int) -> None:
        """Fetch what is pending of the first ``steps`` steps.

        Every process gets the mean of all, so that they all stop together.
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
