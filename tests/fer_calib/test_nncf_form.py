"""NNCF's form: it goes through the same doors as ours, so that the two can be compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fer_calib.comparison import compare
from fer_calib.crops import Crops
from fer_calib.inspection import int8_share
from fer_calib.nncf_form import quantize_with_nncf
from fer_calib.running import logits_of
from fer_edge.errors import ArtifactError
from fer_export.contract import attach_contract

pytest.importorskip("nncf", reason="no nncf, whose form is made here")


@pytest.fixture(scope="module")
def made(cnn: onnx.ModelProto, crops: Crops) -> onnx.ModelProto:
    return quantize_with_nncf(cnn, crops, keep_float=["last"])


def test_it_answers_as_float32_does(
    made: onnx.ModelProto, cnn: onnx.ModelProto, crops: Crops
) -> None:
    found = compare(logits_of(cnn, crops), logits_of(made, crops), crops)
    assert found.agreement >= 0.97
    assert found.mean_kl <= 0.05


def test_only_the_layer_that_was_named_stays_in_float(made: onnx.ModelProto) -> None:
    assert int8_share(made).float_layers == ("last",)


def test_weights_leave_room_for_sums_of_16_bits(made: onnx.ModelProto) -> None:
    weights = [
        numpy_helper.to_array(item)
        for item in made.graph.initializer
        if item.data_type == onnx.TensorProto.INT8 and len(item.dims) > 1
        if tuple(item.dims) != (16, 1, 3, 3)  # the depthwise convolution
    ]
    assert len(weights) == 3
    assert max(np.abs(weight.astype(int)).max() for weight in weights) <= 64


def test_what_nncf_refuses_is_an_error_of_ours(
    cnn: onnx.ModelProto, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("an operator\nof another world")

    monkeypatch.setattr(sys.modules["nncf"], "quantize", refuse)
    with pytest.raises(ArtifactError, match="NNCF cannot quantise this network: an operator of an"):
        quantize_with_nncf(cnn, crops.thin(16))


def test_the_contract_goes_around_it(made: onnx.ModelProto, crops: Crops) -> None:
    artifact = attach_contract(made, crops.spec)
    assert [item.name for item in artifact.graph.input] == ["crop"]


def test_nothing_is_printed(
    cnn: onnx.ModelProto, crops: Crops, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize_with_nncf(cnn, crops.thin(16))
    assert capsys.readouterr().out == ""


REPORTING = """
import sys, time
import numpy as np, onnx
from fer_calib.crops import Crops
from fer_calib.nncf_form import quantize_with_nncf
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
noise = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 1), np.uint8)
spec = ModelSpec(NetworkSpec("cnn"), InputSpec(48, 48))
quantize_with_nncf(onnx.load(sys.argv[1]), Crops(noise, spec))
time.sleep(1)  # what reports does so in threads of its own
"""


def test_neither_nncf_nor_the_engines_that_it_imports_keep_numbers_of_the_device(
    cnn: onnx.ModelProto, tmp_path: Path
) -> None:
    onnx.save(cnn, tmp_path / "core.onnx")
    home = tmp_path / "home"
    home.mkdir()
    environment = {  # none of the variables by which they know a CI, where they keep still
        "HOME": str(home),
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
    }
    command = [sys.executable, "-c", REPORTING, str(tmp_path / "core.onnx")]
    subprocess.run(command, env=environment, check=True)
    assert list(home.rglob("*")) == []
