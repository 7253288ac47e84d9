"""Tests read the bindings that ``make bindings`` fetched, and fetch none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tensorrt_double import bindings


@pytest.mark.parametrize("release", bindings.RELEASES)
def test_what_was_not_fetched_is_told_with_the_verb_that_fetches_it(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a test fetches"))
    with pytest.raises(bindings.UnavailableError, match="make bindings"):
        bindings.find(release, tmp_path)
    with pytest.raises(bindings.UnavailableError, match="make bindings"):
        bindings.load(release, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_fetched_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(bindings, "CACHE", tmp_path)
    bindings.main()
    said = capsys.readouterr().out
    assert "no bindings of TensorRT 10.3, so tests of it will be skipped: pip cannot" in said
    assert list(tmp_path.iterdir()) == []
