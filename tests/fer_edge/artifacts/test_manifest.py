"""The manifest of a model directory: its checks, and that nothing in it can be changed unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.artifacts.manifest import (
    MANIFEST,
    ArtifactEntry,
    Companion,
    GoldenCrop,
    Manifest,
    MeasuredAccuracy,
    MeasuredLatency,
    Measurement,
    Parity,
)
from fer_edge.errors import ArtifactError

HASH = "ab" * 32
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
TENSOR = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
FULL = Manifest(
    "mobilenet",
    "fp32",
    (
        ArtifactEntry(
            "model.onnx",
            HASH,
            123,
            "onnx",
            "fp32",
            (Companion("model.bin", HASH, 9),),
            ("onnxruntime",),
            (
                Measurement(
                    "onnxruntime",
                    "1.2",
                    "fp32",
                    Parity(4, "drawings", 1e-6, 1e-9, 1.0, {"happy": 1.0}),
                    MeasuredAccuracy("test", "final", 10, 0.7, (0.6, 0.8), 0.02, (-0.1, 0.1)),
                    MeasuredLatency(0.5, 1, "a machine"),
                ),
            ),
        ),
        ArtifactEntry("model.int8.onnx", HASH, 45, "onnx-int8", "int8"),
    ),
    (GoldenCrop.of(PIXELS, TENSOR, np.full(7, 1 / 7, np.float32)),),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FULL.write(tmp_path)
    return tmp_path


def read_plain(folder: Path) -> Any:
    return json.loads((folder / MANIFEST).read_text())


def write_plain(folder: Path, value: object) -> None:
    (folder / MANIFEST).write_text(json.dumps(value))


def test_a_manifest_survives_its_file(folder: Path) -> None:
    assert Manifest.read(folder) == FULL.sealed()


def test_a_manifest_is_written_whole_or_not_at_all(folder: Path) -> None:
    assert [file.name for file in folder.iterdir()] == [MANIFEST]


def _measurement(gap: Any) -> Measurement:
    return Measurement("onnxruntime", "1", "fp32", Parity(4, "drawings", gap, 0, 1))


def test_numbers_that_are_whole_by_chance_do_not_break_the_seal(tmp_path: Path) -> None:
    whole = ArtifactEntry("m.onnx", HASH, 1, "onnx", "fp32", measured=(_measurement(0),))
    Manifest("x", "fp32", (whole,)).write(tmp_path)
    assert Manifest.read(tmp_path).artifacts == (whole,)


@pytest.mark.parametrize("odd", [float("nan"), np.float32(0.5)])
def test_what_a_reader_would_refuse_is_not_written(odd: Any, tmp_path: Path) -> None:
    entry = ArtifactEntry("m.onnx", HASH, 1, "onnx", "fp32", measured=(_measurement(odd),))
    with pytest.raises(ArtifactError, match="max_probability_difference"):
        Manifest("x", "fp32", (entry,)).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["artifacts", "golden"])
def test_no_entry_can_be_removed_unseen(name: str, folder: Path) -> None:
    plain = read_plain(folder)
    plain[name].pop()
    write_plain(folder, plain)
    with pytest.raises(ArtifactError, match="changed after it was written"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip(),
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n ", 1),
        lambda text: text.replace(b'"fp32"', b'"\\u0066p32"', 1),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), indent=2).encode(),
    ],
)
def test_no_byte_can_be_changed_unseen(change: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / MANIFEST
    text = path.read_bytes()
    path.write_bytes(change(text))
    assert path.read_bytes() != text
    with pytest.raises(ArtifactError, match="changed after it was written"):
        Manifest.read(folder)


def test_line_ends_and_a_mark_that_git_or_an_editor_changed_mean_nothing(folder: Path) -> None:
    before = Manifest.read(folder)
    path = folder / MANIFEST
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert Manifest.read(folder) == before


def test_a_folder_without_a_manifest_is_no_model_directory(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model directory: it has no manifest\.json"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, r"schema 2, and this release reads up to 1"),
        ({"schema": 0}, "schema should be 1, not 0"),
        ({"later": 1}, "unknown fields 'later'"),
        ({"name": None}, r"name should be of type str"),
        ({"artifacts": {}}, r"artifacts should be of type list"),
        ({"artifacts": [{}]}, r"artifacts\[0\] lacks the fields"),
    ],
)
def test_a_manifest_of_another_kind_is_told_with_its_path(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    write_plain(folder, {**read_plain(folder), **changes})
    with pytest.raises(ArtifactError, match=f"{MANIFEST}.*{message}"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    "file",
    [
        "",
        ".",
        "below/../../model.onnx",
        "below//model.onnx",
        "..",
        "/etc/passwd",
        "../../etc/passwd",
        "../model.onnx",
        "model.onnx/",
        "./model.onnx",
        "..\\..\\model.onnx",
        "C:\\model.onnx",
        "model.onnx\0.txt",
        "model\n.onnx",
        "model\ud800.onnx",
    ],
)
def test_an_artifact_lies_in_the_folder(file: str, folder: Path) -> None:
    plain = read_plain(folder)
    plain["artifacts"][0]["file"] = file
    write_plain(folder, plain)
    with pytest.raises(
        ArtifactError, match=r"artifacts\[0\]: an artifact's file should be a plain"
    ):
        Manifest.read(folder)


def test_a_file_is_listed_once() -> None:
    entry = ArtifactEntry("m.onnx", HASH, 1, "onnx", "fp32")
    weighed = replace(entry, file="m.xml", companions=(Companion("m.onnx", HASH, 1),))
    for twice in ((entry, entry), (entry, weighed)):
        with pytest.raises(ValueError, match="lists each file once"):
            Manifest("x", "fp32", twice)


# --- golden crops


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[:, :, 0], PIXELS[:, ::-1]])
def test_a_golden_crop_gives_its_arrays_back(pixels: np.ndarray) -> None:
    raw, tensor = GoldenCrop.of(pixels, TENSOR, np.ones(7, np.float32)).arrays()
    np.testing.assert_array_equal(raw, pixels)
    np.testing.assert_array_equal(tensor, TENSOR)


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        ("AAAA", (2, 2)),
        ("AAAA", (-1,)),
        ("AAAA", (-1, -3)),
        ("AAAA", (10**30,)),
        ("AAAA", (10**4000,) * 2000),
        ("AAAA", (3, 1, 1, 1)),
        ("AAA", (3,)),
        ("A!AA", (3,)),
        ("ÄAAA", (3,)),
    ],
)
def test_a_damaged_golden_crop_is_refused(pixels: str, shape: tuple[int, ...]) -> None:
    damaged = GoldenCrop(pixels, shape, "AAAA", (3,), (1.0,) * 7)
    with pytest.raises(ArtifactError, match="a golden crop of the manifest is damaged"):
        damaged.arrays()
