"""What Predictor adds to its engine."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_edge import EngineError
from fer_edge.backends import BackendOptions
from pages.__main__ import main
from pages.overhead import (
    LIMITS,
    Overhead,
    Start,
    failures,
    measure_overhead,
    measure_start,
    table,
)

KEPT = (
    Overhead("onnxruntime", "CPUExecutionProvider", "fp32", 1, 1, 59.0, 24.0, 0.91, 0.8, 0.9),
    Start(0.1, 0.4, 149.0),
)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_is_measured(tiny_artifact: Path, backend: str) -> None:
    pytest.importorskip(backend)
    given = measure_overhead(tiny_artifact, backend, options=BackendOptions(threads=1), rounds=5)
    assert (given.backend, given.precision) == (backend, "fp32")
    assert math.isfinite(given.predict_us)  # a difference, which a busy machine may turn around
    assert math.isfinite(given.batch_us)
    assert min(given.stream_share, given.stream_share_all_cores, given.prediction_us) > 0


def test_a_start_is_measured(tiny_artifact: Path) -> None:
    given = measure_start(
        tiny_artifact, "onnxruntime", options=BackendOptions(threads=1), processes=1
    )
    assert min(given.import_s, given.first_answer_s) > 0
    assert 20 < given.memory_mb < 1000


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"precision": "int8"}, "the artifact is fp32, and int8 was asked for"),
        ({"options": BackendOptions(inference_precision="bf16")}, "ONNX Runtime computes as"),
    ],
)
def test_a_start_is_that_of_what_was_asked_for(
    tiny_artifact: Path, wish: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        measure_start(tiny_artifact, "onnxruntime", processes=1, **wish)


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no model at"):
        measure_start(tmp_path / "gone.onnx", "onnxruntime", processes=1)


def test_limits_that_are_kept_are_no_failures() -> None:
    assert failures(*KEPT) == []


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_is_not_kept_is_named(name: str) -> None:
    overhead, start = KEPT
    beyond = LIMITS[name] * (0.9 if name == "stream_share" else 1.1)
    if hasattr(overhead, name):
        overhead = replace(overhead, **{name: beyond})
    else:
        start = replace(start, **{name: beyond})
    assert [problem.split()[0] for problem in failures(overhead, start)] == [name]


def test_the_table_has_everything_and_its_limit() -> None:
    overhead, start = KEPT
    other = replace(overhead, backend="openvino", precision="int8", predict_us=31.0)
    text = table([KEPT, (other, start)])
    assert text.startswith("| what | onnxruntime, fp32 | openvino, int8 | wanted |\n")
    assert "| `predict`, beyond the engine's call | 59 µs | 31 µs | at most 60 µs |" in text
    assert "| 91% | 91% | at least 90% |" in text
    assert len(text.splitlines()) == 2 + len(LIMITS) + 1
    assert "| the same with every core for the engine | 80% | 80% | - |" in text


def test_the_command_writes_a_page_and_json(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, result = tmp_path / "page.md", tmp_path / "out.json"
    page.write_text("before\n<!-- overhead -->\nold\n<!-- /overhead -->\nafter\n")
    arguments = ["overhead", str(tiny_artifact), "--backend", "onnxruntime", "--threads", "1"]
    arguments += ["--rounds", "2", "--write", str(page), "--json", str(result)]
    assert main(arguments) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "beyond the engine's call" in text
    assert "beyond the engine's call" in capsys.readouterr().out
    assert json.loads(result.read_text())["schema"] == "fer-pages-overhead/2"


def test_a_limit_that_is_not_kept_fails_the_check(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "predict_us", 0.01)
    arguments = ["overhead", str(tiny_artifact), "--backend", "onnxruntime", "--rounds", "1"]
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 1
