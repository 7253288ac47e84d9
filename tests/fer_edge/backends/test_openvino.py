"""The OpenVINO backend: what it opens, what it refuses, what it computes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import ArtifactError, EngineError, ModelSpec
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import Model
from fer_edge.backends import BackendOptions

ov = pytest.importorskip("openvino")

from fer_edge.backends import openvino as module  # noqa: E402
from fer_edge.backends.openvino import OpenVinoBackend  # noqa: E402

Answer = Callable[[npt.NDArray[np.uint8]], tuple[Any, Any]]
Crops = Callable[..., npt.NDArray[np.uint8]]


def found(path: Path) -> Artifact:
    return Model.open(path).artifact("openvino")


def opened(artifact: Artifact, **options: Any) -> OpenVinoBackend:
    return OpenVinoBackend(artifact, BackendOptions(**options))


# ---- answers


@pytest.mark.parametrize("count", [1, 2, 65])
def test_infers_batches_of_any_size_in_any_order(
    ir: Artifact, tiny_answer: Answer, crops: Crops, count: int
) -> None:
    backend = opened(ir)
    for size in (count, 1, count):
        for values, exact in zip(backend.infer(crops(size)), tiny_answer(crops(size)), strict=True):
            assert values.dtype == np.float32
            assert values == pytest.approx(exact, abs=1e-4)


def test_one_crop_has_a_model_of_its_own_and_the_other_waits_until_it_is_needed(
    ir: Artifact, crops: Crops, compilations: list[Any]
) -> None:
    backend = opened(ir)
    backend.infer(crops(1))
    assert [batch for batch, *_ in compilations] == [1]
    backend.infer(crops(5))
    backend.infer(crops(6))
    assert [batch for batch, *_ in compilations] == [1, None]


def test_a_thread_that_waited_for_the_other_model_takes_what_was_compiled_meanwhile(
    ir: Artifact, compilations: list[Any]
) -> None:
    backend = opened(ir)
    assert backend._compile_for_any() is backend._compile_for_any()
    assert [batch for batch, *_ in compilations] == [1, None]


def test_a_fixed_batch_is_filled_up(
    tiny_artifact: Path, tmp_path: Path, tiny_spec: ModelSpec, tiny_answer: Answer, crops: Crops
) -> None:
    model = ov.Core().read_model(tiny_artifact)
    model.reshape([3, 48, 48, 1])
    model.set_rt_info(tiny_spec.to_json(), "fer_edge")
    ov.save_model(model, tmp_path / "three.xml", compress_to_fp16=False)
    backend = opened(found(tmp_path / "three.xml"))
    assert backend.engine.max_batch == 3
    for count in (1, 2, 3):
        logits, probabilities = backend.infer(crops(count))
        assert len(logits) == count
        assert probabilities == pytest.approx(tiny_answer(crops(count))[1], abs=1e-4)


def test_a_device_that_takes_no_free_batch_gets_one_crop_after_the_other(
    ir: Artifact, crops: Crops, compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = opened(ir).infer(crops(3))[1]
    monkeypatch.setattr(module, "_ONE_BY_ONE", ("CPU",))
    compilations.clear()
    backend = opened(ir)
    assert backend.infer(crops(3))[1] == pytest.approx(expected, abs=1e-6)
    assert None not in [batch for batch, *_ in compilations]


# ---- what it says of itself


def test_for_throughput_requests_run_side_by_side(ir: Artifact, compilations: list[Any]) -> None:
    engine = opened(ir, goal="throughput", threads=2).engine
    assert compilations[0][2]["PERFORMANCE_HINT"] == "THROUGHPUT"
    assert engine.concurrency >= 1


def test_threads_are_bound_to_no_core(ir: Artifact, compilations: list[Any]) -> None:
    opened(ir)
    assert compilations[0][2]["ENABLE_CPU_PINNING"] == "NO"


def can(precision: str) -> bool:
    return precision in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not can("BF16"), reason="this processor has no bf16")
def test_asked_for_bf16_it_computes_in_bf16(
    ir: Artifact, crops: Crops, tiny_answer: Answer
) -> None:
    backend = opened(ir, inference_precision="bf16")
    assert backend.engine.inference_precision == "bf16"
    gap = np.abs(backend.infer(crops(8))[1] - tiny_answer(crops(8))[1]).max()
    assert 1e-5 < gap < 0.05


@pytest.mark.parametrize("wanted", ["bf16", "fp16"])
def test_a_precision_that_the_device_lacks_is_never_replaced(ir: Artifact, wanted: str) -> None:
    if can(wanted.upper()):
        pytest.skip(f"this processor has {wanted}")
    with pytest.raises(EngineError, match=f"does not compute in {wanted}"):
        opened(ir, inference_precision=wanted)


@pytest.fixture(scope="session")
def quantised(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny artifact with its one layer in INT8."""
    onnx = pytest.importorskip("onnx", reason="no onnx to quantise with")
    quantization = pytest.importorskip("onnxruntime.quantization")
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 1), np.uint8)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.rows = iter(noise)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"crop": row[None]}

    quantization.quantize_static(  # with the softmax, whose range older releases want in any case
        tiny_artifact, path, Reader(), op_types_to_quantize=["Gemm", "Softmax"],
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )  # fmt: skip
    model = onnx.load(path)
    spec = tiny_spec.with_changes(precision="int8")
    onnx.helper.set_model_props(model, {"fer_edge": spec.to_json()})
    onnx.save(model, path)
    return path


def test_a_quantised_artifact_computes_in_int8(
    quantised: Path, crops: Crops, tiny_answer: Answer
) -> None:
    backend = opened(found(quantised))
    assert backend.engine.inference_precision == "int8"
    given, exact = backend.infer(crops(8))[1], tiny_answer(crops(8))[1]
    assert np.abs(given - exact).max() < 0.2


def test_an_fp16_artifact_says_what_it_is_computed_in(
    tiny_artifact: Path, tmp_path: Path, tiny_spec: ModelSpec
) -> None:
    model = ov.Core().read_model(tiny_artifact)
    model.set_rt_info(tiny_spec.with_changes(precision="fp16").to_json(), "fer_edge")
    ov.save_model(model, tmp_path / "half.xml", compress_to_fp16=True)
    backend = opened(found(tmp_path / "half.xml"))
    assert backend.spec.precision == "fp16"
    assert backend.engine.inference_precision == ("fp16" if can("FP16") else "fp32")


# ---- devices and options


@pytest.mark.parametrize("device", ["gpu", "gpu.7", "npu"])
def test_a_device_that_is_not_there_is_named(
    ir: Artifact, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(ov.Core, "available_devices", ["CPU"])
    with pytest.raises(EngineError, match=r"sees no [GN]PU(\.7)? on this machine, only CPU"):
        opened(ir, device=device)


@pytest.mark.parametrize(
    ("asked", "present"),
    [("gpu", ["CPU", "GPU.0", "GPU.1"]), ("gpu.1", ["CPU", "GPU.0", "GPU.1"]),
     ("gpu.0", ["CPU", "GPU"])],
)  # fmt: skip
def test_a_device_that_is_there_is_taken(
    monkeypatch: pytest.MonkeyPatch, asked: str, present: list[str]
) -> None:
    monkeypatch.setattr(ov.Core, "available_devices", present)
    assert module._device(ov.Core(), asked) == asked.upper()


# ---- bad artifacts


def test_an_ir_without_its_weights_is_refused(tiny_ir: Path, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(tiny_ir.read_bytes())
    with pytest.raises(
        ArtifactError, match=r"its weights in model\.bin, which is not beside it; copy both files"
    ):
        opened(found(tmp_path / "model.xml"))


@pytest.mark.parametrize("part", [0, 0.5])
def test_an_ir_whose_weights_are_cut_off_is_refused(ir: Artifact, part: float) -> None:
    ((name, weights),) = ir.companions.items()
    cut = weights[: int(len(weights) * part)]
    with pytest.raises(ArtifactError, match=r"OpenVINO cannot read .*: "):
        opened(replace(ir, companions={name: cut}))


@pytest.mark.parametrize("damage", [b"", b"no model", b"<net/>", b"\0" * 4096])
def test_bytes_that_are_no_ir_are_refused(ir: Artifact, damage: bytes) -> None:
    with pytest.raises(ArtifactError):
        opened(replace(ir, data=damage))


@pytest.fixture
def bare_ir(tiny_artifact: Path, tmp_path: Path) -> Artifact:
    """An IR that nobody gave a spec; its ONNX had one, which does not count."""
    model = ov.Core().read_model(tiny_artifact)
    ov.save_model(model, tmp_path / "bare.xml", compress_to_fp16=False)
    return found(tmp_path / "bare.xml")


def test_an_ir_without_a_spec_says_what_is_unknown(bare_ir: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"bare\.xml carries no model spec, which would"):
        opened(bare_ir)


def test_an_ir_without_a_spec_works_with_the_callers(
    bare_ir: Artifact, tiny_spec: ModelSpec, tiny_answer: Answer, crops: Crops
) -> None:
    backend = opened(replace(bare_ir, spec=tiny_spec))
    assert backend.spec == tiny_spec
    assert backend.infer(crops(2))[1] == pytest.approx(tiny_answer(crops(2))[1], abs=1e-4)
