"""The doubles refuse what the real bindings would, so that tests on them mean something."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tensorrt_double.cuda import CudaDouble
from tensorrt_double.signatures import stand_in


def nothing(*_: Any, **__: Any) -> None:
    return None


@pytest.fixture
def config(tensorrt_bindings: ModuleType) -> Any:
    owner = tensorrt_bindings.IBuilderConfig
    return stand_in(tensorrt_bindings, owner, set_flag=nothing, set_memory_pool_limit=nothing)


@pytest.fixture
def context(tensorrt_bindings: ModuleType) -> Any:
    owner = tensorrt_bindings.IExecutionContext
    return stand_in(
        tensorrt_bindings,
        owner,
        execute_async_v3=lambda _: True,
        set_input_shape=lambda *_: True,
        set_tensor_address=lambda *_: True,
    )


def test_calls_that_fit_pass(tensorrt_bindings: ModuleType, config: Any, context: Any) -> None:
    trt = tensorrt_bindings
    config.set_flag(trt.BuilderFlag.TF32)
    config.set_flag(flag=trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for shape in ((1, 2), [1, 2], trt.Dims((1, 2))):
        assert context.set_input_shape("crop", shape)
    assert context.execute_async_v3(3)


WRONG: dict[str, Callable[[ModuleType, Any, Any], Any]] = {
    "a flag that 11 removed": lambda trt, config, _: config.set_flag(trt.BuilderFlag.FP16),
    "an attribute that nobody has": lambda _, config, __: setattr(config, "max_workspace_size", 1),
    "a method that 10 removed": lambda _, __, context: context.execute_async_v2([], 1),
    "an enum of another kind": lambda trt, config, _: config.set_flag(trt.DataType.HALF),
    "a number for an enum": lambda _, config, __: config.set_flag(1),
    "an argument too few": lambda _, __, context: context.execute_async_v3(),
    "an argument too many": lambda _, __, context: context.execute_async_v3(1, 2),
    "a name of no parameter": lambda _, __, context: context.execute_async_v3(stream=1),
    "arguments the wrong way round": lambda _, __, context: context.set_tensor_address(1, "crop"),
    "a fraction for a number": lambda _, __, context: context.execute_async_v3(1.5),
    "no shape": lambda _, __, context: context.set_input_shape("crop", 3),
    "text for a shape": lambda _, __, context: context.set_input_shape("crop", "abc"),
    "a method that the test gave no answer for": lambda _, __, context: context.infer_shapes(),
}


@pytest.mark.parametrize("what", WRONG)
def test_calls_that_do_not_fit_are_refused(
    tensorrt_bindings: ModuleType, config: Any, context: Any, what: str
) -> None:
    if what == "a flag that 11 removed" and tensorrt_bindings.__version__.startswith("10."):
        pytest.skip("TensorRT 10 has the flag")
    with pytest.raises((AttributeError, TypeError, AssertionError)):
        WRONG[what](tensorrt_bindings, config, context)


def test_dims_are_sequences(tensorrt_bindings: ModuleType) -> None:
    """Which the stubs have to be told."""
    dims = tensorrt_bindings.Dims([2, 48, 48, 1])
    assert tuple(dims) == (2, 48, 48, 1)
    assert dims[0] == 2


def test_the_real_factories_fail_as_the_doubles_do(tensorrt_bindings: ModuleType) -> None:
    """There is no TensorRT behind these bindings, which is how it looks without a GPU."""
    trt = tensorrt_bindings
    log = trt.Logger()
    for factory in (trt.Builder, trt.Runtime):
        with pytest.raises(TypeError, match="factory function returned nullptr"):
            factory(log)


# ---- CUDA


def test_the_double_of_cuda_takes_what_cuda_python_takes() -> None:
    double = CudaDouble()
    with pytest.raises(AttributeError):
        _ = double.cudaMallocAsynchronously
    with pytest.raises(TypeError):
        double.cudaMalloc()
    with pytest.raises(TypeError, match="cudaMemcpyKind"):
        double.cudaMemcpyAsync(0, 0, 1, 1, 1)
    with pytest.raises(AssertionError, match="does not know"):
        _ = double.cudaMemGetInfo


def test_memory_that_is_not_allocated_cannot_be_copied() -> None:
    double = CudaDouble()
    _, stream = double.cudaStreamCreateWithFlags(double.cudaStreamNonBlocking)
    _, device = double.cudaMalloc(4)
    _, host = double.cudaHostAlloc(4, double.cudaHostAllocDefault)
    up = double.cudaMemcpyKind.cudaMemcpyHostToDevice
    double.cudaMemcpyAsync(device, host, 4, up, stream)
    with pytest.raises(AssertionError, match="not allocated"):
        double.cudaMemcpyAsync(device, host, 5, up, stream)
    with pytest.raises(AssertionError, match="not allocated on the device"):
        double.cudaMemcpyAsync(host, device, 4, up, stream)


def test_work_runs_when_it_is_waited_for() -> None:
    double = CudaDouble()
    done: list[int] = []
    _, stream = double.cudaStreamCreateWithFlags(double.cudaStreamNonBlocking)
    _, event = double.cudaEventCreateWithFlags(double.cudaEventDisableTiming)
    double.enqueue(int(stream), lambda: done.append(1))
    double.cudaEventRecord(event, stream)
    assert done == []
    double.cudaEventSynchronize(event)
    assert done == [1]
