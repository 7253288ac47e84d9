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
    for file in (root / "fer_edge").rglob("*.py"):
        engines = imports_of(file) & ENGINES
        if file.parent.name == "backends":  # openvino.py, and openvino_model.py which it uses
            engines.discard(file.stem.split("_")[0])
        if file.parent.name == "torch_model":
            engines.discard("torch")
        assert not engines, file


EVERYTHING = "import fer_edge; [getattr(fer_edge, name) for name in fer_edge.__all__]"


def test_using_all_of_the_runtime_brings_no_engine() -> None:
    answer = in_a_new_process(
        f"{EVERYTHING}; import sys; print(*({ENGINES!r} & sys.modules.keys()))"
    )
    assert answer.split() == []


def test_importing_the_runtime_brings_nothing_that_may_be_broken() -> None:
    """A command that tells why OpenCV does not load has to load without it."""
    refused = {"cv2", "numpy", *ENGINES}
    answer = in_a_new_process(
        f"{refusing(refused)}import fer_edge\n"
        "print(fer_edge.FerEdgeError.__name__, fer_edge.LABELS[3], fer_edge.__version__)\n"
        "try:\n    fer_edge.Predictor\nexcept ModuleNotFoundError as problem:\n    print(problem)\n"
    )
    first, second = answer.splitlines()
    assert first.startswith("FerEdgeError happy ")
    assert second in refused


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_predicts_stays_below_165_mb() -> None:
    """With the packaged model and the engine that is always there."""
    code = (
        "import pathlib, re, fer_edge, numpy as np\n"
        "crop = np.zeros((180, 160, 3), np.uint8)\n"
        "fer = fer_edge.Predictor(backend='onnxruntime', threads=1)\n"
        "list(fer.predict_stream([crop] * 64))\n"
        # what getrusage calls the largest includes what this process was forked from
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) * 1024)\n"
    )
    assert int(in_a_new_process(code)) < 165e6


def in_a_new_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def refusing(names: set[str]) -> str:
    """Code that puts a finder which refuses these modules before all others."""
    return (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )


@pytest.mark.parametrize("command", ["fer_edge.cli", "fer_train", "fer_calib", "fer_export"])
def test_help_needs_no_heavy_dependency(command: str) -> None:
    heavy = {"torch", "torchvision", "timm", "onnx", "onnxscript", "matplotlib", "safetensors"}
    module = command if command.endswith(".cli") else f"{command}.cli"
    code = f"{refusing(heavy)}from {module} import main\nmain(['--help'])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("usage: fer-")


def test_the_table_of_extras_agrees_with_the_package_metadata(root: Path) -> None:
    from fer_edge.system.dependencies import EXTRAS

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]

    def packages(extra: str) -> set[str]:
        found: set[str] = set()
        for requirement in extras[extra]:
            name, _, inner = re.match(r"([\w-]+)(\[([\w,-]+)\])?", requirement).groups()  # type: ignore[union-attr]
            ours = inner.split(",") if name == "fer-edge" else []
            found |= {p for e in ours for p in packages(e)} or {name}
        return found

    for extra, names in EXTRAS.items():
        named = {"cuda": "cuda-python", "prometheus_client": "prometheus-client"}
        distributions = {named.get(name, name) for name in names}
        assert distributions <= packages(extra), extra
