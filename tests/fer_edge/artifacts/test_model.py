"""From what a caller names to the one artifact that a backend opens."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.artifacts.artifact import OPENED_BY, Artifact, read_entry
from fer_edge.artifacts.manifest import ArtifactEntry, Companion, Manifest
from fer_edge.artifacts.model import DEFAULT_MODEL, Model, model_path, packaged_models
from fer_edge.errors import ArtifactError, ConfigurationError

FILES = {
    "small.onnx": ("onnx-int8", "int8", b"int8 onnx"),
    "model.onnx": ("onnx", "fp32", b"fp32 onnx"),
    "model.xml": ("openvino-fp32", "fp32", b"fp32 openvino"),
}


def _find(model: str | Path, formats: tuple[str, ...], precision: str | None = None) -> Artifact:
    return Model.open(model).artifact("onnxruntime", precision, formats)


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


def test_packaged_models_go_by_their_names() -> None:
    assert DEFAULT_MODEL in packaged_models()
    assert {model_path(name).parent.name for name in packaged_models()} == {"models"}


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


def test_a_single_file_is_read_whatever_the_manifest_beside_it_says(directory: Path) -> None:
    found = _find(str(directory / "model.onnx"), formats=("onnx",))
    assert (found.format, found.data) == ("onnx", b"fp32 onnx")
    assert found.sha256 == hashlib.sha256(b"fp32 onnx").hexdigest()


def test_a_suffix_may_be_in_capitals(directory: Path) -> None:
    (directory / "model.onnx").rename(directory / "MODEL.ONNX")
    assert _find(directory / "MODEL.ONNX", formats=("onnx",)).format == "onnx"


def test_an_opened_model_is_given_back_as_it_is(directory: Path) -> None:
    model = Model.open(directory)
    assert Model.open(model) is model


def test_a_model_tells_what_it_offers_without_reading_it(directory: Path) -> None:
    model = Model.open(directory)
    for file in FILES:
        (directory / file).unlink()
    assert model.precisions == ("int8", "fp32")
    assert model.offers("onnxruntime")
    assert model.offers("openvino", "fp32", ("openvino",))
    assert not model.offers("openvino", "int8", ("openvino",))
    assert not model.offers("torch")
    assert model.sha256("onnxruntime") == hashlib.sha256(b"int8 onnx").hexdigest()


def test_the_same_artifact_of_a_file_is_not_read_twice(directory: Path) -> None:
    model = Model.open(directory / "model.onnx")
    first = model.artifact("onnxruntime")
    (directory / "model.onnx").unlink()
    assert model.artifact("openvino") is first


def test_the_bytes_are_not_printed(directory: Path) -> None:
    found = _find(directory, formats=("onnx",))
    assert "int8 onnx" not in repr(found)


@pytest.mark.parametrize(
    ("backend", "precision", "step"),
    [
        ("tensorrt", None, "has no int8 artifact for tensorrt; it has "),
        ("tensorrt", None, "Make one with: fer-export --from-onnx {} --target trt-int8 --out DIR"),
        ("openvino", "fp16", "Make one with: fer-export --from-onnx {} --target openvino-fp16"),
        ("onnxruntime", "fp16", "--target onnx-fp16 --out DIR, or ask for precision 'int8' or"),
        (None, "fp16", "has no fp16 artifact; it has "),
        (None, "fp16", "Make one with: fer-export --from-onnx {} --target onnx-fp16 --out DIR"),
        ("torch", None, "Give the checkpoint itself, a .safetensors file"),
        ("onnxruntime", "fp8", "unknown precision 'fp8'; there are fp32, fp16, int8"),
    ],
)
def test_what_a_model_lacks_is_told_with_the_command_that_makes_it(
    directory: Path, backend: str | None, precision: str | None, step: str
) -> None:
    message = str(Model.open(directory).nothing_for(backend, precision))
    assert step.format(directory) in message


def test_a_missing_fp32_onnx_goes_by_the_name_of_its_target(directory: Path) -> None:
    Manifest("x", "fp32", ()).write(directory)
    message = str(Model.open(directory).nothing_for("onnxruntime"))
    assert "Make one with: fer-export --weights CHECKPOINT --target onnx --out DIR" in message


def test_a_command_starts_from_what_the_directory_has(directory: Path) -> None:
    halved = [
        replace(entry, precision="fp16")
        for entry in Manifest.read(directory).artifacts
        if entry.file.endswith(".onnx")
    ]
    Manifest("x", "fp16", tuple(halved)).write(directory)
    model = Model.open(directory)
    from_itself = f"--from-onnx {directory} --target trt-fp16"
    assert from_itself in str(model.nothing_for("tensorrt"))
    assert "--weights CHECKPOINT --target onnx-int8" in str(model.nothing_for(None, "int8"))


def test_every_backend_that_is_known_opens_some_format() -> None:
    from fer_edge.backends import BACKENDS

    assert BACKENDS.keys() == OPENED_BY.keys()


def test_a_format_that_is_not_there_is_never_replaced_by_another(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="no int8 artifact for onnxruntime"):
        _find(directory, formats=("openvino",))


@pytest.mark.parametrize("data", [b"int8", b"int8 onnX", b"int8 onnx and more"])
def test_a_damaged_artifact_is_refused(data: bytes, directory: Path) -> None:
    (directory / "small.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"small.onnx is damaged: its sha256"):
        _find(directory, formats=("onnx",))


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "has 0 bytes; copy"), (b"<html>", "is a web page, not the file")]
)
def test_what_a_broken_download_left_is_told(data: bytes, message: str, directory: Path) -> None:
    (directory / "small.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        _find(directory, formats=("onnx",))
    with pytest.raises(ArtifactError, match=message):
        Model.open(directory / "small.onnx").artifact("onnxruntime")


def test_a_folder_of_hugging_face_leads_to_the_import(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"Hugging Face's.* fer-train import --weights"):
        Model.open(tmp_path)


@pytest.mark.parametrize("given", ["https://a.b/m.onnx", Path("https://a.b/m.onnx")])
def test_an_address_is_no_model(given: str | Path) -> None:
    with pytest.raises(ArtifactError, match=r"^https://a\.b/m\.onnx is an address; download the"):
        Model.open(given)


def test_a_lacking_artifact_is_told(directory: Path) -> None:
    (directory / "small.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"there is no artifact at .*small.onnx"):
        _find(directory, formats=("onnx",))


def test_a_directory_of_links_is_opened_where_the_hashes_match(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("cache")
    for file in [*directory.iterdir()]:  # as a ConfigMap and the cache of a hub have it
        file.rename(outside / file.name)
        file.symlink_to(outside / file.name)
    assert _find(directory, formats=("onnx",)).data == b"int8 onnx"
    (outside / "small.onnx").write_bytes(b"another")
    with pytest.raises(ArtifactError, match=r"small.onnx is damaged"):
        _find(directory, formats=("onnx",))


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no model at .*; give 'default'"):
        _find(tmp_path / "none", formats=("onnx",))


def test_a_file_that_the_backend_does_not_open_is_told_with_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "model.xml").touch()
    with pytest.raises(ConfigurationError, match=r"expected \.onnx\. It is opened by openvino$"):
        Model.open(tmp_path / "model.xml").artifact("onnxruntime")


@pytest.mark.parametrize("suffix", [".bin", ".BIN"])
def test_the_weights_of_an_ir_are_found_in_either_case(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "MODEL.XML").write_bytes(b"graph")
    (tmp_path / f"MODEL{suffix}").write_bytes(b"weights")
    artifact = Model.open(tmp_path / "MODEL.XML").artifact("openvino")
    assert artifact.companions == {"MODEL.bin": b"weights"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.txt", r"is not an artifact; the name of one ends in \.onnx, \.xml, \.plan"),
        ("model.tflite", "is a model of TensorFlow or Keras, .*; convert it to ONNX with tf2onnx"),
        ("manifest.json", "is the manifest of a model; give its folder"),
        ("model", "is not an artifact"),
        (
            "model.PTH",
            r"fer-train import --weights .*model\.PTH --model NETWORK --out .*model\.saf",
        ),
        ("model.ckpt", "holds weights, and is neither checkpoint nor artifact"),
        ("pytorch_model.bin", "holds weights, and is neither checkpoint nor artifact"),
        ("checkpoint.pth.tar", "holds weights, and is neither checkpoint nor artifact"),
    ],
)
def test_a_file_that_is_no_artifact_says_what_to_do(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=message):
        Model.open(tmp_path / name)


def test_the_weights_of_an_ir_lead_to_the_ir(tmp_path: Path) -> None:
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"holds the weights of an IR; give .*m\.xml"):
        Model.open(tmp_path / "m.bin")


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


def test_line_ends_that_git_changed_are_changed_back(tmp_path: Path) -> None:
    graph = b"<net>\n</net>\n"
    folder = _directory(tmp_path, {"m.xml": graph}, _entry("m.xml", graph, ()))
    (folder / "m.xml").write_bytes(graph.replace(b"\n", b"\r\n"))
    assert _find(folder, ("openvino",)).data == graph


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
    with pytest.raises(ArtifactError, match=r"has 9 bytes; the most is 8"):
        _find(directory / "model.onnx", ("onnx",))


@pytest.mark.parametrize(
    ("members", "advice"),
    [
        (["m/data.pkl", "m/constants.pkl", "m/code/m.py"], "save the weights alone"),
        (["m/data.pkl", "m/data/0"], "fer-train import"),
    ],
)
def test_a_program_of_torchs_is_told_from_a_state_dict(
    tmp_path: Path, members: list[str], advice: str
) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, b"")
    with pytest.raises(ConfigurationError, match=advice):
        Model.open(path)


def test_an_npz_is_weights_to_import(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    with pytest.raises(ConfigurationError, match="fer-train import"):
        Model.open(tmp_path / "x.npz")
