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
from fuzzed_json import changed_json
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge import LABELS, ArtifactError, ModelSpec
from fer_edge.artifacts.spec import InputSpec, NetworkSpec

torch = pytest.importorskip("torch", reason="no torch to load weights with")
pytest.importorskip("timm", reason="no timm to build networks with")

from safetensors.torch import save_file  # noqa: E402

from fer_edge.torch_model import checkpoint, network  # noqa: E402

FUZZ = settings(settings.get_profile("fuzz"))


def test_a_pickle_where_safetensors_belongs_is_not_run(tmp_path: Path) -> None:
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
    return _safetensors(json.dumps(header).encode(), bytes(12))


def _safetensors(header: bytes, tensors: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + tensors


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Header and tensors of a sound checkpoint, of a network that is built in no time.

    Inputs are drawn from the header alone: hypothesis keeps what was drawn for its last 10,000
    inputs, and with 400 kB of tensors in each that would be all the memory there is.
    """
    spec = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48))
    path = tmp_path_factory.mktemp("small") / "best.safetensors"
    checkpoint.save(path, network.build(spec).state_dict(), spec)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


@FUZZ
@given(data=st.data())
def test_any_weights_are_loaded_or_refused(
    survive: Any, folder: Path, small_checkpoint: tuple[bytes, bytes], data: st.DataObject
) -> None:
    """Damage to the header counts: anything is a weight."""
    sound, tensors = small_checkpoint
    header = data.draw(damaged_bytes(sound))
    length = len(header) if data.draw(st.booleans()) else len(sound)
    path = folder / "best.safetensors"
    path.write_bytes(_safetensors(header, tensors, length=length))
    for read in (checkpoint.load, lambda file: checkpoint.load_bytes(file.read_bytes(), file)):
        found = survive(read, path)
        assert isinstance(found, (tuple, ArtifactError))


KERNEL = "embedding/kernel"
PROJECTION = "encoder.layer.0.attention.attention.{}.weight"


@pytest.fixture(scope="module")
def weights_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Sound weights of each kind that is known, small."""
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
    spec = ModelSpec(NetworkSpec("test_vit"), InputSpec(160, 160, "rgb", (0.5,) * 3, (0.5,) * 3))
    return (network.build(spec), spec), weights_files


@pytest.mark.parametrize("name", ["zipped.pth", "old.pth", "x.safetensors", "x.npz"])
@FUZZ
@given(data=st.data())
def test_any_foreign_weights_are_read_or_refused(
    survive: Any, folder: Path, foreign_weights: Any, name: str, data: st.DataObject
) -> None:
    (built, spec), weights_files = foreign_weights
    reading = pytest.importorskip("fer_train.pretrained.reading", reason="no package to train with")
    from fer_train.pretrained import load_initial, read_source

    assert reading.read(_written(folder / name, weights_files[name])).tensors
    path = _written(folder / name, data.draw(damaged_bytes(weights_files[name])))
    assert isinstance(survive(reading.read, path), (reading.Weights, ArtifactError))
    given = survive(read_source, str(path))
    found = given if isinstance(given, ArtifactError) else survive(load_initial, built, spec, given)
    assert isinstance(found, ArtifactError)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


ARCHITECTURES = st.sampled_from(
    [
        *("test_efficientnet", "test_vit", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
        *("fer_vit", "hf-hub:a/b", "local-dir:/", "test_vit.hf-hub:a", ""),
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
def resealed(draw: st.DrawFn, sound: bytes) -> bytes:
    """A header with another spec, or with tensors of other types and shapes, true to its format."""
    header = json.loads(sound)
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
    return json.dumps(header).encode()


@FUZZ
@given(data=st.data())
def test_any_spec_is_built_from_what_the_file_holds_or_refused(
    survive: Any, folder: Path, small_checkpoint: tuple[bytes, bytes], data: st.DataObject
) -> None:
    sound, tensors = small_checkpoint
    path = folder / "best.safetensors"
    path.write_bytes(_safetensors(data.draw(resealed(sound)), tensors))
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
    spec = ModelSpec(NetworkSpec(architecture, arguments=arguments), InputSpec(48, 48))
    header = {
        "__metadata__": {"fer_edge": spec.to_json()},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    path = tmp_path / "best.safetensors"
    path.write_bytes(_safetensors(json.dumps(header).encode(), bytes(4)))
    assert isinstance(survive(checkpoint.load, path), ArtifactError)


# --- teachers' answers, and graph models


@pytest.fixture(scope="module")
def answers_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two views of three pictures by one teacher."""
    stored = pytest.importorskip("fer_train.stored_answers", reason="no package to train with")
    recipe = pytest.importorskip("fer_train.recipe")
    info = stored.AnswersInfo(
        pictures=3,
        shape=(48, 48, 1),
        labels=LABELS,
        pictures_sha256="a" * 64,
        seed=0,
        views=2,
        augmentation=recipe.Augmentation(),
        teachers=(stored.Teacher("teacher", "b" * 64),),
        teachers_accuracy=0.5,
    )
    path: Path = tmp_path_factory.mktemp("answers") / "taught.safetensors"
    stored.StoredAnswers(info, torch.zeros(2, 3, 1, 7, dtype=torch.float16)).save(path)
    assert stored.read_answers(path).views == 2
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_answers_are_read_or_refused(
    survive: Any, folder: Path, answers_file: bytes, data: st.DataObject
) -> None:
    from fer_train.stored_answers import StoredAnswers, read_answers

    path = folder / "taught.safetensors"
    path.write_bytes(data.draw(st.one_of(damaged_bytes(answers_file), st.binary(max_size=60))))
    found = survive(read_answers, path)
    assert isinstance(found, (StoredAnswers, ArtifactError))


GRAPH = {
    "format": "graph-model",
    "generatedBy": "x",
    "weightsManifest": [
        {
            "paths": ["w.bin"],
            "weights": [
                {"name": "conv1/convolution/merged_input", "shape": [2, 2], "dtype": "float32"}
            ],
        }
    ],
}


@FUZZ
@given(data=st.data())
def test_any_graph_model_is_refused(survive: Any, folder: Path, data: st.DataObject) -> None:
    """None that is drawn is a MobileNet; a test of the reader has one that is."""
    module = pytest.importorskip(
        "fer_train.pretrained.graph_model", reason="no package to train with"
    )
    path = folder / "graph.json"
    text = data.draw(st.one_of(changed_json(GRAPH), st.text(max_size=20)))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    path.with_name("w.bin").write_bytes(bytes(16))
    assert isinstance(survive(module.read_graph_model, path), ArtifactError)
