"""Checkpoints: safetensors with a spec."""

from __future__ import annotations

import errno
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="no torch: checkpoints are part of the torch extra")

from safetensors.torch import save_file  # noqa: E402 - behind the skip

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance  # noqa: E402
from fer_edge.errors import ArtifactError  # noqa: E402
from fer_edge.torch_model import checkpoint, network  # noqa: E402

SPEC = ModelSpec(
    NetworkSpec("mobilenetv3_small_050", stem_stride=1),
    InputSpec(48, 48),
    temperature=1.25,
    provenance=Provenance(training_run="a run"),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, network.build(SPEC).state_dict(), SPEC)
    return path


def test_network_and_spec_come_back(saved: Path) -> None:
    torch.manual_seed(0)
    original = network.build(SPEC).eval()
    loaded, spec = checkpoint.load(saved)
    pixels = torch.rand(2, 1, 48, 48)
    assert spec == SPEC
    assert not loaded.training
    assert torch.equal(loaded(pixels), original(pixels))


def test_the_spec_alone_can_be_read(saved: Path) -> None:
    assert checkpoint.read_spec(saved) == SPEC


def test_weights_of_another_architecture_are_listed(saved: Path, tmp_path: Path) -> None:
    other = replace(SPEC, network=NetworkSpec("mobilenetv3_small_075", stem_stride=1))
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, checkpoint.load(saved)[0].state_dict(), other)
    with pytest.raises(ArtifactError, match=r"does not hold a mobilenetv3_small_075; .*shape"):
        checkpoint.load(path)


def test_missing_and_surplus_weights_are_listed(saved: Path, tmp_path: Path) -> None:
    weights = dict(checkpoint.load(saved)[0].state_dict())
    weights["extra"] = weights.pop("classifier.bias")
    checkpoint.save(tmp_path / "x.safetensors", weights, SPEC)
    with pytest.raises(ArtifactError, match=r"missing: classifier\.bias; surplus: extra"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_network_that_cannot_be_built_is_the_files_fault(saved: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, network=NetworkSpec("network_of_tomorrow"))
    checkpoint.save(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, spec)
    with pytest.raises(ArtifactError, match="timm has no architecture"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_weights_of_another_type_are_listed(saved: Path, tmp_path: Path) -> None:
    weights = dict(checkpoint.load(saved)[0].state_dict())
    weights["classifier.bias"] = weights["classifier.bias"].to(torch.int64)
    checkpoint.save(tmp_path / "x.safetensors", weights, SPEC)
    with pytest.raises(ArtifactError, match=r"of another type: classifier\.bias"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize(("dtype", "size"), [("F6_E2M3", 6), ("F8_E8M0", 8), ("F4", 4)])
def test_a_tensor_that_torch_cannot_read_is_refused(dtype: str, size: int, tmp_path: Path) -> None:
    header = {
        "__metadata__": {"fer_edge": SPEC.to_json()},
        "a": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(ArtifactError, match=r"that this torch cannot read|not a safe"):
        checkpoint.load(path)


def test_weights_are_a_copy_that_survives_the_file(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(saved.read_bytes())
    loaded, _ = checkpoint.load(path)
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    assert all(torch.equal(before[name], value) for name, value in loaded.state_dict().items())


def test_weights_without_a_spec_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ArtifactError, match="has weights but no model spec"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("content", [b"x", b"\x80\x04\x95 a pickle", b"\xff" * 100])
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_half_precision_halves_the_file_and_comes_back_as_fp32(saved: Path, tmp_path: Path) -> None:
    original, spec = checkpoint.load(saved)
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, original.state_dict(), spec, half=True)
    assert path.stat().st_size < 0.55 * saved.stat().st_size
    assert checkpoint.read_spec(path) == replace(SPEC, precision="fp16")
    loaded, told = checkpoint.load(path)
    assert told == SPEC
    expected = original.state_dict()
    for name, value in loaded.state_dict().items():
        assert value.dtype == expected[name].dtype
        if value.ndim > 1:
            assert torch.equal(value, expected[name].half().float()), name
        else:
            assert torch.equal(value, expected[name]), name
    checkpoint.save(path, loaded.state_dict(), told)
    assert checkpoint.read_spec(path).precision == "fp32"


def test_a_disk_that_is_full_is_an_error_of_the_system_and_keeps_the_old_file(
    saved: Path, tmp_path: Path
) -> None:
    network_, spec = checkpoint.load(saved)
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, network_.state_dict(), spec)
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoint.save(path, network_.state_dict(), spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_weights_that_torch_saved_are_told_to_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "my weights.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ArtifactError, match=r"fer-train import --weights '.*my weights\.pth'"):
        checkpoint.read_spec(path)


def test_tensors_without_a_spec_are_told_to_be_imported_beside(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ArtifactError, match=r"no model spec.*--out .*x-checkpoint\.safetensors"):
        checkpoint.read_spec(path)


def test_the_state_of_a_training_is_no_checkpoint(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.write_tensors(path, {"averaged.module.a": torch.zeros(1)}, {"state": "{}"})
    with pytest.raises(ArtifactError, match=r"state of a training.*best\.safetensors beside it"):
        checkpoint.load(path)


def test_a_folder_of_a_training_is_told_its_checkpoint(saved: Path) -> None:
    with pytest.raises(ArtifactError, match=f"give the checkpoint in it, {saved}"):
        checkpoint.load(saved.parent)
