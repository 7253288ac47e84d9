"""What machine this is and what it does, from /proc, /sys and the tools that some boards have.

All of it is optional: what this system does not tell is None or empty.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_EXTENSIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "asimddp": "NEON dotprod",
    "i8mm": "NEON i8mm",
    "bf16": "NEON BF16",
    "sve": "SVE",
}
_SECONDS = 10
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of all cores together since the system started.

    ``stolen_s`` is the time that a hypervisor gave to other machines.
    """

    busy_s: float
    stolen_s: float


def _run(command: Sequence[str]) -> str | None:
    import subprocess  # a device that only predicts does not need it

    try:
        answer = subprocess.run(  # noqa: S603 - fixed commands
            list(command), capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


class Machine:
    """The system below ``root``; ``run`` gives a command's output, or None if it fails."""

    def __init__(
        self, root: Path = Path("/"), run: Callable[[Sequence[str]], str | None] = _run
    ) -> None:
        self._root = root
        self._run = run

    def text(self, path: str) -> str | None:
        """A file's text without white space at its ends."""
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return None

    def paths(self, pattern: str) -> list[str]:
        """Existing files that fit a pattern, relative to the root."""
        return sorted(str(path.relative_to(self._root)) for path in self._root.glob(pattern))

    def numbers(self, pattern: str) -> dict[str, int]:
        """The whole number in each file that fits, by its path."""
        found = {path: self.text(path) for path in self.paths(pattern)}
        return {path: int(text) for path, text in found.items() if text and _is_whole(text)}

    def output(self, *command: str) -> str | None:
        """What a command prints, or None."""
        return self._run(command)

    def cpu_field(self, *names: str) -> str | None:
        """The first value in ``/proc/cpuinfo`` with one of these names."""
        for line in (self.text("proc/cpuinfo") or "").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key in names and value:
                return value
        return None

    def cpu_extensions(self) -> tuple[str, ...]:
        """The instruction sets of the processor that inference engines use."""
        has = set((self.cpu_field("flags", "Features") or "").split())
        return tuple(name for flag, name in _EXTENSIONS.items() if flag in has)

    def cpu_name(self) -> str:
        """The name of the board, else of the processor, else its architecture.

        Boards go first, since all their processors are called ``ARMv8`` or nothing.
        """
        named = self.text("proc/device-tree/model") or self.cpu_field("model name", "Model")
        return named or platform.processor() or platform.machine()

    def cpu_times(self) -> CpuTimes | None:
        """Load of all cores since the system started."""
        fields = re.match(r"cpu +([\d ]+)", self.text("proc/stat") or "")
        if not fields:
            return None
        user, nice, system, _, _, interrupt, soft, steal = (
            [int(value) / _TICKS for value in fields[1].split()] + [0.0] * 8
        )[:8]
        return CpuTimes(user + nice + system + interrupt + soft, steal)

    def frequencies_mhz(self) -> list[int]:
        """The present clock of each core."""
        pattern = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
        return [khz // 1000 for khz in self.numbers(pattern).values()]

    def throttle_events(self) -> int | None:
        """How often a core was slowed down because of its heat since the system started."""
        pattern = "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"
        counts = self.numbers(pattern)
        return sum(counts.values()) if counts else None

    def temperatures_c(self) -> dict[str, float]:
        """Temperatures by the name of their zone."""
        found = {}
        for path, value in self.numbers("sys/class/thermal/thermal_zone*/temp").items():
            zone = path.rsplit("/", 1)[0]
            found[f"{self.text(f'{zone}/type') or zone.rsplit('/', 1)[1]}"] = value / 1000
        return found

    def gpu_slowdowns(self) -> list[str]:
        """Why NVIDIA GPUs run below their clocks now, other than being idle."""
        said = self.output(
            "nvidia-smi",
            "--query-gpu=clocks_throttle_reasons.hw_slowdown,clocks_throttle_reasons.sw_thermal_slowdown,"
            "clocks_throttle_reasons.hw_thermal_slowdown,clocks_throttle_reasons.sw_power_cap",
            "--format=csv,noheader",
        )
        names = ("hardware slowdown", "software thermal", "hardware thermal", "power cap")
        found = set()
        for line in (said or "").splitlines():
            states = [state.strip() for state in line.split(",")]
            found |= {n for n, s in zip(names, states, strict=False) if s == "Active"}
        return sorted(found)


def cpu_name(root: Path = Path("/")) -> str:
    """What measurements of this machine are kept under: the processor and its instruction sets.

    The name alone is not enough: clouds give processors of several generations the same one.
    ``root`` is the folder that holds ``proc``.
    """
    machine = Machine(root)
    extensions = ", ".join(machine.cpu_extensions())
    return f"{machine.cpu_name()} ({extensions})" if extensions else machine.cpu_name()


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+", text) is not None
