"""How many threads an engine gets by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_edge.system import cores


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A system with eight cores, and its control groups in this folder."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("_QUOTA_V2", "_QUOTA_V1", "_PERIOD_V1"):
        monkeypatch.setattr(cores, name, tmp_path / name)
    return tmp_path


@pytest.mark.usefixtures("system")
def test_without_a_bound_the_affinity_counts() -> None:
    assert cores.usable_cores() == 8


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1),
     ("1600000 100000", 8), ("nonsense", 8)],
)  # fmt: skip
def test_a_containers_quota_counts(system: Path, quota: str, expected: int) -> None:
    (system / "_QUOTA_V2").write_text(f"{quota}\n")
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_an_older_containers_quota_counts(system: Path, quota: str, expected: int) -> None:
    (system / "_QUOTA_V1").write_text(f"{quota}\n")
    (system / "_PERIOD_V1").write_text("100000\n")
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("usable", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_half_are_left_to_others(
    monkeypatch: pytest.MonkeyPatch, usable: int, threads: int
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    assert cores.default_threads() == threads
