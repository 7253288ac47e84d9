"""The costs of single layers: their table, their picture, and what they are good for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from fer_calib.control import Prepared, control, prepare
from fer_calib.crops import Crops
from fer_calib.limits import Limits
from fer_calib.observation import observe
from fer_calib.schemes import SCHEMES
from fer_calib.sensitivity import save_sensitivity, sensitivity
from fer_edge.errors import GateError
from fer_edge.evaluation.agreement import Agreement

INT8 = onnx.TensorProto.INT8
LAYERS = ["stem", "depthwise", "pointwise", "last", "head"]


@pytest.fixture(scope="module")
def hard(hard_cnn: onnx.ModelProto, crops: Crops) -> Prepared:
    return prepare(hard_cnn, crops, crops)


@pytest.fixture(scope="module")
def easy(cnn: onnx.ModelProto, crops: Crops) -> Prepared:
    return prepare(cnn, crops, crops)


# --- what is measured


def test_every_layer_has_its_row_in_the_order_of_the_network(hard: Prepared) -> None:
    assert [cost.name for cost in hard.sensitivity.layers] == LAYERS


def test_the_layer_that_int8_hurts_stands_out(hard: Prepared) -> None:
    first, second, *_ = hard.sensitivity.ranked()
    assert first.name == "last"
    assert first.mean_kl > 100 * second.mean_kl
    assert first.accuracy_drop is not None
    assert first.accuracy_drop > 0.3
    assert first.agreement < 0.7


def test_a_network_without_such_a_layer_has_none(easy: Prepared) -> None:
    assert max(cost.mean_kl for cost in easy.sensitivity.layers) < 0.01


def test_without_labels_no_accuracy_is_claimed(
    cnn: onnx.ModelProto, crops: Crops, tmp_path: Path
) -> None:
    unlabelled = Crops(crops.tensors, crops.spec)
    found = sensitivity(cnn, observe(cnn, crops), unlabelled)
    assert {cost.accuracy_drop for cost in found.layers} == {None}
    assert all(cost.mean_kl > 0 for cost in found.layers)
    picture = cv2.imread(str(save_sensitivity(found, tmp_path)[-1]))
    assert picture is not None
    assert picture.shape[1] < 1000  # one panel


# --- the table and the picture


@pytest.fixture(scope="module")
def saved(hard: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("costs")
    paths = save_sensitivity(hard.sensitivity, folder, "costs", kept_float=("last",))
    assert sorted(p.name for p in folder.iterdir()) == ["costs.csv", "costs.json", "costs.png"]
    return {path.suffix: path for path in paths}


def test_the_table_tells_what_was_measured_and_how(saved: dict[str, Path], hard: Prepared) -> None:
    table = json.loads(saved[".json"].read_text())
    assert table["schema"] == "fer-calib-sensitivity/2"
    assert table["scheme"] == "canonical"
    assert (table["crops"], table["source"]) == (131, "gratings")
    assert table["kept_float"] == ["last"]
    assert table["layers"][0]["parameters"] == 16 * 81
    with saved[".csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for found in (table["layers"], rows):
        assert [row["name"] for row in found] == LAYERS
        assert float(found[3]["mean_kl"]) == hard.sensitivity.layers[3].mean_kl


def test_the_picture_shows_the_layer_that_stands_out(saved: dict[str, Path]) -> None:
    picture = cv2.imread(str(saved[".png"]))
    assert picture is not None
    orange = np.abs(picture.astype(int) - (14, 127, 255)).max(axis=2) < 8
    blue = np.abs(picture.astype(int) - (180, 119, 31)).max(axis=2) < 8
    # its bar, of a layer kept in float, is the longest; both panels hold one
    assert orange.any()
    assert blue.any()
    assert orange.any(axis=0).sum() > blue.any(axis=0).sum() * 0.9


# --- accuracy control


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_easy_network_keeps_nothing_in_float(scheme: str, easy: Prepared) -> None:
    done = control(easy, scheme)
    assert done.kept_float == ()
    assert done.accuracy_drop is not None
    assert done.accuracy_drop <= 0.005


@pytest.mark.parametrize("scheme", ["canonical", "openvino"])
def test_the_most_sensitive_layer_goes_back_to_float_and_no_other(
    scheme: str, hard: Prepared
) -> None:
    done = control(hard, scheme)
    assert done.kept_float == ("last",)
    integer = {item.name for item in done.core.graph.initializer if item.data_type == INT8}
    assert {name for name in LAYERS if f"{name}.weight_int8" not in integer} == {"last"}
    assert done.accuracy_drop is not None
    assert done.accuracy_drop <= 0.005


def test_every_step_is_reported(hard: Prepared) -> None:
    lines: list[str] = []
    control(hard, "canonical", report=lines.append)
    assert "0 layers in float: loses" in lines[0]
    assert lines[-1].endswith("1 layers in float: within limits")


def test_a_drop_that_stays_fails_with_the_layers_and_their_costs(hard: Prepared) -> None:
    with pytest.raises(GateError) as failure:
        control(hard, "canonical", limits=Limits(float_share=0))
    message = str(failure.value)
    assert failure.value.exit_code == 1
    assert "points of accuracy, allowed are 0.50" in message
    assert "0 of 5 layers kept in float" in message
    assert message.index("last (") < message.index("stem (")


def test_what_is_allowed_is_the_callers(hard: Prepared) -> None:
    generous = Limits(accuracy_drop=1, agreement=0, mean_kl=100)
    assert control(hard, "canonical", limits=generous).kept_float == ()


def test_without_labels_agreement_and_distance_are_held(
    hard_cnn: onnx.ModelProto, crops: Crops
) -> None:
    prepared = prepare(hard_cnn, crops, Crops(crops.tensors, crops.spec))
    done = control(prepared, "canonical")
    assert done.kept_float == ("last",)
    assert done.accuracy_drop is None


def test_no_more_layers_than_needed_stay_in_float() -> None:
    """The search doubles and then halves the gap, so it may not stop at the first that holds."""
    from fer_calib.control import Controlled, _fewest

    for needed in range(13):
        tried = []

        def attempt(count: int, needed: int = needed, tried: list[int] = tried) -> object:
            tried.append(count)
            kept = tuple(map(str, range(count)))
            done = Controlled(onnx.ModelProto(), "canonical", kept, Agreement(1, 0, 0), None)
            return done, [] if count >= needed else ["too far"]

        done = _fewest(attempt, 12, None)  # type: ignore[arg-type]
        assert len(done.kept_float) == needed
        assert len(tried) <= 9
