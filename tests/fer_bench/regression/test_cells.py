"""What there is to test."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from fer_bench.regression.baseline import DEFAULT_BOUNDS, Baseline
from fer_bench.regression.cells import Cell, ModelUnderTest, file_name, find_model
from fer_bench.regression.subject import Run
from fer_edge import ArtifactError, ConfigurationError
from fer_edge.artifacts.manifest import ArtifactEntry, Companion, Manifest
from fer_edge.backends import BACKENDS

HASH = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An ONNX for all, one for a backend alone, and an IR with its weights."""
    three, five = (hashlib.sha256(bytes(count)).hexdigest() for count in (3, 5))
    entries = (
        ArtifactEntry("all.onnx", three, 3, "onnx", "fp32"),
        ArtifactEntry("mine.onnx", three, 3, "onnx", "int8", backends=("onnxruntime",)),
        ArtifactEntry("m.xml", three, 3, "ir", "fp16", (Companion("m.bin", five, 5),)),
    )
    for name, count in (("all.onnx", 3), ("mine.onnx", 3), ("m.xml", 3), ("m.bin", 5)):
        (tmp_path / name).write_bytes(bytes(count))
    Manifest("model", "fp32", entries).write(tmp_path)
    return tmp_path


def test_each_artifact_meets_each_backend_that_opens_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(BACKENDS["onnxruntime"], formats=("onnx", "openvino"))
    monkeypatch.setattr(
        "fer_bench.regression.cells.BACKENDS",
        {"onnxruntime": BACKENDS["onnxruntime"], "other": other},
    )
    monkeypatch.setattr("fer_edge.backends.backend_class", lambda _: None)
    found = find_model(folder)
    names = ["all.onnx[onnxruntime]", "all.onnx[other]", "mine.onnx[onnxruntime]", "m.xml[other]"]
    assert [cell.name for cell in found.cells] == names
    assert found.cells[-1].read().size_bytes == 8


def test_an_engine_that_opens_nothing_here_is_not_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(name: str) -> None:
        assert name in ("onnxruntime", "openvino"), name

    monkeypatch.setattr("fer_edge.backends.backend_class", imported)
    assert find_model(folder).cells


def test_a_backend_that_is_not_installed_is_left_out_unless_it_was_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(BACKENDS["onnxruntime"], module="no_such_module", package="no_such_module")
    table = {"onnxruntime": BACKENDS["onnxruntime"], "broken": broken}
    monkeypatch.setattr("fer_bench.regression.cells.BACKENDS", table)
    monkeypatch.setitem(BACKENDS, "broken", broken)
    found = find_model(folder)
    assert {cell.backend for cell in found.cells} == {"onnxruntime"}
    assert "no_such_module is not installed" in found.absent["broken"]
    for named in (["broken"], ["onnxruntime", "broken"]):
        with pytest.raises(ConfigurationError, match="no_such_module is not installed"):
            find_model(folder, named)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no manifest"):
        find_model(tmp_path)
    with pytest.raises(ArtifactError, match="there is no model at"):
        find_model(tmp_path / "model.onnx")


def test_an_artifact_that_lacks_its_companion_is_told(folder: Path) -> None:
    (folder / "m.bin").unlink()
    openvino = [c for c in find_model(folder).cells if c.file == "m.xml"]
    if not openvino:
        pytest.skip("no OpenVINO here")
    with pytest.raises(ArtifactError, match=r"m\.bin"):
        openvino[0].read()


def test_a_file_that_vanished_after_it_was_found_is_told(folder: Path) -> None:
    alone = find_model(folder / "all.onnx", ["onnxruntime"])
    listed = find_model(folder, ["onnxruntime"])
    (folder / "all.onnx").unlink()
    for read in (alone.cells[0].read, listed.cells[0].read, alone.hashes):
        with pytest.raises(ArtifactError, match=r"all\.onnx"):
            read()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("dist/mob.v1", "mob.v1.json"),
        ("dist/mob.v1/../mob.v2/", "mob.v2.json"),
        (".", "team.json"),
        ("dist/mob.v1/model.int8.onnx", "model.int8.json"),
        ("default", "default.json"),
    ],
)
def test_each_model_has_a_baseline_of_its_own(
    model: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("mob.v1", "mob.v2"):
        (tmp_path / "team" / "dist" / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "team")
    assert file_name(model) == name


def test_a_precision_needs_bounds_which_a_baseline_may_add() -> None:
    cell = Cell(Path(), "m.onnx", "onnxruntime", ArtifactEntry("m.onnx", HASH, 3, "onnx", "int4"))
    model = ModelUnderTest(Path("m"), None, (cell,), {})
    with pytest.raises(ArtifactError, match="'int4', which has no bounds; there are fp32"):
        _ = Run(model, Baseline("m")).subjects[0].bounds
    bounds = {**DEFAULT_BOUNDS, "int4": DEFAULT_BOUNDS["int8"]}
    (subject,) = Run(model, Baseline("m", bounds=bounds)).subjects
    assert subject.bounds == DEFAULT_BOUNDS["int8"]
