"""fer-bench soak: its figures are written after each artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from made_results import SOAKED as RESULT

from fer_bench.cli import soak as command
from fer_edge.command import command_parser, run_command

FerBench: TypeAlias = Callable[..., tuple[int, str]]


@pytest.fixture
def fer_bench(capsys: Any) -> FerBench:
    """``fer-bench soak`` with these words, on ONNX Runtime: the exit code, and what is printed."""

    def call(*words: object) -> tuple[int, str]:
        parser = command_parser("fer-bench", "Measure models.", common=False)
        command.add_parser(parser.add_subparsers())
        code = run_command(parser, ["soak", *map(str, words), "--backend", "onnxruntime"])
        return code, "".join(capsys.readouterr())

    return call


def test_the_command_writes_figures_and_fails_where_something_does_not_hold(
    tiny_artifact: Path, fer_bench: FerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "soak.json"
    seen = iter([RESULT, replace(RESULT, defects=("3 wrong answers",))])
    monkeypatch.setattr(command, "soak", lambda *_, **__: next(seen))
    code, printed = fer_bench(tiny_artifact, "--minutes", 1, "--json", result)
    assert code == 0
    assert f"{tiny_artifact} on onnxruntime: holds" in printed
    (entry,) = json.loads(result.read_text())["results"]
    assert (entry["backend"], entry["wrong"], entry["defects"]) == ("onnxruntime", 0, [])
    code, printed = fer_bench(tiny_artifact, "--minutes", 1)
    assert code == 1
    assert f"{tiny_artifact} on onnxruntime: 3 wrong answers" in printed


def test_figures_survive_what_stops_the_next_soak(
    tiny_artifact: Path, fer_bench: FerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "soak.json"
    seen = iter([replace(RESULT, model="first")])
    monkeypatch.setattr(command, "soak", lambda *_, **__: next(seen))
    with pytest.raises(StopIteration):
        fer_bench(tiny_artifact, tiny_artifact, "--json", result)
    assert [one["model"] for one in json.loads(result.read_text())["results"]] == ["first"]
