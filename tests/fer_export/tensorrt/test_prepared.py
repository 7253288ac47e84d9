"""What is read of a prepared ONNX on a device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions
from fer_export.tensorrt.prepared import check_precision, finish_command, read_onnx_spec

MakeArtifact = Callable[[Path, ModelSpec], Path]


@pytest.mark.parametrize(("target", "precision"), TRT_TARGETS.items())
def test_an_onnx_of_the_targets_precision_is_accepted(
    make_artifact: MakeArtifact, tiny_spec: ModelSpec, tmp_path: Path, target: str, precision: str
) -> None:
    spec = tiny_spec.with_changes(precision=precision)
    path = make_artifact(tmp_path / "model.onnx", spec)
    assert read_onnx_spec(path) == spec
    assert check_precision(path, target).spec == spec
    with pytest.raises(ConfigurationError, match="trt-fp32, trt-fp16, trt-int8"):
        check_precision(path, "onnx")
    for other in TRT_TARGETS.keys() - {target}:
        with pytest.raises(ConfigurationError, match=f"--prepare-only --target {other}"):
            check_precision(path, other)


def test_a_file_that_is_missing_or_no_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        read_onnx_spec(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError):
        read_onnx_spec(tmp_path / "model.onnx")


def test_the_command_that_finishes_can_be_pasted_and_builds_what_was_asked_for() -> None:
    options = PlanOptions(max_batch=8, hardware="ampere-plus", timing_cache=Path("here"))
    path = Path("my models/model.fp16.onnx")
    assert finish_command(path, "trt-fp16", Path("dist"), options) == (
        "fer-export --from-onnx 'my models/model.fp16.onnx' --target trt-fp16 --out dist "
        "--max-batch 8 --hardware-compat ampere-plus"
    )


def test_the_products_are_read_with_their_types(prepare: Callable[[str], Path]) -> None:
    for precision in ("fp32", "fp16", "int8"):
        found = check_precision(prepare(precision), f"trt-{precision}")
        assert found.products == {"classifier": precision}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("{}", "should map names of nodes"),
        ('{"a": "fp7"}', "should map names of nodes"),
    ],
)
def test_an_onnx_with_no_usable_list_of_products_is_refused(
    prepared: Path, text: str, message: str
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to change the list with")
    model = onnx.load(prepared)
    kept = [entry for entry in model.metadata_props if entry.key != "fer_edge.products"]
    values = {entry.key: entry.value for entry in kept}
    onnx.helper.set_model_props(
        model, values | ({} if text is None else {"fer_edge.products": text})
    )
    onnx.save(model, prepared)
    with pytest.raises(ArtifactError, match=message):
        check_precision(prepared, "trt-fp16")


def test_the_package_onnx_lists_the_products_of_an_older_export(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to take the list out with")
    model = onnx.load(prepared)
    values = {entry.key: entry.value for entry in model.metadata_props}
    del values["fer_edge.products"]
    onnx.helper.set_model_props(model, values)
    onnx.save(model, prepared)
    assert check_precision(prepared, "trt-fp16").products == {"classifier": "fp16"}
    monkeypatch.setitem(sys.modules, "fer_export.contract_nodes", None)
    with pytest.raises(ArtifactError, match=r"export it again.*or install the package onnx"):
        check_precision(prepared, "trt-fp16")
