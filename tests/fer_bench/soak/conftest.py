"""Soaks that are short."""

from __future__ import annotations

import pytest

from fer_bench.soak import observation, run


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is enough to see what is put in on purpose."""
    monkeypatch.setattr(run, "_SAMPLE_S", 0.02)
    monkeypatch.setattr(run, "SHORTEST_S", 0.9)
    monkeypatch.setattr(observation, "_PAUSE_S", 0.01)
    monkeypatch.setattr(run, "REOPENED", 6)
    # a process of one second is still growing by itself
    monkeypatch.setattr(run, "MAX_MEMORY_GROWTH", 0.2)
    monkeypatch.setattr(run, "P99_ALLOWANCE", 1e9)  # other processes decide that here
