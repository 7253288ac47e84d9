"""What the system tells, from files and tools that the test wrote; and the verdict on noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fer_bench.environment import Environment, describe_environment, differences
from fer_bench.noise import NoiseWatch
from fer_edge.artifacts.record import decode, encode
from fer_edge.system.machine import CpuTimes, Machine


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


CPU0 = "sys/devices/system/cpu/cpu0"
JETSON = {
    "proc/cpuinfo": "processor: 0\nmodel name: ARMv8 rev 1\nFeatures: fp asimd asimddp\n",
    "proc/meminfo": "MemTotal:        7802436 kB\n",
    "proc/stat": "cpu  100 50 25 1000 0 5 20 10 0 0\ncpu0 1 2 3\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
    "etc/os-release": 'NAME=x\nPRETTY_NAME="Ubuntu 22.04"\n',
    f"{CPU0}/cpufreq/scaling_governor": "schedutil\n",
    f"{CPU0}/cpufreq/scaling_cur_freq": "1510400\n",
    f"{CPU0}/thermal_throttle/core_throttle_count": "3\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
}


def tools(command: Sequence[str]) -> str | None:
    if command[0] == "nvpmodel":
        return "NV Power Mode: 15W\n0\n"
    if command[0] == "nvidia-smi" and "name" in command[1]:
        return "Orin, 540.3.0, 7620, 624\n"
    if command[0] == "nvidia-smi":
        return "Not Active, Active, Not Active, Not Active\n"
    return None


@pytest.fixture
def jetson(tmp_path: Path) -> Machine:
    write(tmp_path, JETSON)
    return Machine(tmp_path, tools)


def test_the_environment_is_read_from_the_system(jetson: Machine) -> None:
    found = describe_environment(jetson)
    assert found.board == "NVIDIA Jetson Orin Nano"
    assert found.system.startswith("Ubuntu 22.04, kernel ")
    assert (found.cpu.model, found.cpu.flags) == ("ARMv8 rev 1", ("NEON", "NEON dotprod"))
    assert (found.cpu.governor, found.cpu.frequency_mhz) == ("schedutil", (1510,))
    assert found.memory_mb == 7619
    assert found.temperatures_c == {"cpu-thermal": 48.5}
    assert found.power_mode == "15W"
    assert [(gpu.name, gpu.driver, gpu.clocks_mhz) for gpu in found.gpus] == [
        ("Orin", "540.3.0", "624")
    ]
    assert found.hypervisor is False
    assert "numpy" in found.versions


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    found = describe_environment(Machine(tmp_path, lambda _: None))
    assert (found.board, found.memory_mb, found.hypervisor, found.power_mode) == (None,) * 4
    assert (found.gpus, found.temperatures_c, found.cpu.flags) == ((), {}, ())


def test_this_very_machine_can_be_described() -> None:
    found = describe_environment()
    assert decode(Environment, encode(found), "x") == found


def test_differences_are_told_one_by_one(jetson: Machine, tmp_path: Path) -> None:
    old = describe_environment(jetson)
    assert differences(old, old) == []
    write(tmp_path, {f"{CPU0}/cpufreq/scaling_governor": "performance"})
    new = describe_environment(jetson)
    assert differences(old, new) == ["governor: schedutil → performance"]


def test_load_is_read_in_seconds(jetson: Machine) -> None:
    # 100 ticks a second: user, nice, system and interrupts; steal apart
    assert jetson.cpu_times() == CpuTimes(pytest.approx(2.0), pytest.approx(0.1))
    assert jetson.throttle_events() == 3
    assert jetson.gpu_slowdowns() == ["software thermal"]


class FakeMachine(Machine):
    """Busy seconds and throttle counts as a script says, reading after reading."""

    def __init__(
        self,
        times: list[CpuTimes | None],
        throttled: list[int] | None = None,
        clocks: Sequence[int] = (),
    ) -> None:
        super().__init__(Path("/no system"), lambda _: None)
        self._times, self._throttled = iter(times), iter(throttled or [])
        self._clocks = iter(clocks)

    def cpu_times(self) -> CpuTimes | None:
        return next(self._times)

    def throttle_events(self) -> int | None:
        return next(self._throttled, None)

    def frequencies_mhz(self) -> list[int]:
        return [clock for clock in [next(self._clocks, 0)] if clock]


def watched(
    times: list[CpuTimes | None],
    *,
    own: Sequence[float] = (0.0, 1.0),
    probes: Sequence[float] = (1.0,),
    throttled: list[int] | None = None,
    clocks: Sequence[int] = (),
) -> NoiseWatch:
    """Watch turns of one second on two cores; ``own`` is our CPU time before and after each."""
    count = len(times) // 2
    clock = iter([float(t) for t in range(2 * count)])
    own_cpu = iter(list(own) * count)
    probe = iter(list(probes) * count)
    watch = NoiseWatch(
        FakeMachine(times, throttled, clocks),
        own_cpu=lambda: next(own_cpu),
        clock=lambda: next(clock),
        probe=lambda: next(probe),
        cores=2,
    )
    for _ in range(count):
        with watch.around():
            pass
    return watch


def busy(seconds: float, stolen: float = 0.0) -> list[CpuTimes | None]:
    return [CpuTimes(100.0, 0.0), CpuTimes(100.0 + seconds, stolen)]


def test_our_own_load_is_no_noise() -> None:
    noise = watched(busy(1.02) * 3).verdict()
    assert noise.quiet
    assert noise.other_load_mean == pytest.approx(0.01)


def test_load_of_others_is_found() -> None:
    noise = watched(busy(1.8) * 3).verdict()
    assert not noise.quiet
    assert noise.other_load_mean == pytest.approx(0.4)
    assert "other processes took 40% of the cores' time on average" in noise.findings[0]


@pytest.mark.parametrize(
    ("watch", "finding"),
    [
        (watched(busy(1.0, stolen=0.2) * 3), "the hypervisor took 10% of the cores' time"),
        (
            watched(busy(1.0) * 20, probes=[1.0] * 10 + [1.3] * 10),
            "the speed of a core changed: the same work took 30% longer in the slow tenth of the "
            "turns than in the fast tenth",
        ),
        (
            watched(busy(1.0) * 20, clocks=[3000] * 20 + [2000] * 20),  # before and after each
            "the clock of the cores changed between 2000 and 3000 MHz",
        ),
        (
            watched(busy(1.0), throttled=[4, 6]),
            "cores were throttled 2 times because of their heat",
        ),
    ],
    ids=["hypervisor", "speed", "clock", "heat"],
)
def test_what_disturbs_is_found(watch: NoiseWatch, finding: str) -> None:
    assert watch.verdict().findings == (finding,)


@pytest.mark.parametrize(
    "watch",
    [
        watched(busy(1.0) * 20, probes=[1.0] * 19 + [2.0]),
        watched(busy(1.0) * 20, clocks=[3000] * 38 + [2000] * 2),
    ],
    ids=["probe", "clock"],
)
def test_a_single_turn_that_is_slow_is_no_noise(watch: NoiseWatch) -> None:
    assert watch.verdict().quiet


def test_a_machine_that_tells_nothing_is_judged_by_its_speed_alone() -> None:
    noise = watched([None] * 6).verdict()
    assert noise.quiet
    assert (noise.other_load_mean, noise.stolen_mean, noise.throttle_events) == (None, None, None)


def test_this_very_machine_can_be_watched() -> None:
    watch = NoiseWatch()
    with watch.around():
        sum(range(100_000))
    (probe_ms,) = watch.probes
    assert probe_ms > 0
    watch.verdict()
