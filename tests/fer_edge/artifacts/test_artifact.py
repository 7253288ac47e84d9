"""From what a caller names to the bytes of one artifact."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from fer_edge.artifacts.artifact import (
    DEFAULT_MODEL,
    Artifact,
    find_artifact,
    model_path,
    read_entry,
)
from fer_edge.artifacts.manifest import ArtifactEntry, Companion, Manifest
from fer_edge.errors import ArtifactError, ConfigurationError

FILES = {
    "small.onnx": ("onnx-int8", "int8", b"int8 onnx"),
    "model.onnx": ("onnx", "fp32", b"fp32 onnx"),
    "model.xml": ("openvino-fp32", "fp32", b"fp32 openvino"),
}


def _find(model: str | Path, formats: tuple[str, ...], precision: str | None = None) -> Artifact:
    return find_artifact(model, backend="onnxruntime", formats=formats, precision=precision)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model directory with three artifacts, whose default precision is int8."""
    entries = []
    for name, (target, precision, data) in FILES.items():
        (tmp_path / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entries.append(ArtifactEntry(name, digest, len(data), target, precision))
    Manifest("x", "int8", tuple(entries)).write(tmp_path)
    return tmp_path


def test_the_word_default_stands_for_the_packaged_model() -> None:
    assert model_path(DEFAULT_MODEL).parent.name == "models"


def test_a_folder_of_that_name_is_reached_by_a_path() -> None:
    assert model_path(Path(DEFAULT_MODEL)) == Path("default")


def test_the_manifest_names_the_precision(directory: Path) -> None:
    assert _find(directory, formats=("onnx",)).data == b"int8 onnx"


def test_the_caller_may_ask_for_another_precision(directory: Path) -> None:
    found = _find(directory, formats=("onnx",), precision="fp32")
    assert (found.path.name, found.data) == ("model.onnx", b"fp32 onnx")


@pytest.mark.parametrize(
    ("formats", "name"),
    [(("onnx", "openvino"), "model.onnx"), (("openvino", "onnx"), "model.xml")],
)
def test_the_format_that_the_backend_prefers_comes_first(
    formats: tuple[str, ...], name: str, directory: Path
) -> None:
    assert _find(directory, formats=formats, precision="fp32").path.name == name


def test_what_a_manifest_lists_is_vouched_for(directory: Path) -> None:
    found = _find(directory, formats=("onnx",))
    assert (found.vouched, found.sha256) == (True, hashlib.sha256(found.data).hexdigest())


def test_a_single_file_is_not_vouched_for(directory: Path) -> None:
    found = _find(str(directory / "model.onnx"), formats=("onnx",))
    assert (found.vouched, found.format, found.data) == (False, "onnx", b"fp32 onnx")


def test_the_bytes_are_not_printed(directory: Path) -> None:
    found = _find(directory, formats=("onnx",))
    assert "int8 onnx" not in repr(found)


def test_a_precision_that_is_not_there_is_told_with_what_is(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no fp16 .* it has onnx-int8 \(int8\), onnx"):
        _find(directory, formats=("onnx",), precision="fp16")


def test_a_format_that_is_not_there_is_never_replaced_by_another(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="no int8 artifact in the format openvino"):
        _find(directory, formats=("openvino",))


def test_an_unknown_precision_is_told_with_the_known(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="'fp8'; there are fp32, fp16, int8"):
        _find(directory, formats=("onnx",), precision="fp8")


@pytest.mark.parametrize("data", [b"", b"int8 onnX", b"int8 onnx and more"])
def test_a_damaged_artifact_is_refused(data: bytes, directory: Path) -> None:
    (directory / "small.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"small.onnx is damaged: its sha256"):
        _find(directory, formats=("onnx",))


def test_a_lacking_artifact_is_told(directory: Path) -> None:
    (directory / "small.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"cannot read the artifact .*small.onnx"):
        _find(directory, formats=("onnx",))


def test_an_artifact_that_is_a_link_is_refused(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    (directory / "small.onnx").rename(outside)
    (directory / "small.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match="is a link"):
        _find(directory, formats=("onnx",))


def test_an_artifact_that_is_a_pipe_is_refused_without_waiting_for_a_writer(
    directory: Path,
) -> None:
    (directory / "small.onnx").unlink()
    os.mkfifo(directory / "small.onnx")
    for model in (directory, directory / "small.onnx"):
        with pytest.raises(ArtifactError, match="is a device, pipe or socket"):
            _find(model, formats=("onnx",))


def test_an_artifact_of_a_terabyte_is_not_read(directory: Path) -> None:
    os.truncate(directory / "small.onnx", 1 << 40)  # a hole: it takes no room
    with pytest.raises(ArtifactError, match="1,099,511,627,776 bytes; artifacts have up to"):
        _find(directory, formats=("onnx",))


def test_a_model_directory_may_be_reached_by_a_link(directory: Path) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    assert _find(link, formats=("onnx",)).vouched


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no model at .*; give 'default'"):
        _find(tmp_path / "none", formats=("onnx",))


@pytest.mark.parametrize("name", ["model.pt", "model", "model.xml"])
def test_a_file_that_the_backend_does_not_open_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"it takes onnx"):
        _find(tmp_path / name, formats=("onnx",))


def _directory(folder: Path, files: dict[str, bytes], *entries: ArtifactEntry) -> Path:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    Manifest("x", "int8", entries).write(folder)
    return folder


def _entry(file: str, data: bytes, backends: tuple[str, ...], **more: Any) -> ArtifactEntry:
    digest = hashlib.sha256(data).hexdigest()
    return ArtifactEntry(file, digest, len(data), "t", "int8", backends=backends, **more)


def test_an_artifact_made_for_the_backend_goes_before_one_for_all(tmp_path: Path) -> None:
    files = {"all.onnx": b"all", "mine.onnx": b"mine", "theirs.onnx": b"theirs"}
    meant: dict[str, tuple[str, ...]] = {
        "all.onnx": (),
        "mine.onnx": ("onnxruntime",),
        "theirs.onnx": ("tensorrt",),
    }
    folder = _directory(tmp_path, files, *(_entry(n, files[n], meant[n]) for n in files))
    assert _find(folder, ("onnx",)).data == b"mine"


def test_an_artifact_made_for_another_backend_is_none_of_ours(tmp_path: Path) -> None:
    entry = _entry("theirs.onnx", b"theirs", ("tensorrt",))
    folder = _directory(tmp_path, {"theirs.onnx": b"theirs"}, entry)
    with pytest.raises(ConfigurationError, match="for onnxruntime"):
        _find(folder, ("onnx",))


def _with_weights(folder: Path, data: bytes) -> Path:
    companion = Companion("m.bin", hashlib.sha256(b"weights").hexdigest(), 7)
    entry = _entry("m.xml", b"graph", (), companions=(companion,))
    return _directory(folder, {"m.xml": b"graph", "m.bin": data}, entry)


def test_companions_come_with_their_artifact(tmp_path: Path) -> None:
    found = _find(_with_weights(tmp_path, b"weights"), ("openvino",))
    assert (found.data, found.companions) == (b"graph", {"m.bin": b"weights"})
    assert found.size_bytes == len(b"graph") + len(b"weights")


def test_what_a_manifest_lists_is_read_without_a_choice(directory: Path) -> None:
    (_, fp32, openvino) = Manifest.read(directory).artifacts
    assert read_entry(directory, fp32).data == b"fp32 onnx"
    assert read_entry(directory, openvino).format == "openvino"


def test_a_damaged_companion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"m\.bin is damaged"):
        _find(_with_weights(tmp_path, b"Weights"), ("openvino",))


def test_companions_lie_beside_a_single_file(tmp_path: Path) -> None:
    folder = _with_weights(tmp_path, b"weights")
    assert _find(folder / "m.xml", ("openvino",)).companions == {"m.bin": b"weights"}


def test_an_artifact_has_as_many_bytes_as_onnx_allows(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FILES["model.onnx"][2]
    monkeypatch.setattr("fer_edge.artifacts.artifact.MAX_BYTES", len(data))
    assert _find(directory / "model.onnx", ("onnx",)).data == data
    monkeypatch.setattr("fer_edge.artifacts.artifact.MAX_BYTES", len(data) - 1)
    with pytest.raises(ArtifactError, match=r"has 9 bytes; artifacts have up to 8"):
        _find(directory / "model.onnx", ("onnx",))
