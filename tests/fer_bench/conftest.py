"""What tests of the bench share: results that are made up, and time that only tests move."""

from __future__ import annotations

import pytest
from made_results import make_run, make_sample, quiet_watch

__all__ = ["FakeTime", "fake_time", "make_run", "make_sample", "quiet_watch"]

MS = 1_000_000


class FakeTime:
    """A clock in ns that moves when something sleeps or works."""

    def __init__(self) -> None:
        self.now = 5 * MS

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(20_000, round(seconds * 1e9))

    def work(self, ms: float) -> None:
        self.now += round(ms * MS)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()
