"""docs/own_faces.sh, at a small scale: random weights of ViT-Ti/16 in Hugging Face's naming."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ("alert", "bored", "happy")
_WIDTH, _DEPTH = 192, 12


def huggingface_folder(folder: Path) -> Path:
    """What ``save_pretrained`` of transformers 5 writes, without a head."""
    torch = pytest.importorskip("torch", reason="no torch to train with")
    from safetensors.torch import save_file

    shapes: dict[str, tuple[int, ...]] = {
        "vit.embeddings.cls_token": (1, 1, _WIDTH),
        "vit.embeddings.position_embeddings": (1, 197, _WIDTH),
        "vit.embeddings.patch_embeddings.projection.weight": (_WIDTH, 3, 16, 16),
        "vit.embeddings.patch_embeddings.projection.bias": (_WIDTH,),
        "vit.layernorm.weight": (_WIDTH,),
        "vit.layernorm.bias": (_WIDTH,),
    }
    for layer in range(_DEPTH):
        start = f"vit.layers.{layer}"
        for part in ("q", "k", "v", "o"):
            shapes[f"{start}.attention.{part}_proj.weight"] = (_WIDTH, _WIDTH)
            shapes[f"{start}.attention.{part}_proj.bias"] = (_WIDTH,)
        for norm in ("layernorm_before", "layernorm_after"):
            shapes |= {f"{start}.{norm}.weight": (_WIDTH,), f"{start}.{norm}.bias": (_WIDTH,)}
        for name, rows, columns in (("fc1", 4 * _WIDTH, _WIDTH), ("fc2", _WIDTH, 4 * _WIDTH)):
            shapes[f"{start}.mlp.{name}.weight"] = (rows, columns)
            shapes[f"{start}.mlp.{name}.bias"] = (rows,)
    torch.manual_seed(0)
    weights = {
        name: torch.ones(shape)
        if "norm" in name and name.endswith("weight")
        else torch.randn(shape) * 0.02
        for name, shape in shapes.items()
    }
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text('{"num_attention_heads": 3}')
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    return folder


def colour_pictures(folder: Path) -> Path:
    """Eight pictures in colour of each class, of several sizes."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            low = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            low[..., place] //= 4
            picture = cv2.resize(low, (100 + number, 110), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name / f"{number}.jpg"), picture)
    return folder


@pytest.mark.long
def test_the_whole_way_from_a_folder_to_a_guarded_model(root: Path, tmp_path: Path) -> None:
    given = [colour_pictures(tmp_path / "pictures"), huggingface_folder(tmp_path / "weights")]
    out = tmp_path / "out"
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    settings = {
        "CLASSES": ",".join(CLASSES),
        "SHARE": "0.25",
        "TARGETS": "onnx",
        "PATH": os.pathsep.join(paths),
    }
    done = subprocess.run(
        ["sh", str(root / "docs" / "own_faces.sh"), *map(str, given), str(out),
         "vit_tiny_patch16_224", "--epochs", "1", "--batch-size", "6"],
        env={**os.environ, **settings}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("CPUExecution")]
    assert answer.split()[1] in CLASSES
    for name in ("sheet.png", "run/best.safetensors", "model/manifest.json", "baseline.json"):
        assert (out / name).is_file()
