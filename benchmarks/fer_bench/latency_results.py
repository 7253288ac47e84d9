"""The results of a latency run."""

from __future__ import annotations

from dataclasses import dataclass

from fer_bench.environment import Environment
from fer_bench.noise import Noise
from fer_bench.results import RunResult, exit_code_of
from fer_bench.scenarios import Settings

_KEY = (
    "model", "kind", "scenario", "batch", "query",
    "backend", "device", "precision", "inference_precision", "threads",
)  # fmt: skip

Interval = tuple[float, ...]


@dataclass(frozen=True)
class RoundSummary:
    """One round of a row; times in ms."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    throughput_per_s: float
    cold_ms: float


@dataclass(frozen=True)
class LatencyRow:
    """One candidate in one scenario; what was not measured is None, and ``error`` says why.

    ``exit_code`` is what the command would end with if the error were all; 0 without one.

    Percentiles are nearest-rank over the queries of all rounds, in ms. ``count`` is the number of
    queries; each has ``query`` crops and is answered in calls of ``batch``. ``stages_ms`` and
    ``cold_ms`` are medians over rounds. ``cold_ms`` runs from the start of a process to its first
    answer, with the files in the page cache. ``cpu_s_per_1000`` is CPU time for 1,000 crops.
    ``rate_per_s`` is the rate that a server held.
    """

    model: str
    kind: str
    title: str
    sha256: str | None
    backend: str
    version: str | None
    device: str
    provider: str | None
    precision: str | None
    inference_precision: str | None
    threads: int | None
    batch: int
    query: int
    clients: int | None
    scenario: str
    error: str | None = None
    exit_code: int = 0
    notes: tuple[str, ...] = ()
    count: int = 0
    p50_ms: float | None = None
    p50_ci95: Interval | None = None
    p90_ms: float | None = None
    p90_ci95: Interval | None = None
    p99_ms: float | None = None
    p99_ci95: Interval | None = None
    mean_ms: float | None = None
    max_ms: float | None = None
    throughput_per_s: float | None = None
    throughput_ci95: Interval | None = None
    rate_per_s: float | None = None
    p99_bound_ms: float | None = None
    stages_ms: dict[str, float] | None = None
    cold_ms: float | None = None
    load_ms: float | None = None
    first_call_ms: float | None = None
    rss_mb: float | None = None
    peak_rss_mb: float | None = None
    cpu_s_per_1000: float | None = None
    size_bytes: int | None = None
    rounds: tuple[RoundSummary, ...] = ()

    @property
    def name(self) -> str:
        """How tables call the model."""
        return f"{self.model} (bare engine)" if self.kind == "bare" else self.model

    @property
    def precisions(self) -> str:
        """The artifact's precision, and the one that the engine computes in if it is another."""
        own, computed = self.precision, self.inference_precision
        if own is None:
            return "-"
        return own if computed in (own, None, "unknown") else f"{own} in {computed}"

    @property
    def is_one_crop(self) -> bool:
        """Whether it is the latency of one crop after the other."""
        return (self.scenario, self.batch) == ("single-stream", 1)

    @property
    def place(self) -> str:
        """Engine and precision, then threads, scenario and batch where they are not the usual."""
        parts = [self.backend, self.precisions]
        parts += [f"{self.threads} threads"] if self.threads and self.threads > 1 else []
        parts += [self.scenario] if self.scenario != "single-stream" else []
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        return ", ".join(parts)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same candidate in another run; its artifact may have changed."""
        return tuple(getattr(self, name) for name in _KEY)


@dataclass(frozen=True)
class Ratio:
    """The p50 of row ``first`` over that of row ``second``, both of the same rounds."""

    first: int
    second: int
    p50_ratio: float
    ci95: Interval | None


@dataclass(frozen=True, kw_only=True)
class LatencyRun(RunResult):
    """A run of ``fer-bench latency``. ``rounds`` counts the complete ones."""

    schema: str = "fer-bench-latency/1"
    environment: Environment
    settings: Settings
    noise: Noise
    rounds: int
    interrupted: bool
    results: tuple[LatencyRow, ...]
    ratios: tuple[Ratio, ...] = ()
    measured_at: str = ""

    @property
    def failed(self) -> bool:
        """Whether any row is an error."""
        return any(row.error for row in self.results)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 where every row has figures."""
        failures = [row.exit_code for row in self.results if row.error]
        return exit_code_of(failures, measured=len(failures) < len(self.results))
