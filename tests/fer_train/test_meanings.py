"""Every setting is explained, and what is shown is a recipe itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fer_edge.artifacts.record import encode
from fer_train.cli import main
from fer_train.meanings import MEANINGS, written_out
from fer_train.presets import PRESETS, load_recipe, preset


def names(settings: Mapping[str, Any], table: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in settings.items():
        full = f"{table}.{name}" if table else name
        nested = isinstance(value, Mapping) and name != "arguments"
        found |= names(value, full) if nested else {full}
    return found


def test_each_setting_has_a_meaning_and_nothing_else_has() -> None:
    assert names(encode(preset("dense"))) == MEANINGS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(written_out(PRESETS[name]))
    assert load_recipe(path) == PRESETS[name]


def test_the_command_needs_neither_data_nor_a_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--show-recipe", "--model", "dense", "--epochs", "7"]) == 0
    shown = capsys.readouterr().out
    assert "epochs = 7 " in shown
    for meaning in MEANINGS.values():
        assert meaning in shown
