"""The machine and the software that a result was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from fer_edge import __version__
from fer_edge.artifacts.record import encode
from fer_edge.backends.table import BACKENDS
from fer_edge.system.cores import usable_cores
from fer_edge.system.machine import Machine

_CHANGING = ("temperatures_c", "frequency_mhz", "jetson_clocks")
_DISTRIBUTIONS = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    *(name for entry in BACKENDS.values() for name in entry.distributions or (entry.package,)),
    "cuda-python",
    "timm",
)


@dataclass(frozen=True)
class Cpu:
    """The processor; ``flags`` are the extensions that inference engines use."""

    model: str | None
    flags: tuple[str, ...]
    cores: int | None
    usable_cores: int | None
    governor: str | None
    frequency_mhz: tuple[int, ...]


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as its driver describes it; clocks in MHz."""

    name: str
    driver: str
    memory_mb: str
    clocks_mhz: str


@dataclass(frozen=True)
class Environment:
    """Machine and software; what is not known is None or empty."""

    fer_edge: str
    python: str
    system: str
    board: str | None
    hypervisor: bool | None
    cpu: Cpu
    memory_mb: int | None
    temperatures_c: dict[str, float]
    gpus: tuple[Gpu, ...]
    power_mode: str | None
    jetson_clocks: str | None
    versions: dict[str, str]


def describe_environment(machine: Machine | None = None) -> Environment:
    """Look at this machine."""
    machine = machine or Machine()
    memory = _found(r"MemTotal: +(\d+) kB", machine.text("proc/meminfo"))
    name = _found(r'^PRETTY_NAME="?([^"\n]+)', machine.text("etc/os-release"))
    flags = machine.cpu_field("flags", "Features")
    clocks = machine.output("jetson_clocks", "--show")
    return Environment(
        fer_edge=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{name or platform.system()}, kernel {platform.release()}",
        board=machine.text("proc/device-tree/model"),
        hypervisor=None if flags is None else "hypervisor" in flags.split(),
        cpu=Cpu(
            model=machine.cpu_field("model name", "Model")
            or platform.processor()
            or platform.machine(),
            flags=machine.cpu_extensions(),
            cores=os.cpu_count(),
            usable_cores=usable_cores(),
            governor=machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            frequency_mhz=tuple(machine.frequencies_mhz()),
        ),
        memory_mb=int(memory) // 1024 if memory else None,
        temperatures_c=machine.temperatures_c(),
        gpus=_gpus(machine),
        power_mode=_found(r"NV Power Mode: *(\S+)", machine.output("nvpmodel", "-q")),
        jetson_clocks=" ".join(clocks.split()) if clocks else None,
        versions=_versions(),
    )


def differences(old: Environment, new: Environment) -> list[str]:
    """What differs between two machines, a line each, without what always changes."""
    was, now = _facts(old), _facts(new)
    return [
        f"{name}: {was.get(name) or 'none'} → {now.get(name) or 'none'}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _facts(environment: Environment) -> dict[str, Any]:
    """Everything that stays the same on an unchanged machine, by a name for readers."""
    plain = encode(environment)
    cpu = plain.pop("cpu")
    plain |= {"CPU": cpu.pop("model"), **cpu, **plain.pop("versions")}
    plain["gpus"] = [f"{gpu['name']} with driver {gpu['driver']}" for gpu in plain["gpus"]]
    return {
        name.replace("_", " "): ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in plain.items()
        if name not in _CHANGING
    }


def _found(pattern: str, text: str | None) -> str | None:
    found = re.search(pattern, text or "", re.MULTILINE)
    return found[1] if found else None


def _gpus(machine: Machine) -> tuple[Gpu, ...]:
    said = machine.output(
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total,clocks.sm",
        "--format=csv,noheader,nounits",
    )
    rows = [[cell.strip() for cell in line.split(",")] for line in (said or "").splitlines()]
    return tuple(Gpu(*row) for row in rows if len(row) == len(fields(Gpu)))


def _versions() -> dict[str, str]:
    found = {}
    for name in dict.fromkeys(_DISTRIBUTIONS):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
