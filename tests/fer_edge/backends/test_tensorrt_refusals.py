"""What the TensorRT backend refuses: plans that it does not trust or cannot run, missing parts."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("cuda.bindings", reason="no cuda-python, on which the double stands")

from tensorrt_double.cuda import GPU, CudaDouble
from tensorrt_double.engine import TensorRtDouble
from tensorrt_double.plans import BATCHES, CLOSE, Answer, Open, Plan, crops

from fer_edge.artifacts.plan import Gpu
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import BackendOptions
from fer_edge.errors import ArtifactError, ConfigurationError, EngineError

# ---- trust


def test_a_plan_from_elsewhere_is_not_even_read(
    backend: ModuleType, plan: Plan, home: Path, tensorrt: TensorRtDouble
) -> None:
    for record in home.rglob("*.json"):
        record.unlink()
    tensorrt.gpu = False  # a runtime that is asked for would raise another error
    with pytest.raises(ArtifactError, match="native code that no export on this machine"):
        backend.TensorRtBackend(plan.artifact(), BackendOptions())


def test_a_plan_from_elsewhere_opens_for_who_trusts_it(
    opened: Open, home: Path, tiny_answer: Answer
) -> None:
    for record in home.rglob("*.json"):
        record.unlink()
    answer = opened(trust=True).infer(crops(1))[1]
    assert answer == pytest.approx(tiny_answer(crops(1))[1], abs=CLOSE)


def test_a_sidecar_that_was_edited_is_refused(opened: Open, plan: Plan) -> None:
    plan.sidecar = dataclasses.replace(plan.sidecar, max_batch=64)
    with pytest.raises(ArtifactError, match=r"model\.plan\.json was changed since"):
        opened()
    assert opened(trust=True).engine.max_batch == BATCHES[2]


def test_a_changed_plan_is_refused_though_its_name_is_known(opened: Open, plan: Plan) -> None:
    plan.data += b"!"
    with pytest.raises(ArtifactError, match="damaged, or"):
        opened(trust=True)


def test_host_code_runs_only_for_a_version_compatible_plan(
    opened: Open, plan: Plan, tensorrt: TensorRtDouble
) -> None:
    opened()
    assert tensorrt.host_code_allowed is False
    plan.change(version_compatible=True)
    opened()
    assert tensorrt.host_code_allowed is True


# ---- what it refuses


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gpu": Gpu("Thor", "11.0", 20)}, r"built for Thor.*Double of a GPU"),
        ({"gpu": Gpu(GPU[0], f"{GPU[1]}.{GPU[2]}", 8)}, r"8 multiprocessors.*power.*nvpmodel -q"),
        ({"tensorrt": "9.9.9"}, r"built by TensorRT 9\.9\.9"),
    ],
    ids=["gpu", "power mode", "tensorrt"],
)
def test_a_plan_of_another_place_says_how_to_get_one_here(
    opened: Open, plan: Plan, changes: dict[str, Any], told: str
) -> None:
    plan.change(**changes)
    with pytest.raises(ArtifactError, match=f"{told}.*--from-onnx"):
        opened()


def test_a_plan_that_tensorrt_refuses_gives_tensorrts_reason(opened: Open, plan: Plan) -> None:
    plan.change(b"no engine")
    with pytest.raises(ArtifactError, match=r"refuses .*model\.plan: Magic tag does not match"):
        opened()


def test_without_a_gpu_it_is_one_line(opened: Open, cuda: CudaDouble) -> None:
    cuda.failing["cudaGetDeviceProperties"] = cuda.cudaError_t.cudaErrorNoDevice
    with pytest.raises(EngineError, match="no usable GPU") as caught:
        opened()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_runtime_that_does_not_start_is_one_line(opened: Open, tensorrt: TensorRtDouble) -> None:
    tensorrt.gpu = False
    with pytest.raises(EngineError, match="does not start; it needs a usable GPU") as caught:
        opened()
    assert "\n" not in str(caught.value)


def test_a_full_gpu_shows_when_the_plan_is_opened(opened: Open, cuda: CudaDouble) -> None:
    cuda.failing["cudaMalloc"] = cuda.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation"):
        opened()
    assert cuda.held() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "auto, cuda"),
        ({"device": "cuda:"}, "cuda:1 for the second GPU"),
        ({"device": "cuda:x"}, "cuda:1 for the second GPU"),
        ({"device": "auto:0"}, "cuda:1 for the second GPU"),
        ({"threads": 2}, "threads=2; leave it out"),
        ({"compiled": True}, "compiled=True; leave it out"),
        ({"inference_precision": "bf16"}, "computes in fp16"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    opened: Open, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        opened(**options)


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"device": "cuda:0"}, {"inference_precision": "fp16"}]
)
def test_a_wish_that_is_met_is_no_error(opened: Open, options: dict[str, Any]) -> None:
    assert opened(**options).engine.inference_precision == "fp16"


def test_a_plan_that_does_not_fit_its_spec_is_refused(
    opened: Open, plan: Plan, tiny_spec: ModelSpec
) -> None:
    other = dataclasses.replace(tiny_spec.input, height=32)
    plan.change(spec=tiny_spec.with_changes(input=other))
    with pytest.raises(ArtifactError, match="does not fit its own spec"):
        opened()


def test_a_bare_plan_opens_with_the_callers_spec(
    opened: Open, plan: Plan, tiny_spec: ModelSpec
) -> None:
    engine = opened(plan.artifact(spec=tiny_spec, bare=True))
    assert engine.spec == tiny_spec
    assert engine.engine.inference_precision == "unknown"
    wide = dataclasses.replace(tiny_spec.input, width=96)
    other = plan.artifact(spec=tiny_spec.with_changes(input=wide), bare=True)
    with pytest.raises(ArtifactError, match="does not fit the spec that was given"):
        opened(other)


def test_a_bare_plan_without_a_spec_says_what_it_lacks(opened: Open, plan: Plan) -> None:
    with pytest.raises(ArtifactError, match=r"no model\.plan\.json beside it"):
        opened(plan.artifact(bare=True))


# ---- what is not installed


def imported_beside(package: str, folder: Path) -> str:
    """What the import of the backend raises where ``tensorrt`` is this source."""
    (folder / "tensorrt.py").write_text(package)
    code = (
        "try:\n"
        "    import fer_edge.backends.tensorrt\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, getattr(problem, 'exit_code', None), problem)\n"
        "from fer_edge.backends import backend_problem\n"
        "print(backend_problem('tensorrt') is None)\n"
    )
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


@pytest.mark.parametrize("version", ["8.6.2", "10.2.0.post1"])
def test_a_tensorrt_that_is_too_old_says_what_brings_a_newer_one(
    version: str, tmp_path: Path
) -> None:
    said = imported_beside(f"__version__ = {version!r}\n", tmp_path)
    assert said.startswith("MissingDependencyError 3 TensorRT 10.3 or later is not installed")
    assert f"(this is {version})" in said
    assert "JetPack 6.1 or later" in said
    assert said.endswith("False\n")  # so nothing calls it usable


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    problem = "libnvonnxparser.so.11: cannot open shared object file: No such file or directory"
    said = imported_beside(f"raise ImportError({problem!r})\n", tmp_path)
    assert said.startswith("MissingDependencyError 3 libnvonnxparser.so.11 is not installed")
    assert "LD_LIBRARY_PATH" in said


def test_any_other_failure_of_the_import_is_not_hidden(tmp_path: Path) -> None:
    assert imported_beside("raise ImportError('broken')\n", tmp_path).startswith("ImportError None")
