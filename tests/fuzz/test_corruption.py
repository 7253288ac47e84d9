"""Model directories that something or somebody changed: refused, and no engine sees them.

What refuses them is a hash, so no engine needs to start to try thousands: 10,000 with ``--long``,
or as many as ``FER_FUZZ_EXAMPLES`` says, if those are more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fer_edge import ArtifactError, Predictor
from fer_edge.artifacts.artifact import FORMATS
from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Companion, GoldenCrop, Manifest
from fer_edge.artifacts.model import Model
from fer_edge.backends import BACKENDS, Backend

FEW, MANY = 500, 10_000
ARTIFACTS = {
    "model.onnx": ("fp32", ()),
    "model.int8.onnx": ("int8", ()),
    "openvino/model.xml": ("fp16", ("openvino/model.bin",)),
    "model.plan": ("fp16", ("model.plan.json",)),
    "best.safetensors": ("fp32", ()),
}
FILES = [MANIFEST, *ARTIFACTS, *(name for _, beside in ARTIFACTS.values() for name in beside)]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A model directory with an artifact of each format, of random bytes."""
    folder, rng = tmp_path / "model", np.random.default_rng(0)
    entries = []
    for name, (precision, beside) in ARTIFACTS.items():
        data = {file: rng.bytes(int(rng.integers(300, 3000))) for file in (name, *beside)}
        for file, content in data.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        digest, *others = (hashlib.sha256(content).hexdigest() for content in data.values())
        companions = tuple(
            Companion(file, other, len(data[file]))
            for file, other in zip(beside, others, strict=True)
        )
        entries.append(
            ArtifactEntry(name, digest, len(data[name]), "target", precision, companions)
        )
    pixels = rng.integers(0, 256, (8, 8), np.uint8)
    golden = GoldenCrop.of(pixels, pixels[:, :, None], rng.dirichlet(np.ones(7)).astype("f4"))
    Manifest("model", "fp32", tuple(entries), (golden,)).write(folder)
    return folder


def opened(folder: Path, file: str) -> None:
    """Go as far as an engine would be given the bytes of ``file`` and what belongs to it."""
    precision, _ = ARTIFACTS[file]
    form = FORMATS[Path(file).suffix]
    Model.open(folder).artifact("any", precision, formats=(form,))


def owner(file: str) -> str:
    """The artifact that is opened to get at ``file``; any for the manifest."""
    return next((name for name, (_, beside) in ARTIFACTS.items() if file in beside), file)


def corrupted(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Damage of one random kind at a random place."""
    at, end = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    changed = bytearray(data)
    place = min(at, len(data) - 1)
    match int(rng.integers(0, 10)):
        case 0 | 1 | 2:
            changed[place] ^= 1 << int(rng.integers(0, 8))
        case 3:
            changed[place] = int(rng.integers(0, 256))
        case 4:
            del changed[at:]
        case 5:
            changed += rng.bytes(int(rng.integers(1, 9)))
        case 6:
            del changed[at:end]
        case 7:
            changed[at:end] = bytes(end - at)
        case 8:
            changed[at:at] = rng.choice([b" ", b"\n", b"0", b"\0", b"}"])
        case _:
            changed[:] = other
    return bytes(changed)


def corruptions_to_try(*, long: bool) -> int:
    """How many: a run with fewer inputs of other kinds tries no fewer of these."""
    return max(MANY if long else FEW, int(os.environ.get("FER_FUZZ_EXAMPLES", "0")))


@pytest.fixture
def corruptions(pytestconfig: pytest.Config) -> int:
    return corruptions_to_try(long=pytestconfig.getoption("--long"))


@pytest.mark.parametrize(
    ("long", "inputs", "tried"),
    [(False, 60, FEW), (True, 60, MANY), (True, 2000, MANY), (False, 200_000, 200_000)],
)
def test_fewer_inputs_of_other_kinds_are_no_fewer_corruptions(
    long: bool, inputs: int, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_FUZZ_EXAMPLES", str(inputs))
    assert corruptions_to_try(long=long) == tried


def test_every_random_corruption_of_a_model_directory_is_caught(
    sound: Path, corruptions: int
) -> None:
    whole = {file: (sound / file).read_bytes() for file in FILES}
    rng, tried, missed = np.random.default_rng(7), 0, []
    while tried < corruptions:
        file, other = (str(name) for name in rng.choice(FILES, 2, replace=False))
        damage = corrupted(whole[file], whole[other], rng)
        if damage == whole[file]:
            continue
        tried += 1
        (sound / file).write_bytes(damage)
        victims = ARTIFACTS if file == MANIFEST else [owner(file)]
        for victim in victims:
            try:
                opened(sound, victim)
            except ArtifactError:
                continue
            missed.append((file, victim, damage))
        (sound / file).write_bytes(whole[file])
    assert missed == []
    for victim in ARTIFACTS:
        opened(sound, victim)


@pytest.mark.parametrize("file", FILES)
def test_a_bit_flipped_in_every_region_is_caught(file: str, sound: Path) -> None:
    whole = (sound / file).read_bytes()
    for place in np.linspace(0, len(whole) - 1, 64).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 1 << (int(place) % 8)
        (sound / file).write_bytes(changed)
        with pytest.raises(ArtifactError):
            opened(sound, owner(file) if file != MANIFEST else "model.onnx")


def _swap(folder: Path) -> None:
    (folder / "model.onnx").rename(folder / "aside")
    (folder / "model.int8.onnx").rename(folder / "model.onnx")
    (folder / "aside").rename(folder / "model.int8.onnx")


def _link(folder: Path) -> None:
    (folder.parent / "outside.onnx").write_bytes(b"another model")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(folder.parent / "outside.onnx")


def _remove(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _folder(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()


def _pipe(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")


def _hole(folder: Path) -> None:
    os.truncate(folder / "model.onnx", 1 << 40)


def _no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _loop(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("model.onnx")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every backend replaced by one that records what it is given."""
    seen: list[Any] = []

    class Recording(Backend):
        def __init__(self, artifact: Any, options: Any) -> None:
            seen.append(artifact)
            raise ArtifactError("seen by an engine")

        def infer(self, batch: Any) -> Any:
            raise AssertionError

        def close(self) -> None:
            raise AssertionError

    module = ModuleType("recording_engine")
    module.Recording = Recording  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recording_engine", module)
    for name, entry in list(BACKENDS.items()):
        other = replace(entry, module="recording_engine", class_name="Recording", package="os")
        monkeypatch.setitem(BACKENDS, name, other)
    return seen


def test_a_sound_directory_reaches_the_engine(sound: Path, engines: list[Any]) -> None:
    """Else the spy of the tests below would see nothing whatever happens."""
    with pytest.raises(ArtifactError, match="seen by an engine"):
        Predictor(sound, backend="onnxruntime")
    assert [artifact.path.name for artifact in engines] == ["model.onnx"]


@pytest.mark.parametrize(
    "attack",
    [_swap, _link, _remove, _folder, _pipe, _hole, _no_manifest, _loop],
    ids=lambda attack: attack.__name__.strip("_"),
)
def test_a_directory_that_was_tampered_with_is_refused_before_an_engine_sees_it(
    attack: Callable[[Path], None], sound: Path, engines: list[Any]
) -> None:
    attack(sound)
    with pytest.raises(ArtifactError) as refused:
        Predictor(sound, backend="onnxruntime")
    assert "seen by an engine" not in str(refused.value)
    assert engines == []


def _forged(folder: Path, file: str, place: str = "artifact") -> None:
    """A manifest with a right digest that names another file: an attacker can write one."""
    value = json.loads((folder / MANIFEST).read_text())
    if place == "artifact":
        value["artifacts"][0]["file"] = file
    else:
        value["artifacts"][0]["companions"] = [{"file": file, "sha256": "a" * 64, "size_bytes": 1}]
    value["digest"] = ""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    value["digest"] = digest
    (folder / MANIFEST).write_text(json.dumps(value, indent=2) + "\n")


@pytest.mark.parametrize("place", ["artifact", "companion"])
@pytest.mark.parametrize(
    "file",
    [
        "../../etc/passwd",
        "../outside.onnx",
        "/etc/passwd",
        "openvino/../../outside.onnx",
        "./model.onnx",
        "..",
        "",
        "C:\\secret.onnx",
        "C:secret.onnx",
        "\\\\server\\share.onnx",
        "model.onnx\0.txt",
        "model\n.onnx",
        "~/secret.onnx/..",
        "//etc/passwd",
    ],
)
def test_a_manifest_that_leads_out_of_its_folder_is_refused(
    file: str, place: str, sound: Path, engines: list[Any]
) -> None:
    (sound.parent / "outside.onnx").write_bytes(b"x")
    _forged(sound, file, place)
    with pytest.raises(ArtifactError, match="plain relative path"):
        Predictor(sound, backend="onnxruntime")
    assert engines == []


def test_a_folder_that_is_a_link_leads_to_nothing_else_either(
    sound: Path, engines: list[Any]
) -> None:
    shutil.move(sound / "openvino", sound.parent / "elsewhere")
    (sound.parent / "elsewhere" / "model.xml").write_bytes(b"<net/>")
    (sound / "openvino").symlink_to(sound.parent / "elsewhere")
    with pytest.raises(ArtifactError, match="is damaged"):
        opened(sound, "openvino/model.xml")
    assert engines == []


@pytest.mark.parametrize(
    "text",
    [
        b" " * (17 << 20),
        b"[" * (1 << 20),
        b'{"name": ' + b"9" * (1 << 20) + b"}",
        b'{"schema": 99}',
        b'{"schema": 1, "name": "x"}',
        b"\xff\xfe" + "{}".encode("utf-16-le"),
        b"\x80\x04\x95",
    ],
    ids=["oversized", "nested", "a long number", "newer", "incomplete", "utf-16", "a pickle"],
)
def test_what_is_no_manifest_is_refused_before_an_engine_sees_it(
    text: bytes, sound: Path, engines: list[Any]
) -> None:
    (sound / MANIFEST).write_bytes(text)
    with pytest.raises(ArtifactError, match=MANIFEST):
        Predictor(sound, backend="onnxruntime")
    assert engines == []


def test_an_oversized_manifest_is_refused_without_reading_it_whole(
    sound: Path, engines: list[Any]
) -> None:
    os.truncate(sound / MANIFEST, 1 << 40)
    with pytest.raises(ArtifactError, match="bytes; the most is"):
        Predictor(sound, backend="onnxruntime")
    assert engines == []
