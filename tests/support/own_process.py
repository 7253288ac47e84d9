"""fer-train in a process of its own, without the seconds that importing torch takes.

A server process imports it once, runs nothing, and each command is forked from it: a copy of the
test's own process would have torch's threads, which do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from multiprocessing.process import BaseProcess

__all__ = ["start_training"]


def start_training(words: list[str], environment: Mapping[str, str] | None = None) -> BaseProcess:
    """Start ``fer-train`` with these arguments; its exit code is the process's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fer_train.pipeline"])
    process = context.Process(target=_train, args=(words, dict(environment or {})))
    process.start()
    return process


def _train(words: list[str], environment: dict[str, str]) -> None:
    import torch

    from fer_train.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= environment
    torch.set_num_threads(1)  # as the tests do, and so to the same bits
    os._exit(main(words))
