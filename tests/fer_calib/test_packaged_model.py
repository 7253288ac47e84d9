"""The packaged network on FER2013: what its INT8 forms have to reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_calib.calibration import draw
from fer_calib.crops import Crops
from fer_calib.observation import Observation, observe
from fer_calib.quantisation import quantize
from fer_calib.running import probabilities_of
from fer_calib.schemes import SCHEMES
from fer_edge.artifacts.manifest import Manifest
from fer_edge.artifacts.model import model_path, packaged_models
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.agreement import agreement
from fer_edge.images.preprocess import preprocess_all

_GOAL = 3_000_000
"""Bytes of an INT8 MobileNet, with all that belongs to it."""


@pytest.fixture(scope="module")
def packaged(root: Path, fer2013_archive: Path) -> tuple[object, Observation, Crops]:
    pytest.importorskip("torch", reason="no torch to trace the packaged checkpoint with")
    from fer_edge.torch_model import checkpoint
    from fer_export.core import export_core

    network, spec = checkpoint.load(root / "train/weights/mobilenet.safetensors")
    core = export_core(network, spec)
    chosen = draw(fer2013_archive, 512)
    chosen.check(fer2013_archive)
    split = fer2013.load(fer2013_archive, "public-test")
    tensors = preprocess_all(split.images, spec.input)
    evaluation = Crops(tensors, spec, split.labels, "FER2013 public-test")
    return core, observe(core, chosen.for_model(spec)), evaluation


@pytest.mark.long
@pytest.mark.parametrize("name", SCHEMES)
def test_int8_reaches_the_goals(name: str, packaged: tuple[object, Observation, Crops]) -> None:
    core, observed, evaluation = packaged
    engine = SCHEMES[name].engine
    model = quantize(core, observed, name)  # type: ignore[arg-type]
    expected = probabilities_of(core, evaluation, engine)  # type: ignore[arg-type]
    given = probabilities_of(model, evaluation, engine)
    found, drop = agreement(expected, given), evaluation.accuracy_drop(expected, given)
    assert drop is not None
    assert drop <= 0.003
    assert found.top1 >= 0.96
    assert found.mean_kl <= 0.02
    assert model.ByteSize() < _GOAL


@pytest.mark.parametrize("name", packaged_models())
def test_every_int8_artifact_of_the_package_is_small(name: str) -> None:
    entries = [e for e in Manifest.read(model_path(name)).artifacts if e.precision == "int8"]
    sizes = {
        e.file: e.size_bytes + sum(companion.size_bytes for companion in e.companions)
        for e in entries
    }
    assert sizes
    goal = _GOAL if name == "mobilenet" else 3_500_000
    assert {file: size for file, size in sizes.items() if size >= goal} == {}
