"""Any checkpoint and any weights from elsewhere: what they say, or an error of ours."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import Payload, damaged_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge import LABELS, ArtifactError, ModelSpec
from fer_edge.spec import InputSpec, NetworkSpec

FUZZ = settings(settings.get_profile("fuzz"))


def test_a_pickle_where_safetensors_belongs_is_not_run(tmp_path: Path) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    path = tmp_path / "best.safetensors"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for read in (checkpoint.read_spec, checkpoint.load):
        with pytest.raises(ArtifactError, match="safetensors"):
            read(path)
    assert not (tmp_path / "ran").exists()


@FUZZ
@given(data=st.data())
def test_any_checkpoint_is_read_or_refused(
    survive: Any, folder: Path, checkpoint_file: bytes, data: st.DataObject
) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    path = folder / "best.safetensors"
    path.write_bytes(data.draw(st.one_of(damaged_bytes(checkpoint_file), st.binary(max_size=60))))
    found = survive(checkpoint.read_spec, path)
    assert isinstance(found, (ModelSpec, ArtifactError))


@pytest.fixture(scope="module")
def checkpoint_file() -> bytes:
    """Safetensors with a spec, and two tensors."""
    spec = ModelSpec(NetworkSpec("resnet18"), InputSpec(48, 48)).to_json()
    header = {
        "__metadata__": {"fer_edge": spec},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(12)


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound checkpoint of a network that is built in no time."""
    pytest.importorskip("timm", reason="no timm to build a network with")
    from fer_edge import checkpoint, network

    spec = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48))
    path = tmp_path_factory.mktemp("small") / "best.safetensors"
    checkpoint.save(path, network.build(spec).state_dict(), spec)
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_weights_are_loaded_or_refused(
    survive: Any, folder: Path, small_checkpoint: bytes, data: st.DataObject
) -> None:
    """Damage to the header counts: anything is a weight."""
    from fer_edge import checkpoint

    end = 8 + int.from_bytes(small_checkpoint[:8], "little")
    header = data.draw(damaged_bytes(small_checkpoint[8:end]))
    length = len(header) if data.draw(st.booleans()) else end - 8
    path = folder / "best.safetensors"
    path.write_bytes(struct.pack("<Q", length) + header + small_checkpoint[end:])
    for read in (checkpoint.load, lambda file: checkpoint.load_bytes(file.read_bytes(), file)):
        found = survive(read, path)
        assert isinstance(found, (tuple, ArtifactError))


KERNEL = "embedding/kernel"
PROJECTION = "encoder.layer.0.attention.attention.{}.weight"


@pytest.fixture(scope="module")
def weights_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Sound weights of each kind that is known, small."""
    torch = pytest.importorskip("torch", reason="no torch to save weights with")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    tensors = {PROJECTION.format(part): torch.ones(2, 2) for part in ("query", "key", "value")}
    tensors |= {"embeddings.patch_embeddings.projection.weight": torch.ones(2, 3, 2, 2)}
    saved = {"model": tensors, "class_to_idx": {name: i for i, name in enumerate(LABELS)}}
    torch.save(saved, folder / "zipped.pth")
    torch.save(saved, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(tensors, folder / "x.safetensors")
    with (folder / "x.npz").open("wb") as stream:
        np.savez(stream, **{KERNEL: np.ones((2, 2, 3, 2), np.float32), "cls": np.float16(1)})
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def foreign_weights(weights_files: dict[str, bytes]) -> Any:
    """A network that is built in no time, its spec, and weights that are of other ones."""
    pytest.importorskip("timm", reason="no timm to build a network with")
    from fer_edge import network

    spec = ModelSpec(NetworkSpec("test_vit"), InputSpec(160, 160, "rgb", (0.5,) * 3, (0.5,) * 3))
    return (network.build(spec), spec), weights_files


@pytest.mark.parametrize("name", ["zipped.pth", "old.pth", "x.safetensors", "x.npz"])
@FUZZ
@given(data=st.data())
def test_any_foreign_weights_are_read_or_refused(
    survive: Any, folder: Path, foreign_weights: Any, name: str, data: st.DataObject
) -> None:
    (network, spec), weights_files = foreign_weights
    reading = pytest.importorskip("fer_train.pretrained.reading", reason="no package to train with")
    from fer_train.pretrained import load_initial

    assert reading.read(_written(folder / name, weights_files[name])).tensors
    path = _written(folder / name, data.draw(damaged_bytes(weights_files[name])))
    assert isinstance(survive(reading.read, path), (reading.Contents, ArtifactError))
    assert isinstance(survive(load_initial, network, spec, str(path)), ArtifactError)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


ARCHITECTURES = st.sampled_from(
    [
        *("test_efficientnet", "test_vit", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
        *("resnetv2_152x4_bit", "fer_vit_tiny", "hf-hub:a/b", "local-dir:/", "test_vit.hf-hub:a"),
        "",
    ]
)
SETTINGS = st.dictionaries(
    st.sampled_from(
        [
            *("depth", "embed_dim", "num_heads", "img_size", "patch_size", "window_size"),
            *("block", "norm_layer", "act_layer", "features_only", "pretrained", "device"),
            *("pretrained_cfg", "checkpoint_path", "in_chans", "pruned", "mlp_ratio", "x", ""),
        ]
    ),
    st.sampled_from([0, 1, 2, 3, 8, 48, 192, 1024, 4096, -1, 10**6, 10**30]),
    max_size=4,
)
SPECS = st.fixed_dictionaries(
    {"architecture": ARCHITECTURES},
    optional={
        "arguments": SETTINGS,
        "stem_stride": st.sampled_from([1, 2, 50, 10**30]),
        "activation": st.sampled_from(["relu6", "x"]),
        "batch_norm_epsilon": st.sampled_from([1e-3, 1e300]),
    },
)
SIDES = st.sampled_from([1, 47, 48, 224, 1024])
DTYPES = st.sampled_from(
    [
        *("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "C64"),
        *("F8_E4M3", "F8_E8M0", "F6_E2M3", "F4"),
    ]
)


@st.composite
def sealed(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with another spec, or with tensors of other types and shapes, true to its format."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    spec = json.loads(header["__metadata__"]["fer_edge"])
    if draw(st.booleans()):
        spec["network"] = draw(SPECS)
    if draw(st.booleans()):
        spec["input"] |= {"height": draw(SIDES), "width": draw(SIDES)}
    names = sorted(header.keys() - {"__metadata__"})
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        tensor = header[name]
        bits = 8 * (tensor["data_offsets"][1] - tensor["data_offsets"][0])
        tensor["dtype"] = kind = draw(DTYPES)
        width = {"F4": 4, "F6_E2M3": 6, "BOOL": 8, "C64": 64}.get(kind)
        width = width or int(kind.lstrip("BFIU").split("_")[0])
        tensor["shape"] = [bits // width] if bits % width == 0 else [0]
    header["__metadata__"]["fer_edge"] = json.dumps(spec)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[end:]


@FUZZ
@given(data=st.data())
def test_any_spec_is_built_from_what_the_file_holds_or_refused(
    survive: Any, folder: Path, small_checkpoint: bytes, data: st.DataObject
) -> None:
    from fer_edge import checkpoint

    path = folder / "best.safetensors"
    path.write_bytes(data.draw(sealed(small_checkpoint)))
    for read in (checkpoint.load, lambda file: checkpoint.load_bytes(file.read_bytes(), file)):
        found = survive(read, path)
        assert isinstance(found, (tuple, ArtifactError))


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 3072, "depth": 8}),
        ("vit_tiny_patch16_224", {"depth": 4096}),
        ("vit_tiny_patch16_224", {"img_size": 4096, "patch_size": 1}),
        ("resnetv2_152x4_bit", {}),
    ],
)
def test_a_spec_that_asks_for_a_giant_costs_no_more_than_its_file(
    survive: Any, tmp_path: Path, architecture: str, arguments: dict[str, int]
) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    spec = ModelSpec(NetworkSpec(architecture, arguments=arguments), InputSpec(48, 48))
    header = {
        "__metadata__": {"fer_edge": spec.to_json()},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "best.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert isinstance(survive(checkpoint.load, path), ArtifactError)
