"""Compiled models on disk: what is taken again, what is compiled anew, and what is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.artifacts.artifact import Artifact
from fer_edge.backends import BackendOptions

ov = pytest.importorskip("openvino")

from fer_edge.backends.openvino import OpenVinoBackend  # noqa: E402

Crops = Callable[..., npt.NDArray[np.uint8]]


def opened(artifact: Artifact, **options: Any) -> OpenVinoBackend:
    return OpenVinoBackend(artifact, BackendOptions(**options))


@pytest.fixture
def cache(home: Path) -> Path:
    return home / "openvino"


def test_what_was_compiled_is_not_compiled_again(
    ir: Artifact, crops: Crops, compilations: list[Any], cache: Path
) -> None:
    first = opened(ir)
    expected = first.infer(crops(1))[1], first.infer(crops(3))[1]
    assert len(list(cache.glob("*.blob"))) == len(compilations) == 2
    again = opened(ir)
    assert again.engine == first.engine
    assert np.array_equal(again.infer(crops(1))[1], expected[0])
    assert np.array_equal(again.infer(crops(3))[1], expected[1])
    assert len(compilations) == 2


def test_large_models_are_not_kept(
    ir: Artifact, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.openvino_model._MAX_CACHED", ir.size_bytes - 1)
    opened(ir)
    assert not list(cache.glob("*.blob"))


@pytest.mark.parametrize(
    "change",
    [{"threads": 2}, {"goal": "throughput"}, {"artifact": "other weights"}],
    ids=["threads", "goal", "weights"],
)
def test_what_differs_is_compiled(
    ir: Artifact, compilations: list[Any], change: dict[str, Any]
) -> None:
    opened(ir, threads=1)
    if "artifact" in change:
        ((name, weights),) = ir.companions.items()
        other = replace(ir, companions={name: weights[:-4] + b"\0\0\0\0"})
        opened(other, threads=1)
    else:
        opened(ir, **{"threads": 1, **change})
    assert len(compilations) == 2


def test_another_release_of_openvino_compiles_anew(
    ir: Artifact, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(ir)
    monkeypatch.setattr(ov, "__version__", "2099.1.0-1-abc")
    opened(ir)
    assert len(compilations) == 2


def test_another_processor_compiles_anew(
    ir: Artifact, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home may lie on a disk that machines share."""
    opened(ir, threads=1)
    get_property = ov.Core.get_property

    def other(core: Any, *names: str) -> Any:
        return "another" if "FULL_DEVICE_NAME" in names else get_property(core, *names)

    monkeypatch.setattr(ov.Core, "get_property", other)
    opened(ir, threads=1)
    assert len(compilations) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "not a blob"])
def test_a_damaged_blob_is_compiled_again(
    ir: Artifact, crops: Crops, compilations: list[Any], cache: Path, damage: str
) -> None:
    expected = opened(ir).infer(crops(1))[1]
    (blob,) = cache.glob("*.blob")
    data = bytearray(blob.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(byte ^ 255 for byte in data[middle : middle + 100])
    whole_but_none = hashlib.sha256(b"no blob").digest() + b"no blob"
    blob.write_bytes(
        {"flip": bytes(data), "cut": bytes(data[:middle]), "empty": b"",
         "not a blob": whole_but_none}[damage]
    )  # fmt: skip
    assert np.array_equal(opened(ir).infer(crops(1))[1], expected)
    assert len(compilations) == 2
    opened(ir)
    assert len(compilations) == 2  # it was replaced by a good one


def test_no_more_blobs_are_kept_than_a_device_has_room_for(
    ir: Artifact, cache: Path, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.openvino_cache._MOST_BLOBS", 2)
    for threads in (1, 2):
        for goal in ("latency", "throughput"):
            opened(ir, threads=threads, goal=goal)
    assert len(list(cache.glob("*.blob"))) == 2
    opened(ir, threads=2, goal="throughput")
    assert len(compilations) == 4  # the last is one of those that were kept


@pytest.mark.parametrize("place", ["a file", "no home"])
def test_without_a_place_for_the_cache_it_works_all_the_same(
    ir: Artifact, crops: Crops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    if place == "a file":
        (tmp_path / "file").touch()
        monkeypatch.setenv("FER_EDGE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("FER_EDGE_HOME")
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)

        def homeless() -> Path:
            raise RuntimeError("no home")

        monkeypatch.setattr(Path, "home", homeless)
    assert opened(ir).infer(crops(1))[1].shape == (1, 7)
