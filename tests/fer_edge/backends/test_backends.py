"""The table of backends, and how one is found."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from fer_edge import MissingDependencyError
from fer_edge.artifacts.artifact import FORMATS
from fer_edge.backends import (
    AUTO_ORDER,
    BACKENDS,
    Backend,
    BackendEntry,
    backend_class,
)
from fer_edge.system.dependencies import EXTRAS


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A table with one more backend, ``fake``; its modules are looked for in this folder."""
    (tmp_path / "fake_backend.py").write_text("import fake_engine\nclass Fake: ...\n")
    monkeypatch.setitem(
        BACKENDS, "fake", BackendEntry("fake_backend", "Fake", "fake_engine", "fake", ("onnx",))
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("fake_backend", "fake_engine"):
        # what the test imports is forgotten after it
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_the_order_names_every_backend_once() -> None:
    assert sorted(AUTO_ORDER) == sorted(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_opens_formats_that_artifacts_have(name: str) -> None:
    assert set(BACKENDS[name].formats) <= set(FORMATS.values())


@pytest.mark.parametrize("name", BACKENDS)
def test_every_entry_leads_to_a_backend(name: str) -> None:
    pytest.importorskip(BACKENDS[name].package)
    assert issubclass(backend_class(name), Backend)


def test_an_engine_that_is_not_installed_is_named_with_its_extra(engine: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'fer-edge\[fake\]'") as caught:
        backend_class("fake")
    assert caught.value.package == "fake_engine"


@pytest.mark.usefixtures("engine")
def test_a_package_of_its_extra_that_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "fake", ("fake_engine", "numpy"))
    assert BACKENDS["fake"].packages == ("fake_engine", "numpy")
    assert BACKENDS["fake"].missing() == "fake_engine"


@pytest.mark.usefixtures("engine")
def test_an_engine_that_the_extra_does_not_bring_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = replace(BACKENDS["fake"], advice="It comes with the device")
    monkeypatch.setitem(BACKENDS, "fake", told)
    with pytest.raises(MissingDependencyError, match="It comes with the device"):
        backend_class("fake")


@pytest.mark.parametrize(
    ("name", "device", "known"),
    [
        ("onnxruntime", "auto", True),
        ("onnxruntime", "cuda:1", True),
        ("onnxruntime", "npu", False),
        ("openvino", "gpu.1", True),
        ("openvino", "AUTO", False),
        ("tensorrt", "cpu", False),
        ("torch", "cuda", True),
    ],
)
def test_a_backend_knows_its_devices(name: str, device: str, known: bool) -> None:
    assert BACKENDS[name].takes_device(device) is known


def test_the_installed_version_is_read_without_an_import() -> None:
    entry = replace(BACKENDS["onnxruntime"], distributions=("no-such-thing", "numpy"))
    assert entry.version() == f"numpy {metadata.version('numpy')}"
    assert replace(entry, distributions=("no-such-thing",)).version() == "unknown"


@pytest.mark.parametrize("lacking", ["another_package", "fake_engine.core"])
def test_an_engine_that_lacks_a_module_of_its_own_is_not_called_missing(
    engine: Path, lacking: str
) -> None:
    (engine / "fake_engine.py").write_text(f"import {lacking}\n")
    with pytest.raises(ModuleNotFoundError, match=lacking):
        backend_class("fake")


def test_an_engine_that_does_not_load_shows_why(engine: Path) -> None:
    (engine / "fake_engine.py").write_text("raise OSError('libengine.so: no such file')\n")
    with pytest.raises(OSError, match=r"libengine\.so"):
        backend_class("fake")


def test_an_engine_that_loads_gives_its_class(engine: Path) -> None:
    (engine / "fake_engine.py").touch()
    assert backend_class("fake").__name__ == "Fake"
