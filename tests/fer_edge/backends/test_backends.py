"""The table of backends, and how one is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fer_edge import ConfigurationError, MissingDependencyError
from fer_edge.artifact import FORMATS
from fer_edge.backends import (
    AUTO_ORDER,
    BACKENDS,
    Backend,
    BackendEntry,
    backend_class,
    choose_backend,
)


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


def test_auto_is_the_first_of_the_order() -> None:
    assert choose_backend("auto") == AUTO_ORDER[0]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_known_name_is_itself(name: str) -> None:
    assert choose_backend(name) == name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'trt'; there are auto, onnxruntime"):
        choose_backend("trt")


def test_the_order_names_only_known_backends() -> None:
    assert set(AUTO_ORDER) <= BACKENDS.keys()


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
