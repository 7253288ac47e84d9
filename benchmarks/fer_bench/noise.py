"""Whether other load, changed clocks or throttling disturbed a measurement."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median

from fer_edge.system.machine import Machine
from fer_edge.system.timing import call_times

OTHER_LOAD, STOLEN, SPEED_SPREAD, FREQUENCY_SPREAD = 0.05, 0.02, 0.10, 0.25
"""Shares of 1 above which a machine counts as noisy."""

_PROBE = bytes(1 << 20)
_PROBES = 5


@dataclass(frozen=True)
class Noise:
    """The verdict over all turns; ``findings`` are sentences, empty on a quiet machine.

    Loads and stolen time are shares of all cores' time. What the system does not report is None.
    """

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


def _own_cpu() -> float:
    """Seconds of CPU of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _probe() -> float:
    """Median time of hashing a MiB, in ms: follows the clock of a core on every system."""
    return median(call_times(lambda: hashlib.sha256(_PROBE).digest(), fewest=_PROBES)) * 1e3


class NoiseWatch:
    """Looks at the machine before and after everything, and around each turn.

    ``probes`` are how long a fixed piece of work took on one core before each turn, in ms.
    """

    def __init__(
        self,
        machine: Machine | None = None,
        *,
        own_cpu: Callable[[], float] = _own_cpu,
        clock: Callable[[], float] = time.perf_counter,
        probe: Callable[[], float] = _probe,
        cores: int | None = None,
    ) -> None:
        self._machine = machine or Machine()
        self._own_cpu, self._clock, self._probe = own_cpu, clock, probe
        self._cores = cores or os.cpu_count() or 1
        self._throttled = self._machine.throttle_events()
        self._temperatures = self._machine.temperatures_c()
        self._slowdowns = self._machine.gpu_slowdowns()
        self.probes: list[float] = []
        self._others: list[float] = []
        self._stolen: list[float] = []
        self._clocks: list[float] = []

    @contextmanager
    def around(self) -> Iterator[None]:
        """Watch what runs within; a turn that raises is not counted."""
        probe, clocks = self._probe(), self._machine.frequencies_mhz()
        start, own_before, before = self._clock(), self._own_cpu(), self._machine.cpu_times()
        yield
        end, own_after, after = self._clock(), self._own_cpu(), self._machine.cpu_times()
        capacity = max(end - start, 1e-9) * self._cores
        self.probes.append(probe)
        if before and after:
            busy = after.busy_s - before.busy_s - (own_after - own_before)
            self._others.append(max(0.0, busy / capacity))
            self._stolen.append(max(0.0, (after.stolen_s - before.stolen_s) / capacity))
        if clocks := [*clocks, *self._machine.frequencies_mhz()]:
            self._clocks.append(fmean(clocks))

    def verdict(self) -> Noise:
        """Judge everything so far."""
        others, stolen, clocks = sorted(self._others), self._stolen, sorted(self._clocks)
        spread = _spread(sorted(self.probes))
        now = self._machine.throttle_events()
        events = None if now is None or self._throttled is None else now - self._throttled
        slowdowns = sorted({*self._slowdowns, *self._machine.gpu_slowdowns()})
        findings = []
        if others and fmean(others) > OTHER_LOAD:
            findings.append(
                f"other processes took {fmean(others):.0%} of the cores' time on average, "
                f"{others[-1]:.0%} at most"
            )
        if stolen and fmean(stolen) > STOLEN:
            findings.append(f"the hypervisor took {fmean(stolen):.0%} of the cores' time")
        if spread > SPEED_SPREAD:
            findings.append(
                f"the speed of a core changed: the same work took {spread:.0%} longer in the slow "
                "tenth of the turns than in the fast tenth"
            )
        if _spread(clocks) > FREQUENCY_SPREAD:
            span = f"{clocks[0]:.0f} and {clocks[-1]:.0f} MHz"
            findings.append(f"the clock of the cores changed between {span}")
        if events:
            findings.append(f"cores were throttled {events} times because of their heat")
        if slowdowns:
            findings.append(f"a GPU ran below its clocks: {', '.join(slowdowns)}")
        return Noise(
            quiet=not findings,
            findings=tuple(findings),
            other_load_mean=fmean(others) if others else None,
            other_load_max=others[-1] if others else None,
            stolen_mean=fmean(stolen) if stolen else None,
            speed_spread=spread,
            frequency_min_mhz=clocks[0] if clocks else None,
            frequency_max_mhz=clocks[-1] if clocks else None,
            throttle_events=events,
            gpu_slowdowns=tuple(slowdowns),
            temperatures_before_c=self._temperatures,
            temperatures_after_c=self._machine.temperatures_c(),
        )


def _spread(ordered: Sequence[float]) -> float:
    """How much larger the 90th percentile is than the 10th, as a share."""
    tenth = len(ordered) // 10
    return ordered[-1 - tenth] / ordered[tenth] - 1 if ordered else 0.0
