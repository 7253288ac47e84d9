"""The import rules of the five packages, and what importing the runtime costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

PACKAGES = {
    "fer_edge": (".", set()),
    "fer_train": ("train", {"fer_edge"}),
    "fer_calib": ("calib", {"fer_edge"}),
    "fer_export": ("export", {"fer_edge", "fer_calib"}),
    "fer_bench": ("benchmarks", {"fer_edge"}),
}
ENGINES = {"onnxruntime", "openvino", "tensorrt", "torch"}


def imports_of(file: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_of_ours_that_the_design_allows(
    package: str, root: Path
) -> None:
    folder, allowed = PACKAGES[package]
    files = sorted((root / folder / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imports_of(file) & PACKAGES.keys()
        assert ours <= allowed | {package}, file


def test_a_source_root_is_no_package(root: Path) -> None:
    roots = {folder for folder, _ in PACKAGES.values()} - {"."}
    assert not [folder for folder in roots if (root / folder / "__init__.py").exists()]


def test_the_runtime_imports_an_engine_only_in_its_own_backend(root: Path) -> None:
    torch_modules = {"network.py", "checkpoint.py"}
    for file in (root / "fer_edge").rglob("*.py"):
        engines = imports_of(file) & ENGINES
        if file.parent.name == "backends" and file.stem in ENGINES:
            engines.discard(file.stem)
        if file.name in torch_modules:
            engines.discard("torch")
        assert not engines, file


def test_importing_the_runtime_brings_no_engine() -> None:
    code = f"import sys, fer_edge; print(*({ENGINES!r} & sys.modules.keys()))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []


def test_importing_the_runtime_takes_under_300_ms_of_its_own() -> None:
    code = (
        "import time, numpy, cv2; start = time.process_time(); import fer_edge;"
        "print(time.process_time() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.3


@pytest.mark.parametrize("command", ["fer_edge.cli", "fer_train", "fer_calib", "fer_export"])
def test_help_needs_no_heavy_dependency(command: str) -> None:
    """A finder that refuses them stands before all others."""
    heavy = ("torch", "torchvision", "timm", "onnx", "onnxscript", "matplotlib", "safetensors")
    module = command if command.endswith(".cli") else f"{command}.cli"
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {heavy!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"from {module} import main\n"
        "main(['--help'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("usage: fer-")


def test_the_table_of_extras_agrees_with_the_package_metadata(root: Path) -> None:
    from fer_edge.dependencies import EXTRAS

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]

    def packages(extra: str) -> set[str]:
        found: set[str] = set()
        for requirement in extras[extra]:
            name, _, inner = re.match(r"([\w-]+)(\[([\w,-]+)\])?", requirement).groups()  # type: ignore[union-attr]
            found |= {p for e in inner.split(",") for p in packages(e)} if inner else {name}
        return found

    for extra, names in EXTRAS.items():
        assert set(names) <= packages(extra) | {"torchvision"}, extra
