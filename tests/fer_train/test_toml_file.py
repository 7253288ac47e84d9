"""TOML on every Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fer_edge.errors import MissingDependencyError
from fer_train.toml_file import read_toml


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("epochs = 3\n")
    assert read_toml(path, "the recipe") == {"epochs": 3}


def test_without_a_reader_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Python 3.10, which has none of its own."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(MissingDependencyError, match=r"tomli .* pip install 'fer-edge\[train\]'"):
        read_toml(tmp_path / "x.toml", "the recipe")
