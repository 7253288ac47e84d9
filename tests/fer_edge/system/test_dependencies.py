"""Optional packages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fer_edge.errors import MissingDependencyError
from fer_edge.system.dependencies import EXTRAS, requires

IMPORT_NAMES = {"cuda-python": "cuda", "prometheus-client": "prometheus_client"}
"""Where a distribution's own name is not what it is imported by."""


def declared(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """What an extra installs, those that it names included."""
    found: set[str] = set()
    for requirement in extras[extra]:
        own = re.match(r"fer-edge\[(.+)\]", requirement)
        nested = own.group(1).split(",") if own else []
        found |= {name for other in nested for name in declared(other, extras)}
        if not own:
            name = re.split(r"[^\w-]", requirement)[0]
            found.add(IMPORT_NAMES.get(name, name))
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_is_what_pyproject_declares(extra: str, root: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="no tomllib to read pyproject.toml with")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS[extra]) == declared(extra, project["optional-dependencies"])


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    with pytest.raises(MissingDependencyError) as caught, requires("export"):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
    assert (caught.value.package, caught.value.extra) == ("onnx", "export")


def test_what_else_is_not_there_passes_through() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), requires("export"):
        import no_such_module  # noqa: F401


def test_a_lacking_part_of_an_installed_package_passes_through() -> None:
    with pytest.raises(ModuleNotFoundError, match="moved"), requires("torch"):
        raise ModuleNotFoundError("moved", name="torch.moved")


def test_an_import_that_fails_inside_a_package_passes_through() -> None:
    with pytest.raises(ImportError, match="libcudart"), requires("torch"):
        raise ImportError("libcudart.so: cannot open", name="torch")
