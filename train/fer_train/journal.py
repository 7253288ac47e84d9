"""The log of a training: a line of JSON per epoch, and TensorBoard's events."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError
from fer_edge.system.files import write_bytes
from fer_edge.system.read_file import read_file

METRICS, _EVENTS = "metrics.jsonl", "tensorboard"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Epoch:
    """One line of ``metrics.jsonl``. Accuracies are fractions of 1, None where not measured.

    ``seconds`` is the time of the whole epoch, its evaluation included; it and ``hardware`` are
    None in journals that were written before they were kept.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    learning_rate: float
    images_per_s: float
    public_test_accuracy: float | None
    public_test_nll: float | None
    seconds: float | None = None
    hardware: str | None = None


def read_journal(path: Path) -> tuple[Epoch, ...]:
    """Read ``metrics.jsonl``. Raises ArtifactError for a file that is missing or damaged."""
    found: list[Epoch] = []
    for line in read_file(path, "journal", _MAX_BYTES, ArtifactError).splitlines():
        where = f"{path} line {len(found) + 1}"
        found.append(decode(Epoch, parse_json(line, where), where))
    return tuple(found)


class Journal:
    """The records of a training in ``out``."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._events: SummaryWriter | None = None

    def record(self, line: Epoch) -> None:
        """Add an epoch; lines that an interrupted run wrote for it or later epochs are replaced.

        Raises ArtifactError where what was written before cannot be read.
        """
        path = self._out / METRICS
        known = read_journal(path) if path.exists() else ()
        kept = [old for old in known if old.epoch < line.epoch]
        lines = [json.dumps(asdict(each), allow_nan=False) + "\n" for each in (*kept, line)]
        write_bytes(path, "".join(lines).encode())
        if self._events is None:
            self._events = SummaryWriter(str(self._out / _EVENTS), purge_step=line.epoch)
        for name, value in asdict(line).items():
            if name != "epoch" and isinstance(value, (int, float)):
                self._events.add_scalar(name, value, line.epoch)
        self._events.flush()

    def close(self) -> None:
        """Close TensorBoard's file; the next record begins another."""
        if self._events is not None:
            self._events.close()
            self._events = None
