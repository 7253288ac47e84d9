"""Files that are no weights are told apart, and none of them runs code."""

from __future__ import annotations

import pickle
import time
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import foreign_weights as foreign
import numpy as np
import pytest
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.errors import ArtifactError
from fer_train.pretrained import read_source
from fer_train.pretrained.reading import read


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
    foreign.save_torch(path, saved, _use_new_zipfile_serialization=zipped)
    assert "eval" in foreign.refused(path, "holds more than weights")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_or_a_numpy_archive_of_objects_does_not_run_either(tmp_path: Path) -> None:
    intruder = Intruder(tmp_path / "ran")
    (tmp_path / "x.pth").write_bytes(pickle.dumps(intruder))
    foreign.refused(tmp_path / "x.pth", "x.pth")
    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez(stream, **{"embedding/kernel": np.array([intruder])})
    foreign.refused(tmp_path / "x.npz", "allow_pickle")
    assert not (tmp_path / "ran").exists()


def test_a_whole_saved_network_is_refused_with_what_to_do(
    source: nn.Module, tmp_path: Path
) -> None:
    message = foreign.refused(foreign.save_torch(tmp_path / "x.pth", source), "VisionTransformer")
    assert "model.state_dict()" in message


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\x00" * 100, "known kind"),
        (b"hello", "known kind"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x08\x0a\x12\x07pytorch", "looks like ONNX.*torch.save"),
        (b'{"weight_map": {}}', "is JSON"),
        (b"<?xml version='1.0'?><net/>", r"is XML.*torch\.save"),
        (b"\x1f\x8b\x08\x00", "gzip; unpack it first"),
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
    foreign.refused(tmp_path / name, match)


def test_a_file_that_broke_off_is_damaged(weights: Weights, tmp_path: Path) -> None:
    foreign.save_torch(tmp_path / "x.pth", weights)
    foreign.save_torch(tmp_path / "old.pth", weights, _use_new_zipfile_serialization=False)
    foreign.save_google(tmp_path / "x.npz", weights)
    save_file(weights, tmp_path / "x.safetensors")
    for path in list(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        foreign.refused(path, "Fetch it again|known kind")


def test_other_things_that_torch_saves_are_told(tmp_path: Path) -> None:
    foreign.refused(
        foreign.save_torch(tmp_path / "a.pth", [1, 2]),
        r"holds a list.*state_dict\(\), 'weights\.pth'",
    )
    foreign.refused(
        foreign.save_torch(tmp_path / "b.pth", {"epoch": 3}), "no tensors by name, but 'epoch'"
    )
    itself: dict[str, object] = {}
    itself["model"] = itself
    foreign.refused(
        foreign.save_torch(tmp_path / "c.pth", itself), "no tensors by name, but 'model'"
    )
    script = torch.jit.script(nn.Linear(2, 2))
    script.save(str(tmp_path / "d.pt"))
    foreign.refused(tmp_path / "d.pt", r"such as TorchScript.*state_dict\(\), 'weights\.pth'")


@pytest.mark.parametrize("name", ["model.safetensors", "weights.safetensors"])
def test_the_weights_in_a_folder_are_found(
    weights: Weights, source: nn.Module, tmp_path: Path, name: str
) -> None:
    save_file(weights, tmp_path / name)
    network, _ = foreign.loaded(tmp_path)
    foreign.assert_same(network, source)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ((), "is a folder without model.safetensors"),
        (("a.pth", "b.pth"), "give one of a.pth, b.pth"),
        (("model.safetensors.index.json", "model-00001-of-00002.safetensors"), "in parts"),
    ],
)
def test_a_folder_without_one_weights_file_is_told(
    tmp_path: Path, names: tuple[str, ...], match: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    foreign.refused(tmp_path, match)


@pytest.mark.parametrize("key", ["net", "model_state", "ema", "weights", "my_model", "model"])
@pytest.mark.parametrize("around", [(), ("run",)])
def test_the_state_dict_is_found_whatever_it_is_called(
    weights: Weights, tmp_path: Path, key: str, around: tuple[str, ...]
) -> None:
    saved: dict[str, object] = {
        "epoch": 3,
        "best": np.float64(0.7),
        "steps": np.int64(12),
        "args": Namespace(lr=1e-3, out=Path("runs/x")),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
        key: weights,
        "accuracy": torch.tensor(0.7),
    }
    for name in around:
        saved = {name: saved}
    path = foreign.save_torch(tmp_path / "x.pth", saved)
    assert read(path).tensors.keys() == weights.keys()


def test_averaged_weights_come_before_the_others(weights: Weights, tmp_path: Path) -> None:
    other = {name: torch.zeros_like(value) for name, value in weights.items()}
    path = foreign.save_torch(tmp_path / "x.pth", {"net": other, "ema": weights})
    assert torch.equal(read(path).tensors["norm.weight"], weights["norm.weight"])


@pytest.mark.parametrize("loss", [{"weight": torch.ones(7)}, {"centers": torch.ones(7, 2)}])
@pytest.mark.parametrize("key", ["cnn", "net"])
def test_a_loss_beside_the_network_is_not_mistaken_for_it(
    weights: Weights, tmp_path: Path, key: str, loss: Weights
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", {"model": loss, key: weights})
    assert read(path).tensors.keys() == weights.keys()


def test_several_state_dicts_of_unknown_names_are_told(weights: Weights, tmp_path: Path) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", {"student": weights, "teacher": dict(weights)})
    foreign.refused(
        path,
        r"several state dicts \(student, teacher\).*torch\.load\(FILE\)\['student'\], 'weights",
    )
    nested = {"a": {"cnn": weights}, "b": {"cnn": dict(weights)}}
    foreign.refused(
        foreign.save_torch(tmp_path / "y.pth", nested), r"\(a\.cnn, b\.cnn\).*\)\['a'\]\['cnn'\], "
    )


def test_a_pickle_that_torch_did_not_write_is_told_what_to_save(
    weights: Weights, tmp_path: Path
) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(weights))
    foreign.refused(tmp_path / "x.pkl", r"pickle of something else.*torch\.save\(model\.state_dict")


def test_an_object_in_the_guise_of_a_number_is_refused(tmp_path: Path) -> None:
    class Guise:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            scalar = np.float64(1).__reduce__()[0]
            return scalar, (np.dtype("O"), b"cos\nsystem\n")

    path = foreign.save_torch(tmp_path / "x.pth", {"net": {"a": torch.zeros(1)}, "n": Guise()})
    foreign.refused(path, "x.pth")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    foreign.refused(tmp_path / "none.pth", "no weights file at")
    for name in ("vit_tiny_patch16_224.pth", "nonsense"):
        with pytest.raises(ArtifactError, match=f"no weights file at {name}"):
            read_source(name)


def test_an_archive_that_unpacks_to_far_more_than_itself_is_not_unpacked(tmp_path: Path) -> None:
    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez_compressed(stream, **{"embedding/kernel": np.zeros(50_000_000, np.float16)})
    size = (tmp_path / "x.npz").stat().st_size
    assert size < 200_000
    foreign.refused(tmp_path / "x.npz", f"unpacks to more than {64 * size:,} bytes")


def test_a_state_dict_that_was_packed_again_to_unpack_to_much_is_not_unpacked(
    tmp_path: Path,
) -> None:
    foreign.save_torch(tmp_path / "x.pth", {"a": torch.zeros(5_000_000)})
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as whole,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    foreign.refused(tmp_path / "packed.pth", "unpacks to more than")


def test_no_archive_unpacks_to_more_than_the_largest_weights(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_train.pretrained.reading.MAX_UNPACKED", 4000)
    foreign.refused(foreign.save_google(tmp_path / "x.npz", weights), "more than 4,000 bytes")


def test_a_tensor_that_claims_more_numbers_than_it_keeps_is_refused(tmp_path: Path) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", {"a": torch.zeros(1).expand(10**12)})
    foreign.refused(path, "a claims 1,000,000,000,000 numbers and keeps fewer")


def test_a_name_of_many_wrappers_is_stripped_in_no_time(tmp_path: Path) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", {"module." * 150_000 + "x": torch.zeros(1)})
    started = time.process_time()
    assert set(read(path).tensors) == {"x"}
    assert time.process_time() - started < 1


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("embedding/kernel.npy", b"hello")
    foreign.refused(tmp_path / "x.npz", r"not a readable \.npz")
