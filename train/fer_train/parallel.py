"""Several processes on one training, as ``torchrun`` starts them; one process is the plain case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fer_edge.errors import ConfigurationError
from fer_edge.system.machine import cpu_name
from fer_train.deadline import Deadline

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Execution:
    """How work is run: which process this is, of how many, on what device, and until when.

    ``compiled`` has torch compile the training step: the same mathematics, with less time between
    its parts. ``deterministic`` is explained in ``arithmetic.repeatable``. ``deadline`` is when to
    stop; the same call then continues. ``report`` is told how far it is, in words.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: _device(0))
    compiled: bool = False
    deterministic: bool = False
    deadline: Deadline = field(default_factory=Deadline)
    report: Callable[[str], None] = lambda _: None

    @property
    def leads(self) -> bool:
        """Whether this process evaluates and writes."""
        return self.rank == 0

    @property
    def hardware(self) -> str:
        """The hardware that the processes compute on, for reports."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"{cpu_name()}, {torch.get_num_threads()} threads"
        return name if self.size == 1 else f"{self.size} x {name}"

    def place(self, network: M) -> M:
        """Move a network to the device, in the memory layout that GPUs and oneDNN prefer."""
        return network.to(memory_format=torch.channels_last).to(self.device)

    def share(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a batch that all processes know."""
        return batch.tensor_split(self.size)[self.rank]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Average gradients over all processes while training."""
        return DistributedDataParallel(network) if self.size > 1 else network

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def broadcast(self, values: torch.Tensor) -> torch.Tensor:
        """Send the first process's values to all; returns them on the CPU."""
        if self.size > 1:
            values = values.to(self.device)
            dist.broadcast(values, 0)
        return values.cpu()

    def wait(self) -> None:
        """Wait until every process has arrived here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(alone: Execution) -> Iterator[Execution]:
    """Join the processes that ``torchrun`` started, or be the only one; the first one reports."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = _device(int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield alone
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    report = alone.report if rank == 0 else lambda _: None
    try:
        yield replace(alone, rank=rank, size=size, device=device, report=report)
    finally:
        dist.destroy_process_group()


def _device(local: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local >= (count := torch.cuda.device_count()):
        raise ConfigurationError(
            f"this machine has {count} GPUs, fewer than processes; give torchrun "
            f"--nproc-per-node {count}"
        )
    return torch.device(f"cuda:{local}")
