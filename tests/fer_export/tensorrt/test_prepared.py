"""What is read of a prepared ONNX on a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_export.tensorrt import (
    TRT_TARGETS,
    PlanOptions,
    check_precision,
    finish_command,
    read_onnx_spec,
)

MakeArtifact = Callable[[Path, ModelSpec], Path]


@pytest.mark.parametrize(("target", "precision"), TRT_TARGETS.items())
def test_an_onnx_of_the_targets_precision_is_accepted(
    make_artifact: MakeArtifact, tiny_spec: ModelSpec, tmp_path: Path, target: str, precision: str
) -> None:
    spec = tiny_spec.with_changes(precision=precision)
    path = make_artifact(tmp_path / "model.onnx", spec)
    assert read_onnx_spec(path) == spec
    assert check_precision(path, target) == spec
    for other in TRT_TARGETS.keys() - {target}:
        with pytest.raises(ConfigurationError, match=f"--prepare-only --target {other}"):
            check_precision(path, other)


def test_an_unknown_target_lists_the_known_ones(prepared: Path) -> None:
    with pytest.raises(ConfigurationError, match="trt-fp32, trt-fp16, trt-int8"):
        check_precision(prepared, "onnx")


def test_a_file_that_is_missing_or_no_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        read_onnx_spec(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError):
        read_onnx_spec(tmp_path / "model.onnx")


def test_the_command_that_finishes_can_be_pasted_into_a_shell() -> None:
    command = finish_command(
        Path("my models/model.fp16.onnx"), "trt-fp16", Path("dist"), PlanOptions()
    )
    assert command == (
        "fer-export --from-onnx 'my models/model.fp16.onnx' --target trt-fp16 --out dist"
    )


def test_the_command_that_finishes_builds_what_was_asked_for() -> None:
    options = PlanOptions(max_batch=8, hardware_compatible=True)
    command = finish_command(Path("model.onnx"), "trt-fp32", Path("dist"), options)
    assert command.endswith("--out dist --max-batch 8 --hardware-compat")
