"""docs/reliability.md, from results of fer-bench soak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_results import SOAKED as RESULT

from fer_bench.soak.run import SoakRun
from fer_edge import ConfigurationError
from fer_edge.artifacts.record import encode
from fer_edge.system.files import write_json
from pages.__main__ import main
from pages.blocks import markers


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "reliability.md"
    file.write_text("\n".join(["# Reliability", *markers("soak"), ""]))
    return file


def test_every_result_becomes_a_row(page: Path, tmp_path: Path) -> None:
    results = tmp_path / "soak.json"
    write_json(results, encode(SoakRun(results=(RESULT,))))
    words = ["soak", str(results), str(results), "--page", str(page), "--note", "Side by side."]
    assert main(words) == 0
    text = page.read_text()
    assert text.count("| m | onnxruntime | 1 | 4 | 1,000 |") == 2
    assert "a board, on 2 of its cores, 2026-11. Side by side.\n" in text


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "JSON"),
        (json.dumps({"schema": SoakRun.schema, "results": []}), "damaged"),
        (json.dumps({"schema": SoakRun.schema, "results": [{"calls": 1}]}), "lacks the fields"),
        (json.dumps({"schema": "fer-bench-latency/1", "results": []}), SoakRun.schema),
    ],
)
def test_another_file_is_refused_and_the_page_stays(
    content: str, word: str, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, before = tmp_path / "other.json", page.read_text()
    other.write_text(content)
    words = ["soak", str(other), "--page", str(page)]
    assert main(words) == ConfigurationError.exit_code
    assert word in capsys.readouterr().err
    assert page.read_text() == before
