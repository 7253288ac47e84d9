"""mypy --strict over our TensorRT code, with stubs made from the real bindings of both ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_double import bindings
from tensorrt_double.stubs import make_stubs

pytest.importorskip("mypy", reason="no mypy to check types with")
pytest.importorskip("pybind11_stubgen", reason="no pybind11-stubgen to make stubs with")

SOURCES = (
    "fer_edge/backends/tensorrt.py",
    "export/fer_export/tensorrt/builder.py",
    "export/fer_export/tensorrt/monitor.py",
)
CONFIG = """
[mypy]
strict = True
explicit_package_bases = True
namespace_packages = True
follow_imports = silent
# where TensorRT is not installed its classes are Any, and these ignores are needed
warn_unused_ignores = False
[mypy-tensorrt.*]
ignore_errors = True
[mypy-cuda.*,onnxruntime.*]
ignore_missing_imports = True
follow_untyped_imports = False
"""

# calls that a release does not take, by the words of mypy's complaint
PLANTED = {
    "config.set_flag(trt.BuilderFlag.FP16)": ({"11.4"}, 'has no attribute "FP16"'),
    "config.int8_calibrator = None": ({"11.4"}, 'has no attribute "int8_calibrator"'),
    "builder.platform_has_fast_fp16": ({"11.4"}, 'has no attribute "platform_has_fast_fp16"'),
    "config.max_workspace_size = 1": ({"10.3", "11.4"}, 'has no attribute "max_workspace_size"'),
    "context.execute_async_v2([], 0)": ({"10.3", "11.4"}, 'has no attribute "execute_async_v2"'),
    "context.execute_async_v3()": ({"10.3", "11.4"}, "Missing positional argument"),
    "context.set_tensor_address(1, 'crop')": ({"10.3", "11.4"}, "has incompatible type"),
    "config.set_flag(trt.MemoryPoolType.WORKSPACE)": ({"10.3", "11.4"}, "has incompatible type"),
    "profile.set_shape('crop', 1, 2, 3)": ({"10.3", "11.4"}, "has incompatible type"),
    "engine.get_binding_shape(0)": ({"10.3", "11.4"}, 'has no attribute "get_binding_shape"'),
}


@pytest.fixture(scope="module", params=bindings.RELEASES)
def stubs(
    request: pytest.FixtureRequest,
    bindings_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A release, and a folder with the package ``tensorrt`` as stubs."""
    try:
        folder = bindings.find(request.param, bindings_cache)
    except bindings.UnavailableError as problem:
        pytest.skip(f"no bindings of TensorRT {request.param}: {problem}")
    return request.param, make_stubs(folder, tmp_path_factory.mktemp("stubs"))


def mypy(root: Path, stubs: Path, *files: Path) -> str:
    config = stubs / "mypy.ini"
    config.write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(config)),
            *("--cache-dir", str(stubs / "cache"), *map(str, files)),
        ],
        cwd=root,
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(stubs), ".", "export"])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_our_calls_fit_the_bindings_and_calls_that_do_not_are_caught(
    root: Path, stubs: tuple[str, Path]
) -> None:
    release, folder = stubs
    planted = folder / "planted.py"
    lines = [
        "import tensorrt as trt",
        "def planted(builder: trt.Builder, config: trt.IBuilderConfig, engine: trt.ICudaEngine,",
        "    context: trt.IExecutionContext, profile: trt.IOptimizationProfile) -> None:",
        *(f"    {line}" for line in PLANTED),
    ]
    planted.write_text("\n".join(lines) + "\n")
    told = mypy(root, folder, *(root / file for file in SOURCES), planted)
    first = lines.index(f"    {next(iter(PLANTED))}") + 1
    for number, (line, (lacking_in, words)) in enumerate(PLANTED.items(), first):
        found = [said for said in told.splitlines() if f"planted.py:{number}: error" in said]
        assert any(words in said for said in found) is (release in lacking_in), (line, found)
    ours = [line for line in told.splitlines() if "error" in line and "planted.py" not in line]
    assert [line for line in ours if not line.startswith("Found ")] == []
