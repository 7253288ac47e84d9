"""Where fer_edge keeps a user's data."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_edge.errors import ConfigurationError
from fer_edge.system.folders import data_folder


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FER_EDGE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_is_in_the_home_folder_by_default(tmp_path: Path) -> None:
    assert data_folder() == tmp_path / ".local/share/fer_edge"


def test_follows_xdg_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data/fer_edge"


@pytest.mark.parametrize("invalid", ["", "relative/data"])
def test_ignores_an_xdg_data_home_that_the_specification_calls_invalid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, invalid: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", invalid)
    assert data_folder() == tmp_path / ".local/share/fer_edge"


def test_fer_edge_home_comes_before_all_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("FER_EDGE_HOME", "~/mine")
    assert data_folder() == tmp_path / "mine"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigurationError, match="Set FER_EDGE_HOME"):
        data_folder()
