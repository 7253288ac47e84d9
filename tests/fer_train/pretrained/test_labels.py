"""The head, and the order in which its classes stand."""

from __future__ import annotations

from pathlib import Path

import foreign_weights as foreign
import numpy as np
import pytest
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.errors import ConfigurationError
from fer_train.pretrained.beside import labels_in

ALPHABETICAL = foreign.ALPHABETICAL


@pytest.mark.parametrize("classes", [1000, 21843])
def test_a_head_of_other_classes_stays_new(weights: Weights, tmp_path: Path, classes: int) -> None:
    path = foreign.save_google(
        tmp_path / "ViT-B_16.npz",
        weights,
        head__kernel=np.ones((foreign.WIDTH, classes)),
        head__bias=np.ones(classes),
        pre_logits__kernel=np.ones((foreign.WIDTH, foreign.WIDTH)),
        pre_logits__bias=np.ones(foreign.WIDTH),
    )
    network, report = foreign.loaded(path)
    assert set(report.new) == {"head.weight", "head.bias"}
    assert set(report.ignored) == {"pre_logits.fc.weight", "pre_logits.fc.bias"}
    assert not report.is_complete
    untouched = foreign.fresh(foreign.vit()).get_parameter("head.weight")
    assert torch.equal(network.get_parameter("head.weight"), untouched)
    assert torch.equal(network.get_parameter("norm.weight"), weights["norm.weight"])


def test_weights_without_a_head_leave_it_new(weights: Weights, tmp_path: Path) -> None:
    bare = {name: value for name, value in weights.items() if not name.startswith("head.")}
    _, report = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", bare))
    assert set(report.new) == {"head.weight", "head.bias"}


def test_a_head_on_a_layer_that_timm_lacks_is_no_classifier(
    weights: Weights, tmp_path: Path
) -> None:
    path = foreign.save_google(
        tmp_path / "x.npz", weights, pre_logits__kernel=np.ones((foreign.WIDTH, foreign.WIDTH))
    )
    foreign.refused(path, "pre_logits")


@pytest.mark.parametrize(
    "facts",
    [
        {"classes": list(ALPHABETICAL)},
        {"class_to_idx": {name: index for index, name in enumerate(ALPHABETICAL)}},
        {"id2label": dict(enumerate(ALPHABETICAL))},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_classes_in_another_order_are_brought_into_ours(
    source: nn.Module, weights: Weights, tmp_path: Path, facts: dict[str, object]
) -> None:
    saved = {"state_dict": foreign.in_alphabetical_order(weights), **facts}
    network, report = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", saved))
    foreign.assert_same(network, source)
    assert report.labels == ALPHABETICAL
    assert set(report.adapted) == {"head.weight", "head.bias"}


def test_the_caller_may_tell_the_order_of_the_classes(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", foreign.in_alphabetical_order(weights))
    network, _ = foreign.loaded(path, labels=ALPHABETICAL)
    foreign.assert_same(network, source)
    assert "in our order" in foreign.loaded(path)[1].describe()
    with pytest.raises(ConfigurationError, match="some order"):
        foreign.loaded(path, labels=("happy", "sad"))


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        (ALPHABETICAL, ALPHABETICAL),
        (tuple(f"cat {i}" for i in range(7)), None),
        (tuple(f"LABEL_{i}" for i in range(7)), "as ours"),
    ],
)
def test_hugging_faces_config_tells_the_classes(
    source: nn.Module, weights: Weights, tmp_path: Path, labels: tuple[str, ...], taken: object
) -> None:
    """A head of other classes stays new; labels without a meaning are taken to be in our order."""
    saved = weights if taken != ALPHABETICAL else foreign.in_alphabetical_order(weights)
    save_file(foreign.to_huggingface(saved), tmp_path / "model.safetensors")
    foreign.save_config(tmp_path, {str(i): name for i, name in enumerate(labels)})
    network, report = foreign.loaded(tmp_path / "model.safetensors")
    assert report.labels == (ALPHABETICAL if taken == ALPHABETICAL else None)
    if taken is None:
        assert set(report.new) == {"head.weight", "head.bias"}
    else:
        foreign.assert_same(network, source)


@pytest.mark.parametrize("index", ["9" * 5000, 10**30, -1, (((),),), None])
def test_an_index_that_is_none_tells_no_labels(index: object) -> None:
    assert labels_in({"id2label": {index: "angry"}}) is None
