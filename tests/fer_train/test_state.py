"""The state of a training between two epochs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.utils import ModelEmaV3
from torch import nn

from fer_edge.errors import ArtifactError, ConfigurationError
from fer_train.optimizer import optimizer_of
from fer_train.presets import PRESETS
from fer_train.recipe import OPTIMIZERS
from fer_train.state import TrainingState

RUN = "tiny-0123"


def made(optimizer: str = "adamw", seed: int = 0, width: int = 8) -> TrainingState:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))
    recipe = replace(PRESETS["mobilenet"], optimizer=optimizer, learning_rate=1e-2)
    return TrainingState(network, ModelEmaV3(network, 0.9), optimizer_of(recipe, network))


def train(state: TrainingState, steps: range) -> None:
    """Steps whose data depend on their numbers alone."""
    for step in steps:
        batch = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        state.optimizer.zero_grad()
        state.network(batch).square().mean().backward()
        state.optimizer.step()
        state.averaged.update(state.network)


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    both = {"network": state.network, "averaged": state.averaged}
    return {
        f"{prefix}.{name}": tensor.clone()
        for prefix, module in both.items()
        for name, tensor in module.state_dict().items()
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state = made()
    train(state, range(3))
    state.epoch, state.best_accuracy = 3, 0.625
    state.save(tmp_path / "last.safetensors", RUN)
    return tmp_path / "last.safetensors"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    optimizer: str, tmp_path: Path
) -> None:
    whole = made(optimizer)
    train(whole, range(6))
    first = made(optimizer)
    train(first, range(3))
    first.save(tmp_path / "last", RUN)
    second = made(optimizer, seed=1)
    second.restore(tmp_path / "last", RUN)
    train(second, range(3, 6))
    expected, came = weights(whole), weights(second)
    assert expected.keys() == came.keys()
    assert [name for name in expected if not torch.equal(expected[name], came[name])] == []


def test_how_far_it_is_comes_back_and_a_later_state_replaces_it(saved: Path) -> None:
    state, later = made(seed=1), made()
    state.restore(saved, RUN)
    assert (state.epoch, state.best_accuracy) == (3, 0.625)
    later.epoch = 4
    later.save(saved, RUN)
    state.restore(saved, RUN)
    assert (state.epoch, os.listdir(saved.parent)) == (4, [saved.name])


def test_the_state_of_another_training_is_refused_and_nothing_changes(saved: Path) -> None:
    state = made(seed=1)
    before = weights(state)
    with pytest.raises(
        ConfigurationError,
        match=r"another recipe or other data, teachers or weights .*Give another --out",
    ):
        state.restore(saved, "tiny-4567")
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(state).items())
    assert state.epoch == 0


def test_a_state_of_another_network_or_a_folder_in_its_place_is_refused(saved: Path) -> None:
    for path in (saved, saved.parent):
        with pytest.raises(ArtifactError, match="is damaged"):
            made(width=9).restore(path, RUN)


@pytest.mark.parametrize("length", [0, 4, 200, -1])
def test_a_truncated_state_is_refused(length: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"is damaged: .*Give another --out to train anew"):
        made().restore(saved, RUN)


def test_a_state_that_lacks_a_tensor_is_refused(saved: Path) -> None:
    tensors = load_file(saved)
    del tensors["averaged.module.0.weight"]
    facts = {"run": RUN, "epoch": 3, "best_accuracy": 0.5, "losses": []}
    save_file(tensors, saved, metadata={"state": json.dumps(facts)})
    with pytest.raises(ArtifactError, match=r"module\.0\.weight"):
        made().restore(saved, RUN)


@pytest.mark.parametrize("state", [None, "", "{", "[]", json.dumps({"run": RUN})])
def test_a_file_without_its_facts_is_refused(state: str | None, saved: Path) -> None:
    metadata = {} if state is None else {"state": state}
    save_file(load_file(saved), saved, metadata=metadata)
    with pytest.raises((ArtifactError, ConfigurationError), match=saved.name):
        made().restore(saved, RUN)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_come_back_laid_out_as_their_weights_are(
    layout: torch.memory_format, tmp_path: Path
) -> None:
    """GPUs train in channels-last; moments of another layout would be summed in another order."""

    def conv() -> TrainingState:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.LazyLinear(3))
        network(torch.zeros(1, 2, 8, 8))
        network = network.to(memory_format=layout)
        recipe = replace(PRESETS["mobilenet"], learning_rate=1e-2)
        return TrainingState(network, ModelEmaV3(network, 0.9), optimizer_of(recipe, network))

    first, second = conv(), conv()
    first.network(torch.randn(4, 2, 8, 8)).square().mean().backward()
    first.optimizer.step()
    first.save(tmp_path / "last", RUN)
    second.restore(tmp_path / "last", RUN)
    for parameter, moments in second.optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            assert moments[name].stride() == parameter.stride()
    pairs = zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True)
    assert all(torch.equal(a["exp_avg"], b["exp_avg"]) for a, b in pairs)
