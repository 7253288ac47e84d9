"""From what a caller names to the bytes of one artifact."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fer_edge.artifact import DEFAULT_MODEL, find_artifact, model_path
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.manifest import ArtifactEntry, Manifest

FILES = {
    "small.onnx": ("onnx-int8", "int8", b"int8 onnx"),
    "model.onnx": ("onnx", "fp32", b"fp32 onnx"),
    "model.xml": ("openvino-fp32", "fp32", b"fp32 openvino"),
}


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
    assert find_artifact(directory, formats=("onnx",)).data == b"int8 onnx"


def test_the_caller_may_ask_for_another_precision(directory: Path) -> None:
    found = find_artifact(directory, formats=("onnx",), precision="fp32")
    assert (found.path.name, found.data) == ("model.onnx", b"fp32 onnx")


@pytest.mark.parametrize(
    ("formats", "name"),
    [(("onnx", "openvino"), "model.onnx"), (("openvino", "onnx"), "model.xml")],
)
def test_the_format_that_the_backend_prefers_comes_first(
    formats: tuple[str, ...], name: str, directory: Path
) -> None:
    assert find_artifact(directory, formats=formats, precision="fp32").path.name == name


def test_what_a_manifest_lists_is_vouched_for(directory: Path) -> None:
    found = find_artifact(directory, formats=("onnx",))
    assert (found.vouched, found.sha256) == (True, hashlib.sha256(found.data).hexdigest())


def test_a_single_file_is_not_vouched_for(directory: Path) -> None:
    found = find_artifact(str(directory / "model.onnx"), formats=("onnx",))
    assert (found.vouched, found.format, found.data) == (False, "onnx", b"fp32 onnx")


def test_the_bytes_are_not_printed(directory: Path) -> None:
    found = find_artifact(directory, formats=("onnx",))
    assert "int8 onnx" not in repr(found)


def test_a_precision_that_is_not_there_is_told_with_what_is(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no fp16 .* it has onnx-int8 \(int8\), onnx"):
        find_artifact(directory, formats=("onnx",), precision="fp16")


def test_a_format_that_is_not_there_is_never_replaced_by_another(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="no int8 artifact in the format openvino"):
        find_artifact(directory, formats=("openvino",))


def test_an_unknown_precision_is_told_with_the_known(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="'fp8'; there are fp32, fp16, int8"):
        find_artifact(directory, formats=("onnx",), precision="fp8")


@pytest.mark.parametrize("data", [b"", b"int8 onnX", b"int8 onnx and more"])
def test_a_damaged_artifact_is_refused(data: bytes, directory: Path) -> None:
    (directory / "small.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"small.onnx is damaged: its sha256"):
        find_artifact(directory, formats=("onnx",))


def test_a_lacking_artifact_is_told(directory: Path) -> None:
    (directory / "small.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"cannot read the artifact .*small.onnx"):
        find_artifact(directory, formats=("onnx",))


def test_an_artifact_that_is_a_link_is_refused(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    (directory / "small.onnx").rename(outside)
    (directory / "small.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match="is a link"):
        find_artifact(directory, formats=("onnx",))


def test_a_model_directory_may_be_reached_by_a_link(directory: Path) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    assert find_artifact(link, formats=("onnx",)).vouched


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no model at .*; give 'default'"):
        find_artifact(tmp_path / "none", formats=("onnx",))


@pytest.mark.parametrize("name", ["model.pt", "model", "model.xml"])
def test_a_file_that_the_backend_does_not_open_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"it takes onnx"):
        find_artifact(tmp_path / name, formats=("onnx",))
