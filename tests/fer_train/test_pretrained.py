"""Weights that people have: whatever their naming, the network computes what their own did."""

from __future__ import annotations

import json
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from fer_edge import LABELS, checkpoint
from fer_edge.errors import ArtifactError, ConfigurationError, DownloadError
from fer_edge.network import build
from fer_edge.spec import InputSpec, ModelSpec, NetworkSpec
from fer_train.pretrained import load_initial
from fer_train.pretrained.hub import fetch_from_hub

WIDTH, HEADS, DEPTH, PATCH = 32, 4, 2, 8
Weights = dict[str, torch.Tensor]


def vit(
    side: int = 32, color: str = "rgb", architecture: str = "vit_tiny_patch16_224", **changes: int
) -> ModelSpec:
    """A ViT of two narrow layers, 4 x 4 patches."""
    arguments = {
        "img_size": side,
        "patch_size": PATCH,
        "embed_dim": WIDTH,
        "depth": DEPTH,
        "num_heads": HEADS,
    }
    channels = 3 if color == "rgb" else 1
    return ModelSpec(
        NetworkSpec(architecture, arguments=arguments | changes),
        InputSpec(side, side, color, mean=(0.5,) * channels, std=(0.5,) * channels),
    )


def random_network(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """No parameter is zero or one, so that none can be mistaken for another."""
    network = build(spec).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                shape = value.shape
                drawn = torch.randn(shape, generator=generator) * 0.3 + ("norm" in name)
                value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return network


def fresh(spec: ModelSpec) -> nn.Module:
    return random_network(spec, seed=99)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return random_network(vit())


@pytest.fixture
def weights(source: nn.Module) -> Weights:
    return {name: value.clone() for name, value in source.state_dict().items()}


def images(spec: ModelSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    side, channels = spec.input.height, spec.input.channels
    return torch.randn(3, channels, side, side, generator=generator)


@torch.no_grad()
def logits(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = network.eval()(inputs)
    return answer


def assert_same(network: nn.Module, source: nn.Module) -> None:
    inputs = images(vit())
    assert torch.allclose(logits(network, inputs), logits(source, inputs), atol=1e-5)


def to_google(weights: Weights) -> dict[str, np.ndarray]:
    """Google's naming, element by element where a layout differs."""
    per_head = WIDTH // HEADS
    arrays = {
        "cls": weights["cls_token"].numpy(),
        "Transformer/posembed_input/pos_embedding": weights["pos_embed"].numpy(),
        "embedding/kernel": np.einsum("dcij->ijcd", weights["patch_embed.proj.weight"].numpy()),
        "embedding/bias": weights["patch_embed.proj.bias"].numpy(),
        "Transformer/encoder_norm/scale": weights["norm.weight"].numpy(),
        "Transformer/encoder_norm/bias": weights["norm.bias"].numpy(),
        "head/kernel": weights["head.weight"].numpy().transpose(),
        "head/bias": weights["head.bias"].numpy(),
    }
    for layer in range(DEPTH):
        ours, theirs = f"blocks.{layer}.", f"Transformer/encoderblock_{layer}/"
        attention = theirs + "MultiHeadDotProductAttention_1/"
        joined = weights[ours + "attn.qkv.weight"].numpy()
        bias = weights[ours + "attn.qkv.bias"].numpy()
        behind = weights[ours + "attn.proj.weight"].numpy()
        out = np.zeros((HEADS, per_head, WIDTH), np.float32)
        for part, name in enumerate(("query", "key", "value")):
            kernel = np.zeros((WIDTH, HEADS, per_head), np.float32)
            offset = np.zeros((HEADS, per_head), np.float32)
            for head in range(HEADS):
                for unit in range(per_head):
                    row = part * WIDTH + head * per_head + unit
                    kernel[:, head, unit] = joined[row]
                    offset[head, unit] = bias[row]
                    out[head, unit] = behind[:, head * per_head + unit]
            arrays[f"{attention}{name}/kernel"] = kernel
            arrays[f"{attention}{name}/bias"] = offset
        arrays[attention + "out/kernel"] = out
        arrays[attention + "out/bias"] = weights[ours + "attn.proj.bias"].numpy()
        for norm, name in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays[f"{theirs}{name}/scale"] = weights[f"{ours}{norm}.weight"].numpy()
            arrays[f"{theirs}{name}/bias"] = weights[f"{ours}{norm}.bias"].numpy()
        for dense in (0, 1):
            name = f"{theirs}MlpBlock_3/Dense_{dense}"
            arrays[name + "/kernel"] = weights[f"{ours}mlp.fc{dense + 1}.weight"].numpy().T
            arrays[name + "/bias"] = weights[f"{ours}mlp.fc{dense + 1}.bias"].numpy()
    return arrays


def to_huggingface(weights: Weights, prefix: str = "vit.") -> Weights:
    """Hugging Face's naming."""
    named = {
        prefix + "embeddings.cls_token": weights["cls_token"],
        prefix + "embeddings.position_embeddings": weights["pos_embed"],
        "classifier.weight": weights["head.weight"],
        "classifier.bias": weights["head.bias"],
    }
    for leaf in ("weight", "bias"):
        patches = prefix + f"embeddings.patch_embeddings.projection.{leaf}"
        named[patches] = weights[f"patch_embed.proj.{leaf}"]
        named[prefix + f"layernorm.{leaf}"] = weights[f"norm.{leaf}"]
        for layer in range(DEPTH):
            ours, theirs = f"blocks.{layer}.", f"{prefix}encoder.layer.{layer}."
            joined = weights[f"{ours}attn.qkv.{leaf}"]
            for part, name in enumerate(("query", "key", "value")):
                rows = joined[part * WIDTH : (part + 1) * WIDTH]
                named[f"{theirs}attention.attention.{name}.{leaf}"] = rows.clone()
            for old, new in (
                ("attn.proj", "attention.output.dense"),
                ("norm1", "layernorm_before"),
                ("norm2", "layernorm_after"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ):
                named[f"{theirs}{new}.{leaf}"] = weights[f"{ours}{old}.{leaf}"]
    return named


def save_google(path: Path, weights: Weights, prefix: str = "", **more: np.ndarray) -> Path:
    arrays = to_google(weights) | {name.replace("__", "/"): value for name, value in more.items()}
    with path.open("wb") as stream:
        np.savez(stream, **{prefix + name: value for name, value in arrays.items()})
    return path


def save_torch(path: Path, value: object, **how: Any) -> Path:
    torch.save(value, path, **how)
    return path


# --- each naming gives the source's logits


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
def test_googles_npz_gives_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str
) -> None:
    path = save_google(tmp_path / "ViT-B_16.npz", weights, prefix)
    network = fresh(vit())
    report = load_initial(network, vit(), str(path))
    assert_same(network, source)
    assert (report.kind, report.is_complete, report.adapted) == ("google", True, ())
    assert set(report.loaded) == set(network.state_dict())


def test_a_training_kept_beside_googles_weights_is_left_out(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    arrays = {"opt/target/" + name: array for name, array in to_google(weights).items()}
    arrays |= {"opt/state/step": np.array(3), "opt/state/head/bias/grad_ema": np.zeros(7)}
    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    network = fresh(vit())
    assert load_initial(network, vit(), str(tmp_path / "x.npz")).is_complete
    assert_same(network, source)


def test_googles_npz_gives_what_timms_own_reader_gives(weights: Weights, tmp_path: Path) -> None:
    path = save_google(tmp_path / "ViT-B_16.npz", weights)
    network, theirs = fresh(vit()), fresh(vit())
    load_initial(network, vit(), str(path))
    cast("Any", theirs).load_pretrained(str(path))
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("prefix", ["vit.", ""])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_faces_files_give_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str, name: str
) -> None:
    named = to_huggingface(weights, prefix)
    named[prefix + "pooler.dense.weight"] = torch.ones(WIDTH, WIDTH)
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(named, path, metadata={"format": "pt"})
    else:
        torch.save(named, path)
    network = fresh(vit())
    report = load_initial(network, vit(), str(path))
    assert_same(network, source)
    assert report.kind == "huggingface"
    assert report.is_complete
    assert report.ignored == ("pooler.dense.weight",)


@pytest.mark.parametrize("naming", ["timm", "huggingface"])
@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("", ""),
        ("state_dict", ""),
        ("model", "module."),
        ("model_state_dict", "_orig_mod."),
        ("state_dict", "module._orig_mod."),
    ],
)
def test_a_fine_tuned_state_dict_is_complete_however_it_was_saved(  # noqa: PLR0917
    source: nn.Module, weights: Weights, tmp_path: Path, naming: str, wrapper: str, prefix: str
) -> None:
    named = weights if naming == "timm" else to_huggingface(weights)
    saved: dict[str, Any] = {prefix + name: value for name, value in named.items()}
    if wrapper:
        saved = {wrapper: saved, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    path = save_torch(tmp_path / "vit_fer2013.pth", saved)
    network = fresh(vit())
    report = load_initial(network, vit(), str(path))
    assert_same(network, source)
    assert (report.kind, report.new) == (naming, ())
    checkpoint.save(tmp_path / "ours.safetensors", network.state_dict(), vit())
    assert_same(checkpoint.load(tmp_path / "ours.safetensors")[0], source)


def test_files_of_old_torch_and_averaged_models_load(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    averaged = {f"module.{name}": value for name, value in weights.items()}
    averaged["n_averaged"] = torch.tensor(5)
    path = save_torch(tmp_path / "old.pt", averaged, _use_new_zipfile_serialization=False)
    network = fresh(vit())
    assert load_initial(network, vit(), str(path)).ignored == ("n_averaged",)
    assert_same(network, source)


def test_half_precision_weights_load(source: nn.Module, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in weights.items()}, path)
    network = fresh(vit())
    load_initial(network, vit(), str(path))
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())
    inputs = images(vit())
    assert torch.allclose(logits(network, inputs), logits(source, inputs), atol=0.05)


def test_gsam_weights_without_a_class_token_load_where_there_is_none(tmp_path: Path) -> None:
    spec = vit(architecture="vit_base_patch16_gap_224")
    gap = random_network(spec)
    weights = dict(gap.state_dict()) | {"cls_token": torch.zeros(1, 1, WIDTH)}
    arrays = to_google(weights)
    del arrays["cls"]
    with (tmp_path / "gsam.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    network = fresh(spec)
    load_initial(network, spec, str(tmp_path / "gsam.npz"))
    assert_same(network, gap)
    with pytest.raises(ArtifactError, match=r"no class token.*vit_base_patch16_gap_224"):
        load_initial(fresh(vit()), vit(), str(tmp_path / "gsam.npz"))


# --- the head


@pytest.mark.parametrize("classes", [1000, 21843])
def test_a_head_of_other_classes_stays_new(weights: Weights, tmp_path: Path, classes: int) -> None:
    arrays = to_google(weights)
    arrays |= {"head/kernel": np.ones((WIDTH, classes)), "head/bias": np.ones(classes)}
    arrays |= {"pre_logits/kernel": np.ones((WIDTH, WIDTH)), "pre_logits/bias": np.ones(WIDTH)}
    with (tmp_path / "ViT-B_16.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    network = fresh(vit())
    before = network.get_parameter("head.weight").clone()
    report = load_initial(network, vit(), str(tmp_path / "ViT-B_16.npz"))
    assert set(report.new) == {"head.weight", "head.bias"}
    assert set(report.ignored) == {"pre_logits.fc.weight", "pre_logits.fc.bias"}
    assert not report.is_complete
    assert torch.equal(network.get_parameter("head.weight"), before)
    assert torch.equal(network.get_parameter("norm.weight"), weights["norm.weight"])


def test_weights_without_a_head_leave_it_new(weights: Weights, tmp_path: Path) -> None:
    bare = {name: value for name, value in weights.items() if not name.startswith("head.")}
    report = load_initial(fresh(vit()), vit(), str(save_torch(tmp_path / "x.pth", bare)))
    assert set(report.new) == {"head.weight", "head.bias"}


def test_a_head_on_a_layer_that_timm_lacks_is_no_classifier(
    weights: Weights, tmp_path: Path
) -> None:
    path = save_google(tmp_path / "x.npz", weights, pre_logits__kernel=np.ones((WIDTH, WIDTH)))
    with pytest.raises(ArtifactError, match="pre_logits"):
        load_initial(fresh(vit()), vit(), str(path))


ALPHABETICAL = ("Anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def in_alphabetical_order(weights: Weights) -> Weights:
    """The same network with its classes in the order of ImageFolder."""
    ours = [0, 1, 2, 3, 6, 4, 5]
    heads = {f"head.{leaf}": weights[f"head.{leaf}"][ours] for leaf in ("weight", "bias")}
    return weights | heads


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
    saved = {"state_dict": in_alphabetical_order(weights), **facts}
    network = fresh(vit())
    report = load_initial(network, vit(), str(save_torch(tmp_path / "x.pth", saved)))
    assert_same(network, source)
    assert report.labels == ALPHABETICAL
    assert set(report.adapted) == {"head.weight", "head.bias"}


def test_the_caller_may_tell_the_order_of_the_classes(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    path = str(save_torch(tmp_path / "x.pth", in_alphabetical_order(weights)))
    network = fresh(vit())
    load_initial(network, vit(), path, labels=ALPHABETICAL)
    assert_same(network, source)
    assert "FER2013's order" in load_initial(network, vit(), path).describe()
    with pytest.raises(ConfigurationError, match="some order"):
        load_initial(network, vit(), path, labels=("happy", "sad"))


def save_config(folder: Path, labels: object, heads: int = HEADS) -> None:
    config = {"num_attention_heads": heads, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_hugging_faces_config_tells_the_order_of_the_classes(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    save_file(to_huggingface(in_alphabetical_order(weights)), tmp_path / "model.safetensors")
    save_config(tmp_path, {str(i): name for i, name in enumerate(ALPHABETICAL)})
    network = fresh(vit())
    load_initial(network, vit(), str(tmp_path / "model.safetensors"))
    assert_same(network, source)


def test_seven_classes_of_something_else_are_no_head_of_ours(
    weights: Weights, tmp_path: Path
) -> None:
    save_file(to_huggingface(weights), tmp_path / "model.safetensors")
    save_config(tmp_path, {str(i): f"cat {i}" for i in range(7)})
    report = load_initial(fresh(vit()), vit(), str(tmp_path / "model.safetensors"))
    assert set(report.new) == {"head.weight", "head.bias"}
    assert report.labels is None


def test_labels_without_meaning_are_taken_in_our_order(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    save_file(to_huggingface(weights), tmp_path / "model.safetensors")
    save_config(tmp_path, {str(i): f"LABEL_{i}" for i in range(7)})
    network = fresh(vit())
    assert load_initial(network, vit(), str(tmp_path / "model.safetensors")).is_complete
    assert_same(network, source)


# --- another image size, patch size or colour


def bicubic(old: int, new: int) -> np.ndarray:
    """Antialiased bicubic interpolation as a matrix ``(new, old)`` (Keys 1981, a = -0.5)."""

    def keys(x: float) -> float:
        x = abs(x)
        if x < 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    stretch = max(old / new, 1.0)
    matrix = np.array(
        [
            [keys(((i + 0.5) * old / new - (j + 0.5)) / stretch) for j in range(old)]
            for i in range(new)
        ]
    )
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("side", [16, 48])
@pytest.mark.parametrize("naming", ["google", "huggingface", "timm"])
def test_position_embeddings_are_interpolated_to_the_image_size(
    weights: Weights, tmp_path: Path, side: int, naming: str
) -> None:
    spec, new = vit(side), side // PATCH
    if naming == "google":
        path = save_google(tmp_path / "x.npz", weights)
    else:
        named = weights if naming == "timm" else to_huggingface(weights)
        path = save_torch(tmp_path / "x.pth", named)
    network = fresh(spec)
    report = load_initial(network, spec, str(path))
    old = weights["pos_embed"][0].numpy().astype(np.float64)
    matrix = bicubic(4, new)
    grid = np.einsum("ih,jw,hwd->ijd", matrix, matrix, old[1:].reshape(4, 4, WIDTH))
    expected = np.concatenate([old[:1], grid.reshape(-1, WIDTH)])
    came = network.get_parameter("pos_embed")[0].detach().numpy()
    np.testing.assert_allclose(came, expected, atol=1e-5)
    assert report.adapted == ("pos_embed",)
    assert logits(network, images(spec)).shape == (3, 7)


def test_patches_of_another_size_are_resampled(weights: Weights, tmp_path: Path) -> None:
    spec = vit(24, patch_size=6)
    network = fresh(spec)
    report = load_initial(network, spec, str(save_torch(tmp_path / "x.pth", weights)))
    assert report.adapted == ("patch_embed.proj.weight",)  # 4 x 4 patches in both
    assert network.get_parameter("patch_embed.proj.weight").shape == (WIDTH, 3, 6, 6)


@pytest.mark.parametrize("naming", ["google", "huggingface", "timm"])
def test_a_gray_picture_gives_what_its_rgb_copy_gave(
    source: nn.Module, weights: Weights, tmp_path: Path, naming: str
) -> None:
    spec = vit(color="gray")
    if naming == "google":
        path = save_google(tmp_path / "x.npz", weights)
    else:
        named = weights if naming == "timm" else to_huggingface(weights)
        path = save_torch(tmp_path / "x.pth", named)
    network = fresh(spec)
    report = load_initial(network, spec, str(path))
    inputs = images(spec)
    copies = inputs.repeat(1, 3, 1, 1)
    assert torch.allclose(logits(network, inputs), logits(source, copies), atol=1e-5)
    assert report.adapted == ("patch_embed.proj.weight",)


def test_timms_weights_of_another_architecture_start_a_gray_network(tmp_path: Path) -> None:
    rgb = timm.create_model("mobilenetv3_small_050", num_classes=1000).eval()
    network = fresh(small_cnn())
    path = save_torch(tmp_path / "pytorch_model.bin", rgb.state_dict())
    report = load_initial(network, small_cnn(), str(path))
    assert (report.kind, report.adapted) == ("timm", ("conv_stem.weight",))
    assert set(report.new) == {"classifier.weight", "classifier.bias"}
    inputs = images(small_cnn())
    features = cast("Any", network.eval()).forward_features(inputs)
    expected = rgb.forward_features(inputs.repeat(1, 3, 1, 1))
    assert torch.allclose(features, expected, atol=1e-4)


# --- checkpoints of ours


def small_cnn() -> ModelSpec:
    return ModelSpec(NetworkSpec("mobilenetv3_small_050"), InputSpec(32, 32))


def test_a_checkpoint_of_ours_gives_the_same_logits(tmp_path: Path) -> None:
    spec = small_cnn()
    source = random_network(spec)
    checkpoint.save(tmp_path / "best.safetensors", source.state_dict(), spec)
    network = fresh(spec)
    report = load_initial(network, spec, str(tmp_path / "best.safetensors"))
    inputs = images(spec)
    assert torch.equal(logits(network, inputs), logits(source, inputs))
    assert (report.kind, report.labels, report.new) == ("checkpoint", LABELS, ())


def test_a_gray_checkpoint_of_ours_starts_an_rgb_network(tmp_path: Path) -> None:
    gray, rgb = vit(color="gray"), vit(48)
    source = random_network(gray)
    checkpoint.save(tmp_path / "best.safetensors", source.state_dict(), gray)
    network = fresh(rgb)
    report = load_initial(network, rgb, str(tmp_path / "best.safetensors"))
    assert set(report.adapted) == {"pos_embed", "patch_embed.proj.weight"}
    same_size = fresh(vit())
    load_initial(same_size, vit(), str(tmp_path / "best.safetensors"))
    inputs = images(gray)
    copies = inputs.repeat(1, 3, 1, 1)
    assert torch.allclose(logits(same_size, copies), logits(source, inputs), atol=1e-5)


def test_a_checkpoint_of_another_architecture_is_named(tmp_path: Path) -> None:
    spec = small_cnn()
    checkpoint.save(tmp_path / "best.safetensors", random_network(spec).state_dict(), spec)
    with pytest.raises(ArtifactError, match="a checkpoint of mobilenetv3_small_050"):
        load_initial(fresh(vit()), vit(), str(tmp_path / "best.safetensors"))


def test_a_checkpoint_with_other_heads_is_refused_though_its_shapes_fit(tmp_path: Path) -> None:
    other = vit(num_heads=2)
    checkpoint.save(tmp_path / "best.safetensors", random_network(other).state_dict(), other)
    with pytest.raises(ArtifactError, match="'num_heads': 2"):
        load_initial(fresh(vit()), vit(), str(tmp_path / "best.safetensors"))


def test_the_state_of_a_training_is_no_checkpoint(tmp_path: Path) -> None:
    tensors = {"network.head.bias": torch.ones(7), "averaged.module.head.bias": torch.ones(7)}
    save_file(tensors, tmp_path / "last.safetensors", metadata={"state": "{}"})
    with pytest.raises(ArtifactError, match=r"best\.safetensors"):
        load_initial(fresh(vit()), vit(), str(tmp_path / "last.safetensors"))


# --- what does not fit is listed, and changes nothing


def refused(path: Path, match: str, spec: ModelSpec | None = None) -> str:
    spec = spec or vit()
    network = fresh(spec)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ArtifactError, match=match) as caught:
        load_initial(network, spec, str(path))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2500
    return str(caught.value)


@pytest.mark.parametrize("naming", ["google", "huggingface", "timm"])
def test_missing_surplus_and_misshapen_are_listed(
    weights: Weights, tmp_path: Path, naming: str
) -> None:
    weights["norm.weight"] = torch.ones(5)
    if naming == "google":
        arrays = to_google(weights) | {"extra/kernel": np.ones((2, 2))}
        del arrays["Transformer/encoderblock_1/LayerNorm_2/bias"]
        path = tmp_path / "x.npz"
        with path.open("wb") as stream:
            np.savez(stream, **arrays)
    else:
        named = weights if naming == "timm" else to_huggingface(weights)
        del named["blocks.1.norm2.bias" if naming == "timm" else HF_BIAS]
        named["extra.kernel"] = torch.ones(2, 2)
        path = save_torch(tmp_path / "x.pth", named)
    message = refused(path, r"missing: blocks\.1\.norm2\.bias; surplus: extra.kernel; of another")
    assert "norm.weight (5,) for (32,)" in message


HF_BIAS = "vit.encoder.layer.1.layernorm_after.bias"


def test_a_lacking_projection_is_missing(weights: Weights, tmp_path: Path) -> None:
    named = to_huggingface(weights)
    del named["vit.encoder.layer.0.attention.attention.key.weight"]
    refused(save_torch(tmp_path / "x.pth", named), r"missing: blocks\.0\.attn\.qkv\.weight; sur")


def test_the_list_is_bounded(tmp_path: Path) -> None:
    many = {f"layer{'x' * 300}{i}.weight": torch.ones(1) for i in range(500)}
    assert "and 495 more" in refused(save_torch(tmp_path / "x.pth", many), "surplus")


def test_more_layers_or_width_do_not_fit(weights: Weights, tmp_path: Path) -> None:
    path = save_torch(tmp_path / "x.pth", weights)
    refused(path, "missing: blocks.2", vit(depth=3))
    refused(path, "surplus: blocks.1", vit(depth=1))
    refused(path, "of another shape", vit(embed_dim=64))


@pytest.mark.parametrize("value", [torch.full((32,), float("nan")), torch.ones(32).long()])
def test_what_is_no_finite_number_is_refused(
    weights: Weights, tmp_path: Path, value: torch.Tensor
) -> None:
    path = save_torch(tmp_path / "x.pth", weights | {"norm.bias": value})
    refused(path, "not finite floating-point numbers: norm.bias")


def test_another_number_of_heads_is_refused_though_the_shapes_fit(
    weights: Weights, tmp_path: Path
) -> None:
    refused(save_google(tmp_path / "x.npz", weights), "4 attention heads", vit(num_heads=2))
    save_file(to_huggingface(weights), tmp_path / "model.safetensors")
    save_config(tmp_path, {}, heads=8)
    refused(tmp_path / "model.safetensors", "8 attention heads")


# --- files that are none


class Intruder:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return eval, (f"open({str(self.mark)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_does_not(
    weights: Weights, tmp_path: Path, zipped: bool
) -> None:
    saved = {"state_dict": weights, "hook": Intruder(tmp_path / "ran")}
    path = tmp_path / "x.pth"
    save_torch(path, saved, _use_new_zipfile_serialization=zipped)
    assert "eval" in refused(path, "holds more than weights")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_does_not_run_either(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Intruder(tmp_path / "ran")))
    refused(tmp_path / "x.pth", "x.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_saved_network_is_refused_with_what_to_do(
    source: nn.Module, tmp_path: Path
) -> None:
    message = refused(save_torch(tmp_path / "x.pth", source), "VisionTransformer")
    assert "model.state_dict()" in message


def test_a_numpy_archive_of_objects_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez(stream, **{"embedding/kernel": np.array([Intruder(tmp_path / "ran")])})
    refused(tmp_path / "x.npz", "allow_pickle")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\x00" * 100, "known kind"),
        (b"hello", "known kind"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PK\x03\x04 broken", "not a readable zip"),
        (b"\x80\x04\x95 broken", "not a readable PyTorch"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{broken........", "not a readable safetensors"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.npz"])
def test_what_is_no_weights_file_is_told(
    tmp_path: Path, content: bytes, match: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, match)


def test_a_file_that_broke_off_is_damaged(weights: Weights, tmp_path: Path) -> None:
    save_torch(tmp_path / "x.pth", weights)
    save_torch(tmp_path / "old.pth", weights, _use_new_zipfile_serialization=False)
    save_google(tmp_path / "x.npz", weights)
    save_file(weights, tmp_path / "x.safetensors")
    for path in list(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        refused(path, "Fetch it again|known kind")


def test_other_things_that_torch_saves_are_told(tmp_path: Path) -> None:
    refused(save_torch(tmp_path / "a.pth", [1, 2]), "holds a list")
    refused(save_torch(tmp_path / "b.pth", {"epoch": 3}), "no tensors by name, but 'epoch'")
    itself: dict[str, object] = {}
    itself["model"] = itself
    refused(save_torch(tmp_path / "c.pth", itself), "below 3 others")
    script = torch.jit.script(nn.Linear(2, 2))
    script.save(str(tmp_path / "d.pt"))
    refused(tmp_path / "d.pt", "not a readable PyTorch")


def test_a_folder_names_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "model.safetensors" in refused(tmp_path, "is a folder")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "no weights file at")
    for name in ("vit_tiny_patch16_224.pth", "nonsense"):
        with pytest.raises(ArtifactError, match=f"no weights file at {name}"):
            load_initial(fresh(vit()), vit(), name)


# --- timm's weights by name


@pytest.mark.parametrize(
    "name", ["timm:vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224", "timm:resnet10t"]
)
def test_a_name_of_timms_is_fetched(
    source: nn.Module, weights: Weights, tmp_path: Path, name: str
) -> None:
    asked = []

    def fetch(wanted: str) -> Path:
        asked.append(wanted)
        return save_torch(tmp_path / "x.bin", weights)

    network = fresh(vit())
    report = load_initial(network, vit(), name, fetch=fetch)
    assert asked == [name.removeprefix("timm:")]
    assert report.path == tmp_path / "x.bin"
    assert_same(network, source)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("vit_tiny_patch16_225", "no architecture"),
        ("vit_tiny_patch16_224.none", r"no weights .*augreg_in21k"),
        ("test_nonsense", "no architecture"),
        ("vit_base_patch16_18x2_224", "no weights .*: none"),
    ],
)
def test_a_name_that_timm_lacks_is_told_with_those_it_has(name: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        fetch_from_hub(name)


NAME, COMMIT = "resnet10t.c3_in1k", "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, for one repository with ``pytorch_model.bin`` alone."""

    content = b"weights"
    delay_s = 0.0

    def do_HEAD(self) -> None:
        time.sleep(self.delay_s)
        there = self.path == f"/timm/{NAME}/resolve/main/pytorch_model.bin" or COMMIT in self.path
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if there:
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(self.content)))
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_of_the_hub_is_fetched_once(hub: str, tmp_path: Path) -> None:
    path = fetch_from_hub(NAME, endpoint=hub, cache=tmp_path)
    assert path.name == "pytorch_model.bin"
    assert path.read_bytes() == Hub.content
    assert fetch_from_hub(NAME, endpoint="http://127.0.0.1:9", cache=tmp_path) == path


def test_without_a_network_the_file_to_fetch_is_named_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DownloadError, match=rf"timm/{re.escape(NAME)}/.*safetensors.*--init FILE"):
        fetch_from_hub(NAME, endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert time.monotonic() - started < 5


def test_a_hub_that_does_not_answer_is_not_waited_for(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "delay_s", 1.0)
    with pytest.raises(DownloadError, match=r"did not answer within 0\.2 s"):
        fetch_from_hub(NAME, endpoint=hub, cache=tmp_path, deadline_s=0.2)
