"""Baselines: what is kept, what is refused, and what a new recording leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.paired_tests import pack_mask
from fer_bench.regression.baseline import (
    DEFAULT_BOUNDS,
    Baseline,
    Bounds,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
    read_answer,
    write_answer,
)
from fer_bench.regression.suite import Suite
from fer_edge.errors import ConfigurationError, DataError

HITS = np.random.default_rng(0).integers(0, 2, 3589).astype(np.bool_)
ACCURACY = RecordedAccuracy(0.5, {"happy": 0.25}, 0.03, pack_mask(HITS))
CELL = RecordedCell("fp32", "a" * 64, 10, {"drawing-000": write_answer(np.full(7, 1 / 7))})
DATA = RecordedData("public-test", 3589, "d" * 64)


def test_a_baseline_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = Baseline("m", {"x.onnx[onnxruntime]": replace(CELL, accuracy=ACCURACY)}, data=DATA)
    written.write(tmp_path / "b.json")
    assert Baseline.read(tmp_path / "b.json") == written


@pytest.mark.parametrize("hits", ["AAAA", "no base64!", ""])
def test_hits_of_other_pictures_are_refused(hits: str) -> None:
    with pytest.raises(DataError, match="hits"):
        replace(ACCURACY, hits=hits).right(3589)


def test_the_file_is_sorted_and_every_answer_is_one_line(tmp_path: Path) -> None:
    Baseline("m", {"b": CELL, "a": CELL}).write(tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    assert list(json.loads(text)["cells"]) == ["a", "b"]
    assert '"drawing-000": "0.142857 0.142857 0.142857' in text


@pytest.mark.parametrize("text", ["", "0.1 0.2", "a b c d e f g", "nan 0 0 0 0 0 0"])
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="answer"):
        read_answer(text, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"surplus": 1},
        {"bounds": {}},
        {"bounds": {**{k: {} for k in DEFAULT_BOUNDS}}},
        {"model": 3},
        {"cells": {"x": {"precision": "fp32"}}},
    ],
)
def test_a_damaged_baseline_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    Baseline("m").write(tmp_path / "b.json")
    value = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps({**value, **change}))
    with pytest.raises(DataError):
        Baseline.read(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_bytes", 10**400),
        ("size_bytes", -1),
        ("mean_kl", 1e300),
        ("accuracy", {"accuracy": 1.0, "recall": {"happy": -1.0}, "ece": 0.0, "hits": ""}),
        ("accuracy", {"accuracy": 1.0, "recall": {}, "ece": 5.0, "hits": ""}),
    ],
)
def test_a_number_that_cannot_have_been_measured_is_refused(
    field: str, value: object, tmp_path: Path
) -> None:
    Baseline("m", {"x.onnx[onnxruntime]": CELL}, data=DATA).write(tmp_path / "b.json")
    content = json.loads((tmp_path / "b.json").read_text())
    content["cells"]["x.onnx[onnxruntime]"][field] = value
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="should be from 0 to"):
        Baseline.read(tmp_path / "b.json")


@pytest.mark.parametrize("name", ["\ud800", "\x1b[31m", "a\nb"])
@pytest.mark.parametrize("place", ["model", "cells", "data"])
def test_text_that_cannot_be_printed_is_refused(name: str, place: str, tmp_path: Path) -> None:
    texts = {"model": "m", "cells": "x.onnx[onnxruntime]", "data": "public-test", place: name}
    data = replace(DATA, split=texts["data"])
    Baseline(texts["model"], {texts["cells"]: CELL}, data=data).write(tmp_path / "b.json")
    with pytest.raises(DataError, match="text that cannot be printed") as refused:
        Baseline.read(tmp_path / "b.json")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_baseline_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(content)
    with pytest.raises(DataError):
        Baseline.read(tmp_path / "b.json")


def test_a_baseline_of_another_model_is_not_held_nor_written_over(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.json"
    replace(Baseline.read(workbench.baseline), model="other").write(path)
    before = path.read_bytes()
    results = Suite(sound, path, backends=["onnxruntime"]).results()
    failed = [result for result in results if result.failed]
    assert {result.name.rpartition("::")[2] for result in failed} == {"recorded"}
    rows = {row.what: (row.recorded, row.now) for row in failed[0].outcome.rows if not row.holds}
    assert rows == {"model": ("other", "gratings")}
    with pytest.raises(ConfigurationError, match="of the model 'other', and this is 'gratings'"):
        Suite(sound, path, backends=["onnxruntime"], update=True)
    assert path.read_bytes() == before


def test_bounds_that_a_reviewer_changed_survive_a_recording() -> None:
    bounds = {**DEFAULT_BOUNDS, "int8": Bounds(0.5, 1.0, 1.0, 1.0)}
    merged = Baseline("m", bounds=bounds).merged({"x[o]": CELL}, None, {"x": "a" * 64})
    assert merged.bounds == bounds


def test_a_cell_of_another_machine_is_kept_while_its_artifact_is_the_same() -> None:
    old = Baseline("m", {"x[tensorrt]": CELL, "y[tensorrt]": CELL}, data=DATA)
    files = {"x": "a" * 64, "y": "b" * 64}
    merged = old.merged({"x[onnxruntime]": CELL}, DATA, files)
    assert set(merged.cells) == {"x[tensorrt]", "x[onnxruntime]"}


def test_a_recording_without_pictures_keeps_the_accuracy_of_what_did_not_change() -> None:
    old = Baseline("m", {"x[o]": replace(CELL, accuracy=ACCURACY)}, data=DATA)
    merged = old.merged({"x[o]": CELL}, None, {"x": "a" * 64})
    assert (merged.cells["x[o]"].accuracy, merged.data) == (ACCURACY, DATA)


def test_new_pictures_replace_everything_that_was_measured_on_others() -> None:
    old = Baseline("m", {"x[o]": CELL, "x[p]": CELL}, data=DATA)
    other = replace(DATA, sha256="e" * 64)
    merged = old.merged({"x[o]": CELL}, other, {"x": "a" * 64})
    assert (set(merged.cells), merged.data) == ({"x[o]"}, other)
