"""fer-bench soak: its figures are written after each artifact, and can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from fer_bench.cli import soak as command
from fer_bench.pages import markers
from fer_bench.soak.load import TOLERANCE
from fer_edge import ConfigurationError
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


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "reliability.md"
    file.write_text("\n".join(["# Reliability", *markers(command.BLOCK), ""]))
    return file


def test_the_command_writes_figures_and_fails_where_something_does_not_hold(
    tiny_artifact: Path,
    fer_bench: FerBench,
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = tmp_path / "soak.json"
    words = [tiny_artifact, "--minutes", 0.03, "--page", page, "--json", result]
    code, printed = fer_bench(*words)
    assert code == 0, printed
    assert f"{tiny_artifact} on onnxruntime: holds" in printed
    (entry,) = json.loads(result.read_text())["results"]
    assert (entry["backend"], entry["wrong"], entry["defects"]) == ("onnxruntime", 0, [])
    assert "| 0.03 | 4 |" in page.read_text()
    monkeypatch.setitem(TOLERANCE, "fp32", -1.0)
    assert fer_bench(*words)[0] == 1
    assert "wrong answers" in page.read_text()


def test_figures_outlive_what_stops_the_next_soak(
    tiny_artifact: Path,
    fer_bench: FerBench,
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, both = tmp_path / "first.json", tmp_path / "both.json"
    assert fer_bench(tiny_artifact, "--minutes", 0.03, "--json", first)[0] == 0
    (measured,) = json.loads(first.read_text())["results"]
    soaks = iter([command.SoakResult(**{**measured, "model": "another"})])
    monkeypatch.setattr(command, "soak", lambda *_, **__: next(soaks))
    with pytest.raises(StopIteration):
        fer_bench(tiny_artifact, tiny_artifact, "--take", first, "--json", both, "--page", page)
    names = [entry["model"] for entry in json.loads(both.read_text())["results"]]
    assert names == [measured["model"], "another"]
    rows = page.read_text()
    assert rows.index(f"| {measured['model']} |") < rows.index("| another |")


def test_earlier_results_make_a_page_without_another_soak(
    tiny_artifact: Path, fer_bench: FerBench, page: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "soak.json"
    assert fer_bench(tiny_artifact, "--minutes", 0.03, "--json", earlier)[0] == 0
    words = ["--take", earlier, "--take", earlier, "--page", page]
    assert fer_bench(*words, "--note", "Side by side.")[0] == 0
    assert page.read_text().count("| holds |") == 2
    assert ". Side by side.\n" in page.read_text()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "JSON"),
        ('{"schema": "fer-bench-soak/1", "results": []}', "damaged"),
        ('{"schema": "fer-bench-soak/1", "results": [{"calls": 1}]}', "lacks the fields"),
        ('{"schema": "fer-bench-latency/1", "results": []}', "fer-bench-soak/1"),
    ],
)
def test_another_file_is_no_earlier_result(
    content: str, word: str, fer_bench: FerBench, page: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.json"
    other.write_text(content)
    before = page.read_text()
    code, printed = fer_bench("--take", other, "--page", page)
    assert code == ConfigurationError.exit_code
    assert word in printed
    assert page.read_text() == before
