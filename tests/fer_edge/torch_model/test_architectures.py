"""Networks of ours for faces of 48 pixels."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="no torch: the networks are part of the torch extra")

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec  # noqa: E402
from fer_edge.torch_model import network  # noqa: E402 - behind the skip


def built(name: str, side: int = 48, **arguments: int) -> torch.nn.Module:
    spec = ModelSpec(NetworkSpec(name, arguments=arguments), InputSpec(side, side))
    return network.build(spec).eval()


@pytest.mark.parametrize("name", ["fer_dense", "fer_mobilenet_v1", "fer_vit"])
def test_each_can_be_built_by_its_name(name: str) -> None:
    logits = built(name)(torch.zeros(3, 1, 48, 48))
    assert logits.shape == (3, 7)


def test_the_vit_has_36_tokens_and_about_2_5_million_parameters() -> None:
    vit = built("fer_vit")
    assert vit.pos_embed.shape == (1, 36, 144)
    assert 2.4e6 < sum(p.numel() for p in vit.parameters()) < 2.7e6


def test_the_vit_fits_other_sizes_and_depths() -> None:
    vit = built("fer_vit", side=32, img_size=32, width=16, depth=1, num_heads=2)
    assert vit.pos_embed.shape == (1, 16, 48)
