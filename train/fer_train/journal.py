"""What is written down after every epoch: a line of JSON, and TensorBoard's events."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from fer_edge.files import write_bytes

__all__ = ["METRICS", "Epoch", "Journal"]

METRICS, _EVENTS = "metrics.jsonl", "tensorboard"


@dataclass(frozen=True)
class Epoch:
    """One line of ``metrics.jsonl``. Accuracies are fractions of 1, None where not measured.

    ``seconds`` is the time of the whole epoch, its evaluation included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    learning_rate: float
    images_per_s: float
    public_test_accuracy: float | None
    public_test_nll: float | None
    seconds: float
    hardware: str


class Journal:
    """The records of a training in ``out``."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._events: SummaryWriter | None = None

    def record(self, line: Epoch) -> None:
        """Add an epoch, in place of what an interrupted run wrote of it and after it."""
        path = self._out / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [old for old in lines if json.loads(old)["epoch"] < line.epoch]
        write_bytes(path, ("\n".join([*kept, json.dumps(asdict(line))]) + "\n").encode())
        if self._events is None:
            self._events = SummaryWriter(str(self._out / _EVENTS), purge_step=line.epoch)
        for name, value in asdict(line).items():
            if name != "epoch" and isinstance(value, (int, float)):
                self._events.add_scalar(name, value, line.epoch)
        self._events.flush()

    def close(self) -> None:
        """End TensorBoard's file; a record after this begins another."""
        if self._events is not None:
            self._events.close()
            self._events = None
