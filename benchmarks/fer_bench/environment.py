"""The machine and the software that a result was measured on. All of it is optional."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from dataclasses import dataclass

from fer_edge import __version__
from fer_edge.backends.table import BACKENDS
from fer_edge.system.cores import usable_cores
from fer_edge.system.machine import Machine

__all__ = ["Cpu", "Environment", "Gpu", "describe_environment", "differences"]

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
    """An NVIDIA GPU as its driver tells; clocks in MHz."""

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
    memory = re.search(r"MemTotal: +(\d+) kB", machine.text("proc/meminfo") or "")
    flags = machine.cpu_field("flags", "Features")
    return Environment(
        fer_edge=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{_distribution(machine) or platform.system()}, kernel {platform.release()}",
        board=machine.text("proc/device-tree/model"),
        hypervisor=None if flags is None else "hypervisor" in flags.split(),
        cpu=_cpu(machine),
        memory_mb=int(memory[1]) // 1024 if memory else None,
        temperatures_c=machine.temperatures_c(),
        gpus=_gpus(machine),
        power_mode=_power_mode(machine),
        jetson_clocks=_one_line(machine.output("jetson_clocks", "--show")),
        versions=_versions(),
    )


def differences(old: Environment, new: Environment) -> list[str]:
    """What differs between two machines, one sentence each; the temperature may."""
    pairs = [
        ("CPU", old.cpu.model, new.cpu.model),
        ("CPU flags", ", ".join(old.cpu.flags), ", ".join(new.cpu.flags)),
        ("usable cores", old.cpu.usable_cores, new.cpu.usable_cores),
        ("governor", old.cpu.governor, new.cpu.governor),
        ("board", old.board, new.board),
        ("power mode", old.power_mode, new.power_mode),
        ("GPUs", [(g.name, g.driver) for g in old.gpus], [(g.name, g.driver) for g in new.gpus]),
        ("system", old.system, new.system),
        ("python", old.python, new.python),
        ("fer_edge", old.fer_edge, new.fer_edge),
    ]
    names = sorted({*old.versions, *new.versions})
    pairs += [(name, old.versions.get(name), new.versions.get(name)) for name in names]
    return [f"{name}: {was or 'none'} → {now or 'none'}" for name, was, now in pairs if was != now]


def _cpu(machine: Machine) -> Cpu:
    return Cpu(
        model=machine.cpu_field("model name", "Model")
        or platform.processor()
        or platform.machine(),
        flags=machine.cpu_extensions(),
        cores=os.cpu_count(),
        usable_cores=usable_cores(),
        governor=machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        frequency_mhz=tuple(machine.frequencies_mhz()),
    )


def _distribution(machine: Machine) -> str | None:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', machine.text("etc/os-release") or "", re.M)
    return found[1] if found else None


def _gpus(machine: Machine) -> tuple[Gpu, ...]:
    said = machine.output(
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total,clocks.sm",
        "--format=csv,noheader,nounits",
    )
    rows = [[cell.strip() for cell in line.split(",")] for line in (said or "").splitlines()]
    columns = 4
    return tuple(Gpu(*row) for row in rows if len(row) == columns)


def _power_mode(machine: Machine) -> str | None:
    found = re.search(r"NV Power Mode: *(\S+)", machine.output("nvpmodel", "-q") or "")
    return found[1] if found else None


def _one_line(text: str | None) -> str | None:
    return " ".join(text.split()) if text else None


def _versions() -> dict[str, str]:
    found = {}
    for name in dict.fromkeys(_DISTRIBUTIONS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
