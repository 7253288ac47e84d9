"""A network before it has weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="no torch: the network is part of the torch extra")

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec  # noqa: E402
from fer_edge.errors import ConfigurationError  # noqa: E402
from fer_edge.torch_model import network, outline  # noqa: E402 - behind the skip
from fer_edge.torch_model.outline import Outline  # noqa: E402


def spec(architecture: str, side: int = 48, **arguments: int) -> ModelSpec:
    return ModelSpec(NetworkSpec(architecture, arguments=arguments), InputSpec(side, side))


ANYTHING = {f"{n}": torch.zeros(1) for n in range(99)}
SPECS = {
    "convolutions": spec("test_efficientnet"),
    "a ViT of ours": spec("fer_vit"),
    "arguments": spec("vit_tiny_patch16_224", img_size=48, patch_size=8, depth=2),
    "many pixels": spec("test_efficientnet", 160),
    "tables beside the weights": spec(
        "vit_relpos_small_patch16_224", 160, img_size=160, embed_dim=64, num_heads=2, depth=2
    ),
}


@pytest.mark.parametrize("wish", SPECS.values(), ids=list(SPECS))
def test_it_is_filled_to_the_same_network(wish: ModelSpec) -> None:
    original = network.build(wish).eval()
    filled = Outline(wish, original.state_dict()).filled().eval()
    pixels = torch.rand(2, *wish.input.shape[::-1])
    assert torch.equal(filled(pixels), original(pixels))
    assert {name: p.requires_grad for name, p in filled.named_parameters()} == {
        name: p.requires_grad for name, p in original.named_parameters()
    }


def test_it_has_names_and_shapes_and_no_storage() -> None:
    wanted = Outline(spec("resnet18"), ANYTHING).wanted
    assert wanted["fc.weight"].shape == (7, 512)
    assert all(tensor.is_meta for tensor in wanted.values())


def test_a_network_of_far_more_tensors_than_are_stored_is_not_built() -> None:
    with pytest.raises(ConfigurationError, match="far larger than what is stored"):
        Outline(spec("vit_tiny_patch16_224", img_size=48, depth=4000), {"a": torch.zeros(1)})


def test_a_refusal_leaves_gradients_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every third call; one may fall between switching them off and on again."""
    monkeypatch.setattr(outline, "_CALLS_PER_TENSOR", 0)
    with torch.enable_grad():
        for calls in range(0, 250, 3):
            monkeypatch.setattr(outline, "_FREE_CALLS", calls)
            with pytest.raises(ConfigurationError, match="far larger than what is stored"):
                Outline(spec("test_efficientnet"), {})
            assert torch.is_grad_enabled(), calls


def test_a_table_that_dwarfs_the_weights_is_not_computed() -> None:
    sizes = {"img_size": 128, "patch_size": 2, "embed_dim": 64, "num_heads": 2, "depth": 1}
    wish = spec("vit_relpos_small_patch16_224", 128, **sizes)
    wanted = Outline(wish, ANYTHING).wanted
    weights = {name: torch.zeros(tensor.shape) for name, tensor in wanted.items()}
    with pytest.raises(ConfigurationError, match="choose settings that fit the weights"):
        Outline(wish, weights).filled()


@pytest.mark.parametrize("side", [48, 100, 112])
def test_a_picture_that_does_not_fit_is_refused(side: int) -> None:
    wish = spec("vit_tiny_patch16_224", side)
    weights = network.construct(wish.with_changes(input=InputSpec(224, 224))).state_dict()
    with pytest.raises(ConfigurationError, match=r"fails on|do not divide"):
        Outline(wish, weights).filled()
