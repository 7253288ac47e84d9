"""Crops as a core sees them."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest

from fer_calib.calibration import CalibrationSet
from fer_calib.crops import Crops, batch_size
from fer_calib.running import activations
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError, DataError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.images.preprocess import preprocess_all
from fer_export.contract_nodes import attach_contract

RGB = InputSpec(32, 40, "rgb", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "linear")


def test_the_last_batch_may_be_smaller(crops: Crops) -> None:
    shapes = [batch.shape for batch in crops.batches()]
    assert shapes == [*4 * [(32, 1, 48, 48)], (3, 1, 48, 48)]


def test_larger_pictures_come_in_smaller_batches() -> None:
    assert [batch_size(side, side) for side in (24, 48, 96, 224, 1000)] == [128, 32, 8, 1, 1]


def test_a_batch_is_what_the_graph_of_an_artifact_makes_of_the_tensors(
    crops: Crops, cnn: onnx.ModelProto
) -> None:
    artifact = attach_contract(cnn, crops.spec)
    ort = pytest.importorskip("onnxruntime")
    del artifact.graph.output[:]
    artifact.graph.output.append(
        onnx.helper.make_tensor_value_info("normalized", onnx.TensorProto.FLOAT, None)
    )
    session = ort.InferenceSession(artifact.SerializeToString())
    (expected,) = session.run(None, {"crop": crops.tensors})
    np.testing.assert_array_equal(np.concatenate(list(crops.batches())), expected)


def test_colour_is_normalised_by_its_own_channel(drawings: np.ndarray) -> None:
    spec = ModelSpec(NetworkSpec("tiny"), RGB)
    tensors = preprocess_all(drawings[:2], RGB)
    (batch,) = Crops(tensors, spec).batches()
    expected = (tensors / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    np.testing.assert_allclose(batch.transpose(0, 2, 3, 1), expected, atol=1e-6)


def test_a_calibration_set_goes_through_the_preprocessing_of_the_runtime(
    drawings: np.ndarray,
) -> None:
    spec = ModelSpec(NetworkSpec("tiny"), RGB)
    names = tuple(f"Training_{i}" for i in range(14))
    chosen = CalibrationSet(LabelledCrops(drawings[:14], np.arange(14) % 7, names))
    crops = chosen.for_model(spec)
    np.testing.assert_array_equal(crops.tensors, preprocess_all(drawings[:14], RGB))
    assert crops.labels is not None
    assert crops.labels.tolist() == [0, 1, 2, 3, 4, 5, 6] * 2


def test_a_thinned_set_keeps_its_labels_and_its_ends(crops: Crops) -> None:
    labels = np.arange(len(crops))
    thin = Crops(crops.tensors, crops.spec, labels).thin(10)
    assert thin.labels is not None
    assert (len(thin), thin.labels[0], thin.labels[-1]) == (10, 0, 130)
    np.testing.assert_array_equal(thin.tensors, crops.tensors[thin.labels])
    assert thin.thin(20) is thin


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (np.zeros((0, 48, 48, 1), np.uint8), "there are no crops"),
        (np.zeros((3, 48, 48), np.uint8), r"uint8 \(N, 48, 48, 1\), not uint8 \(3, 48, 48\)"),
        (np.zeros((3, 48, 48, 3), np.uint8), r"not uint8 \(3, 48, 48, 3\)"),
        (np.zeros((3, 48, 48, 1), np.float32), r"not float32 \(3, 48, 48, 1\)"),
    ],
)
def test_crops_that_do_not_fit_the_model_are_refused(
    tensors: np.ndarray, message: str, tiny_spec: ModelSpec
) -> None:
    with pytest.raises(DataError, match=message):
        Crops(tensors, tiny_spec)


def test_labels_of_another_number_are_refused(crops: Crops) -> None:
    with pytest.raises(DataError, match="131 crops came with 3 labels"):
        Crops(crops.tensors, crops.spec, np.arange(3))


def test_activations_come_in_the_order_of_the_crops(crops: Crops, cnn: onnx.ModelProto) -> None:
    held = list(activations(cnn, ["normalized", "stem.act"], crops))
    pixels = np.concatenate([batch["normalized"] for batch in held])
    np.testing.assert_array_equal(pixels, np.concatenate(list(crops.batches())))
    assert sum(len(batch["stem.act"]) for batch in held) == 131


def folded(core: onnx.ModelProto, shape: list[int]) -> onnx.ModelProto:
    """A core that goes on with its pixels in another shape, as tensor ``folded``."""
    copied = deepcopy(core)
    copied.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape), "shape"))
    copied.graph.node.append(
        onnx.helper.make_node("Reshape", ["normalized", "shape"], ["folded"], "node_folded")
    )
    return copied


def test_parts_of_a_crop_that_were_folded_into_the_batch_are_unfolded(
    crops: Crops, cnn: onnx.ModelProto
) -> None:
    windows = folded(cnn, [-1, 1, 12, 48])
    (first, *_) = activations(windows, ["folded"], crops)
    (batch, *_) = crops.batches()
    assert first["folded"].shape == (32, 4, 1, 12, 48)
    np.testing.assert_array_equal(first["folded"].reshape(batch.shape), batch)


def test_a_tensor_that_does_not_follow_the_batch_is_refused(
    crops: Crops, cnn: onnx.ModelProto
) -> None:
    with pytest.raises(ArtifactError, match=r"folded .* shape \(1, 73728\) .* of 32 crops"):
        list(activations(folded(cnn, [1, -1]), ["folded"], crops))
