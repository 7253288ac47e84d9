"""Whether something else disturbed a measurement: other load, changed clocks, throttling."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median

from fer_edge.system.machine import CpuTimes, Machine
from fer_edge.system.timing import call_times

__all__ = ["Noise", "NoiseWatch", "Reading"]

OTHER_LOAD = 0.05
STOLEN = 0.02
SPEED_SPREAD = 0.10
FREQUENCY_SPREAD = 0.25
"""Shares of 1 above which a machine counts as noisy."""

_PROBE = bytes(1 << 20)
_PROBES = 5


@dataclass(frozen=True)
class Reading:
    """What else happened during one turn.

    ``other_load`` and ``stolen`` are shares of all cores' time, None where the system does not
    tell; ``probe_ms`` is how long a fixed piece of work took on one core just before.
    """

    other_load: float | None
    stolen: float | None
    probe_ms: float
    frequency_mhz: float | None


@dataclass(frozen=True)
class Noise:
    """The verdict over all turns; ``findings`` are sentences, empty on a quiet machine."""

    quiet: bool
    findings: tuple[str, ...]
    other_load_mean: float | None
    other_load_max: float | None
    stolen_mean: float | None
    speed_spread: float
    frequency_min_mhz: float | None
    frequency_max_mhz: float | None
    throttle_events: int | None
    gpu_slowdowns: tuple[str, ...]
    temperatures_before_c: dict[str, float]
    temperatures_after_c: dict[str, float]


class NoiseWatch:
    """Looks at the machine before and after everything, and around each turn."""

    def __init__(
        self,
        machine: Machine | None = None,
        *,
        own_cpu: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        probe: Callable[[], float] | None = None,
        cores: int | None = None,
    ) -> None:
        self._machine = machine or Machine()
        self._own_cpu = own_cpu or _own_cpu
        self._clock, self._probe = clock, probe or _probe
        self._cores = cores or os.cpu_count() or 1
        self._throttled = self._machine.throttle_events()
        self._temperatures = self._machine.temperatures_c()
        self._slowdowns = self._machine.gpu_slowdowns()
        self.readings: list[Reading] = []

    @contextmanager
    def around(self) -> Iterator[None]:
        """Watch what runs within; a turn that raises is not counted."""
        probe = self._probe()
        frequencies = self._machine.frequencies_mhz()
        begin = self._now()
        yield
        self.readings.append(self._read(begin, probe, frequencies))

    def verdict(self) -> Noise:
        """Judge everything so far."""
        others = _known([reading.other_load for reading in self.readings])
        stolen = _known([reading.stolen for reading in self.readings])
        clocks = _known([reading.frequency_mhz for reading in self.readings])
        probes = sorted(reading.probe_ms for reading in self.readings)
        spread = _spread(probes)
        now = self._machine.throttle_events()
        events = None if now is None or self._throttled is None else now - self._throttled
        slowdowns = sorted({*self._slowdowns, *self._machine.gpu_slowdowns()})
        findings = []
        if others and fmean(others) > OTHER_LOAD:
            findings.append(
                f"other processes took {fmean(others):.0%} of the cores' time on average, "
                f"{max(others):.0%} at most"
            )
        if stolen and fmean(stolen) > STOLEN:
            findings.append(f"the hypervisor took {fmean(stolen):.0%} of the cores' time")
        if spread > SPEED_SPREAD:
            findings.append(
                f"the speed of a core changed: the same work took {spread:.0%} longer in the slow "
                "tenth of the turns than in the fast tenth"
            )
        if _spread(sorted(clocks)) > FREQUENCY_SPREAD:
            findings.append(
                f"the clock of the cores changed between {min(clocks):.0f} and "
                f"{max(clocks):.0f} MHz"
            )
        if events:
            findings.append(f"cores were throttled for their heat {events} times")
        if slowdowns:
            findings.append(f"a GPU ran below its clocks: {', '.join(slowdowns)}")
        return Noise(
            quiet=not findings,
            findings=tuple(findings),
            other_load_mean=fmean(others) if others else None,
            other_load_max=max(others) if others else None,
            stolen_mean=fmean(stolen) if stolen else None,
            speed_spread=spread,
            frequency_min_mhz=min(clocks) if clocks else None,
            frequency_max_mhz=max(clocks) if clocks else None,
            throttle_events=events,
            gpu_slowdowns=tuple(slowdowns),
            temperatures_before_c=self._temperatures,
            temperatures_after_c=self._machine.temperatures_c(),
        )

    def _now(self) -> tuple[float, float, CpuTimes | None]:
        return self._clock(), self._own_cpu(), self._machine.cpu_times()

    def _read(
        self, begin: tuple[float, float, CpuTimes | None], probe: float, before: list[int]
    ) -> Reading:
        (start, own_before, cpu_before), (end, own_after, cpu_after) = begin, self._now()
        capacity = max(end - start, 1e-9) * self._cores
        other = stolen = None
        if cpu_before and cpu_after:
            busy = cpu_after.busy_s - cpu_before.busy_s - (own_after - own_before)
            other = max(0.0, busy / capacity)
            stolen = max(0.0, (cpu_after.stolen_s - cpu_before.stolen_s) / capacity)
        clocks = [*before, *self._machine.frequencies_mhz()]
        return Reading(other, stolen, probe, fmean(clocks) if clocks else None)


def _own_cpu() -> float:
    """Seconds of CPU of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _probe() -> float:
    """Median time of hashing a MiB, in ms: follows the clock of a core wherever we run."""
    return median(call_times(lambda: hashlib.sha256(_PROBE).digest(), fewest=_PROBES)) * 1e3


def _spread(ordered: Sequence[float]) -> float:
    if not ordered:
        return 0.0
    tenth = len(ordered) // 10
    return ordered[-1 - tenth] / ordered[tenth] - 1


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
