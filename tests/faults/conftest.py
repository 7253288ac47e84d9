"""Commands in processes of their own, to be killed or to run out of something.

A server process imports what is slow once, and each command is forked from it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="no torch to train and export with")

KILLS = int(os.environ.get("FER_KILLS", "0"))
"""How many times each command is killed (``make kills``); without it a few times."""


@dataclass(frozen=True)
class Killer:
    """Starts a command and kills it at a random moment of the time that it takes."""

    context: multiprocessing.context.ForkServerContext
    rng: np.random.Generator

    def start(self, main: Callable[[Sequence[str]], int], words: Sequence[object]) -> BaseProcess:
        """Fork the command off."""
        process = self.context.Process(target=main, args=([str(word) for word in words],))
        process.start()
        return process

    def run(self, main: Callable[[Sequence[str]], int], words: Sequence[object]) -> float:
        """Let the command end; returns how many seconds it took."""
        begin = time.monotonic()
        process = self.start(main, words)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - begin

    def kill(
        self, main: Callable[[Sequence[str]], int], words: Sequence[object], seconds: float
    ) -> bool:
        """Kill the command within ``seconds``; whether it was still running then."""
        process = self.start(main, words)
        process.join(timeout=self.rng.uniform(0, seconds))
        running = process.exitcode is None
        process.kill()
        process.join()
        return running


@pytest.fixture(scope="session")
def killer() -> Killer:
    """With a server that has imported the commands."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fer_calib.cli", "fer_export.pipeline", "fer_train.pipeline"])
    seed = int(time.time()) if KILLS else 0
    print(f"the moments are those of seed {seed}")
    return Killer(context, np.random.default_rng(seed))


@contextmanager
def _mounted(folder: Path, options: str, flags: int = 0) -> Iterator[Path]:
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(exist_ok=True)
    where = os.fsencode(folder)
    if libc.mount(b"tmpfs", where, b"tmpfs", flags, options.encode()):
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        libc.umount2(where, 2)  # MNT_DETACH, from sys/mount.h


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; needs the right to mount."""
    with _mounted(tmp_path / "disk", "size=64k") as folder:
        yield folder


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that nothing can be written to; needs the right to mount."""
    with _mounted(tmp_path / "disk", "size=64k", flags=1) as folder:  # MS_RDONLY
        yield folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a command; ``limit`` is the most bytes that it can write to a file."""

    def call(
        module: str,
        *words: object,
        limit: int | None = None,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        limited = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))" if limit else ""
        code = f"import resource, sys; {limited}\nfrom {module} import main\nsys.exit(main())"
        # the guard against the network is on PYTHONPATH alone
        paths = os.pathsep.join([os.environ["PYTHONPATH"], *filter(None, sys.path)])
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A checkpoint with random weights of a seed."""
    import torch

    from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
    from fer_edge.torch_model import checkpoint, network

    folder = tmp_path_factory.mktemp("weights")
    spec = ModelSpec(NetworkSpec("test_efficientnet", stem_stride=1), InputSpec(32, 32))

    def make(seed: int) -> Path:
        path = folder / f"{seed}.safetensors"
        if not path.exists():
            torch.manual_seed(seed)
            checkpoint.save(path, network.build(spec).state_dict(), spec)
        return path

    return make
