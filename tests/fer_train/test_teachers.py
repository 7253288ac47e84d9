"""Distillation from checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.torch_model import checkpoint, network
from fer_edge.torch_model.network import Normalized
from fer_train.teachers import Ensemble, accuracy_of, distillation_loss


def make_teacher(path: Path, side: int, color: str, seed: int) -> Path:
    channels = {"gray": 1, "rgb": 3}[color]
    spec = ModelSpec(
        NetworkSpec("mobilenetv3_small_050", stem_stride=1),
        InputSpec(side, side, color, (0.5,) * channels, (0.25,) * channels),
    )
    torch.manual_seed(seed)
    built = network.build(spec)
    torch.nn.init.normal_(built.classifier.weight, std=0.5)
    checkpoint.save(path, built.state_dict(), spec)
    return path


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand(5, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 255


def test_an_ensemble_answers_with_the_mean_of_its_teachers(
    pixels: torch.Tensor, tmp_path: Path
) -> None:
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", 48, "gray", seed) for seed in (1, 2)]
    taught = Ensemble(paths)(pixels, 2.0)
    answers = []
    for path in paths:
        teacher, spec = checkpoint.load(path)
        with torch.no_grad():
            answers.append((Normalized(teacher, spec).eval()(pixels) / 2).softmax(1))
    assert torch.allclose(taught, (answers[0] + answers[1]) / 2, atol=1e-6)


def test_teachers_of_another_size_and_colour_get_the_same_pictures(
    pixels: torch.Tensor, tmp_path: Path
) -> None:
    path = make_teacher(tmp_path / "rgb.safetensors", 64, "rgb", 1)
    taught = Ensemble([path])(pixels, 1.0)
    assert taught.shape == (5, 7)
    assert torch.allclose(taught.sum(1), torch.ones(5))


def test_teachers_learn_nothing(pixels: torch.Tensor, tmp_path: Path) -> None:
    ensemble = Ensemble([make_teacher(tmp_path / "t.safetensors", 48, "gray", 1)])
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())
    assert not ensemble(pixels, 1.0).requires_grad


def test_the_loss_is_least_where_the_student_agrees() -> None:
    taught = torch.tensor([[0.7, 0.2, 0.1]])
    agreeing = taught.log() * 3
    losses = [
        distillation_loss(agreeing + change, taught, 3.0)
        for change in (torch.zeros(3), torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, -1.0]))
    ]
    assert losses[0] < min(losses[1:])
    assert float(losses[0]) == pytest.approx(0, abs=1e-6)


def test_the_loss_pulls_as_the_cross_entropy_does_without_what_cannot_be_learnt() -> None:
    """Hinton et al. write the cross-entropy; the entropy of the teachers is the difference."""
    generator, temperature = torch.Generator().manual_seed(0), 2.0
    logits = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    taught = torch.randn(5, 7, generator=generator, dtype=torch.float64).softmax(1)
    loss = distillation_loss(logits, taught, temperature)
    written = functional.cross_entropy(logits / temperature, taught) * temperature**2
    ours, theirs = (torch.autograd.grad(value, logits)[0] for value in (loss, written))
    assert torch.allclose(ours, theirs)
    entropy = -(taught * taught.log()).sum(1).mean() * temperature**2
    assert float((written - loss).detach()) == pytest.approx(float(entropy))


def test_an_answer_that_is_certain_is_no_trouble() -> None:
    """The logarithm of the zeros in it is infinite."""
    loss = distillation_loss(torch.zeros(1, 7), torch.eye(7)[:1], 1.0)
    assert float(loss) == pytest.approx(math.log(7))


def test_a_teacher_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        Ensemble([tmp_path / "t.safetensors"])


def test_the_accuracy_of_an_ensemble_is_that_of_its_mean(tmp_path: Path) -> None:
    paths = [make_teacher(tmp_path / f"{seed}.safetensors", 48, "gray", seed) for seed in (1, 2)]
    images = np.random.default_rng(0).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    ensemble = Ensemble(paths)
    answers = ensemble(torch.from_numpy(images)[:, None].float(), 1.0).argmax(1).numpy()
    labels = np.where(np.arange(20) < 15, answers, (answers + 1) % 7).astype(np.int64)
    crops = LabelledCrops(images, labels, tuple(map(str, range(20))))
    assert accuracy_of(ensemble, crops, torch.device("cpu")) == 0.75
