"""Peers: what a user might choose instead of a model of ours, measured in the same rounds.

A peer is an adapter (a script that speaks ``fer_bench.protocol``) and the way to install what it
needs. ``benchmarks/peers/peers.json`` lists them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fer_bench
from fer_bench.launching import Program, ask
from fer_edge.artifacts.record import decode
from fer_edge.errors import ConfigurationError, DownloadError
from fer_edge.system.dependencies import missing_packages
from fer_edge.system.folders import data_folder

_ROOT = Path(fer_bench.__file__).parents[1]
_FOLDER = _ROOT / "peers"
_PREPARE_S = 1200.0
_TELEMETRY = "ORT_DISABLE_TELEMETRY"


@dataclass(frozen=True, eq=False)
class Peer:
    """One entry of ``peers.json``, with its ``name``.

    ``needs`` are the imports of its adapter, and ``install`` the arguments of pip that install them
    in ``environment``, a virtual environment that peers may share. ``bare`` marks an engine that
    runs a file of ours without Predictor, in our own environment.
    """

    title: str
    adapter: str
    backend: str
    environment: str
    needs: tuple[str, ...]
    install: tuple[tuple[str, ...], ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    bare: bool = False
    name: str = ""

    @property
    def python(self) -> Path | None:
        """The interpreter of its own environment, else ours if it has what is needed, else None."""
        own = environment_folder(self.environment) / "bin" / "python"
        if not self.bare and own.exists():
            return own
        return None if missing_packages(self.needs) else Path(sys.executable)


def load_peers(folder: Path | None = None) -> dict[str, Peer]:
    """Read the table of peers.

    Raises ConfigurationError if there is none: peers are part of the repository, not of the
    installed package.
    """
    folder = folder or _FOLDER
    path = folder / "peers.json"
    if not path.is_file():
        raise ConfigurationError(
            f"there are no peers at {folder}: they come with fer_edge's repository. Run fer-bench "
            "from a checkout (pip install -e .)"
        )
    peers = {}
    for name, entry in json.loads(path.read_bytes()).items():
        peer = decode(Peer, entry, f"{path}.{name}", ConfigurationError)
        peers[name] = replace(peer, name=name, adapter=str(folder / peer.adapter))
    return peers


def choose_peers(names: Sequence[str]) -> tuple[Peer, ...]:
    """Peers by name; ``all`` is every one but the bare engines. Raises ConfigurationError."""
    if not names:
        return ()
    known = {name: peer for name, peer in load_peers().items() if not peer.bare}
    for name in names:
        if name != "all" and name not in known:
            raise ConfigurationError(f"unknown peer {name!r}; there are all, {', '.join(known)}")
    wanted = [one for name in names for one in (known if name == "all" else [name])]
    return tuple(known[name] for name in dict.fromkeys(wanted))


def environment_folder(name: str) -> Path:
    """The folder of a peer's virtual environment."""
    return data_folder() / "peers" / name


def adapter_program(peer: Peer, extra: Mapping[str, Any]) -> Program:
    """The process that measures a peer. Raises ConfigurationError where it is not installed."""
    python = peer.python
    if python is None:
        raise ConfigurationError(
            f"the peer {peer.name} is not installed (needs {', '.join(peer.needs)}): "
            f"fer-bench peers install {peer.name}"
        )
    return Program(
        (str(python), peer.adapter),
        {**peer.parameters, **extra, "folder": str(_graphs())},
        {
            # the adapters import fer_bench.protocol from here, and nothing else of ours
            "PYTHONPATH": str(_ROOT),
            # no telemetry of ONNX Runtime unless the user asks for it
            _TELEMETRY: os.environ.get(_TELEMETRY, "1"),
        },
    )


def prepare(peer: Peer, timeout_s: float = _PREPARE_S) -> None:
    """Let a peer make what it needs before it is timed, such as its graph.

    Raises CandidateError, or ConfigurationError where it is not installed.
    """
    _graphs().mkdir(parents=True, exist_ok=True)
    ask(adapter_program(peer, {}), {"work": "prepare"}, timeout_s)


def install(peer: Peer) -> None:
    """Make the environment of a peer, unless it is there already, and let the peer prepare.

    Raises DownloadError where pip fails, and CandidateError if the peer cannot prepare.
    """
    folder = environment_folder(peer.environment)
    done = folder / "installed"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    commands = [[sys.executable, "-m", "venv", str(folder)]]
    commands += [[*pip, *arguments] for arguments in peer.install]
    for command in [] if done.exists() else commands:
        try:
            subprocess.run(command, check=True)  # noqa: S603 - our own table of packages
        except (OSError, subprocess.CalledProcessError) as problem:
            raise DownloadError(
                f"cannot install the peer {peer.name}: {' '.join(command)} fails ({problem})"
            ) from problem
    done.touch()
    prepare(peer)


def _graphs() -> Path:
    return data_folder() / "peers" / "graphs"
