"""ViTs and RGB networks of 224 pixels take the same way to every engine as the packaged model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_calib.calibration import draw
from fer_edge import Predictor
from fer_edge.artifacts.manifest import Manifest
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.evaluation.metrics import softmax
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.torch_model import checkpoint, network
from fer_edge.torch_model.network import Normalized
from fer_export.options import ExportOptions
from fer_export.pipeline import export_model
from fer_export.source import from_checkpoint

HALF = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SPECS = {
    "vit-48-gray": ModelSpec(
        NetworkSpec("fer_vit", arguments={"depth": 3}), InputSpec(48, 48), temperature=1.2
    ),
    "vit-224-rgb": ModelSpec(
        NetworkSpec("vit_tiny_patch16_224", arguments={"depth": 2}),
        InputSpec(224, 224, "rgb", HALF, HALF, "linear"),
    ),
    "mobilenet-224-rgb": ModelSpec(
        NetworkSpec("mobilenetv3_small_050"), InputSpec(224, 224, "rgb", *IMAGENET, "linear")
    ),
}
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.2}


@pytest.fixture(scope="module", params=SPECS)
def exported(
    request: pytest.FixtureRequest,
    make_fer2013: Callable[[Path, int, int], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """A checkpoint that tells the classes apart, and all that it was exported to."""
    folder = tmp_path_factory.mktemp(request.param)
    spec = SPECS[request.param]
    torch.manual_seed(0)
    built = network.build(spec)
    torch.nn.init.normal_(built.get_classifier().weight, std=0.3)
    checkpoint.save(folder / "best.safetensors", built.state_dict(), spec)
    draw(make_fer2013(folder / "drawings.zip", 16, 1), 70).save(folder / "calib.npz")
    options = ExportOptions(calibration=folder / "calib.npz", prepare_only=True)
    source = from_checkpoint(folder / "best.safetensors")
    export_model(source, folder / "model", ["all"], options=options)
    return folder / "best.safetensors", folder / "model"


@pytest.mark.long
def test_every_engine_and_precision_answers_as_torch_does(exported: tuple[Path, Path]) -> None:
    weights, model = exported
    trained, spec = checkpoint.load(weights)
    crops = synthetic_crops(7, seed=3)
    tensors = torch.from_numpy(preprocess_all(crops, spec.input)).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = Normalized(trained.eval(), spec)(tensors).numpy()
    expected = softmax(logits, spec.temperature)
    measured = {
        (one.backend, entry.precision)
        for entry in Manifest.read(model).artifacts
        for one in entry.measured
    }
    assert {(b, p) for b in ("onnxruntime", "openvino") for p in TOLERANCE} <= measured
    for backend, precision in measured:
        with Predictor(model, backend=backend, precision=precision) as fer:
            given = np.stack([p.probabilities for p in fer.predict_batch(crops)])
        np.testing.assert_allclose(
            given, expected, atol=TOLERANCE[precision], err_msg=f"{backend}, {precision}"
        )
