"""The ONNX Runtime backend: what it opens, what it refuses, what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import (
    ArtifactError,
    ConfigurationError,
    EngineError,
    ModelSpec,
)
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import METADATA_KEY
from fer_edge.backends import BackendOptions

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx", reason="no onnx to make artifacts with")

from fer_edge.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402

Change = Callable[[Any], None]


def opened(data: bytes, spec: ModelSpec | None = None, **options: Any) -> OnnxRuntimeBackend:
    artifact = Artifact(Path("model.onnx"), "onnx", data, "0" * 64, spec=spec)
    return OnnxRuntimeBackend(artifact, BackendOptions(**options))


@pytest.fixture
def data(tiny_artifact: Path) -> bytes:
    return tiny_artifact.read_bytes()


@pytest.fixture
def changed(tiny_artifact: Path) -> Callable[[Change], bytes]:
    """The tiny artifact after a change of its ONNX model."""

    def change(edit: Change) -> bytes:
        model = onnx.load(tiny_artifact)
        edit(model)
        return bytes(model.SerializeToString())

    return change


def batch(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 48, 48, 1), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 65])
def test_infers_batches_of_any_size(
    data: bytes, count: int, tiny_answer: Callable[..., tuple[Any, Any]]
) -> None:
    given = opened(data).infer(batch(count))
    for values, exact in zip(given, tiny_answer(batch(count)), strict=True):
        assert values.dtype == np.float32
        assert values == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("precision", "computes_in"), [("fp32", "fp32"), ("int8", "int8"), ("fp16", "unknown")]
)
def test_it_says_what_it_computes_in(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec, precision: str, computes_in: str
) -> None:
    spec = tiny_spec.with_changes(precision=precision).to_json()

    def edit(model: Any) -> None:
        onnx.helper.set_model_props(model, {METADATA_KEY: spec})

    assert opened(changed(edit)).engine.inference_precision == computes_in


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of every session that is opened."""
    seen = []
    kind = ort.InferenceSession

    def record(data: bytes, options: Any, **rest: Any) -> Any:
        seen.append((options, rest))
        return kind(data, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", record)
    return seen


@pytest.mark.parametrize("threads", [1, 3])
def test_the_engine_gets_the_threads_that_were_asked_for(
    data: bytes, settings: list[Any], threads: int
) -> None:
    assert opened(data, threads=threads).engine.threads == threads
    assert settings[0][0].intra_op_num_threads == threads


def test_for_throughput_each_call_keeps_to_its_own_thread(data: bytes, settings: list[Any]) -> None:
    engine = opened(data, goal="throughput", threads=3).engine
    assert settings[0][0].intra_op_num_threads == 1
    assert (engine.threads, engine.concurrency) == (3, 3)


def test_for_throughput_all_usable_cores_are_used(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.base.usable_cores", lambda: 7)
    assert opened(data, goal="throughput").engine.concurrency == 7


@pytest.mark.parametrize(("spinning", "entry"), [(False, "0"), (True, "1")])
def test_idle_threads_leave_the_cores_alone_unless_asked_not_to(
    data: bytes, settings: list[Any], spinning: bool, entry: str
) -> None:
    opened(data, spinning=spinning)
    given = settings[0][0].get_session_config_entry("session.intra_op.allow_spinning")
    assert given == entry


@pytest.mark.parametrize("wanted", ["bf16", "fp16"])
def test_it_computes_as_the_graph_says_and_no_other_way(data: bytes, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here in fp32, and not in {wanted}; export"):
        opened(data, inference_precision=wanted)


def test_asked_for_what_it_does_anyway_it_agrees(data: bytes) -> None:
    assert opened(data, inference_precision="fp32").engine.inference_precision == "fp32"


def test_the_engine_may_not_fall_back_by_itself(data: bytes, settings: list[Any]) -> None:
    opened(data)
    assert settings[0][1]["enable_fallback"] is False


@pytest.mark.parametrize("damaged", [b"", b"no model", b"\0" * 4096])
def test_bytes_that_are_no_onnx_are_refused(damaged: bytes) -> None:
    message = r"ONNX Runtime cannot load model\.onnx on CPUExecutionProvider: "
    with pytest.raises(ArtifactError, match=message):
        opened(damaged)


def test_a_refused_artifact_leaves_the_commands_output_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ArtifactError):
        opened(b"no model")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", [b'"architecture"', b"fer_edge", b"batch"])
def test_text_that_is_no_text_is_refused(data: bytes, text: bytes) -> None:
    at = data.rindex(text)
    with pytest.raises(ArtifactError):
        opened(data[: at + 1] + b"\xff" + data[at + 2 :])


def test_an_onnx_without_a_spec_is_refused(changed: Callable[[Change], bytes]) -> None:
    with pytest.raises(
        ArtifactError,
        match=r"carries no model spec, which would say its network, its input \(height, width"
        r".*precision, temperature and labels\. Export the model with fer-export, .*spec=ModelSpec",
    ):
        opened(changed(lambda model: model.ClearField("metadata_props")))


def test_an_onnx_without_a_spec_works_with_the_callers(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec, data: bytes
) -> None:
    bare = changed(lambda model: model.ClearField("metadata_props"))
    backend = opened(bare, tiny_spec)
    assert backend.spec == tiny_spec
    assert np.array_equal(backend.infer(batch(2))[1], opened(data).infer(batch(2))[1])


def test_a_spec_of_another_shape_is_refused(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec
) -> None:
    other = json.loads(tiny_spec.to_json())
    other["input"]["height"] = 64
    props = {METADATA_KEY: json.dumps(other)}
    with pytest.raises(ArtifactError, match=r"expected crop uint8 \(N, 64, 48, 1\)"):
        opened(changed(lambda model: onnx.helper.set_model_props(model, props)))


def test_a_fixed_batch_is_filled_up(
    changed: Callable[[Change], bytes], tiny_answer: Callable[..., tuple[Any, Any]]
) -> None:
    def two_at_a_time(model: Any) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 2

    backend = opened(changed(two_at_a_time))
    assert backend.engine.max_batch == 2
    for count in (1, 2):
        logits, probabilities = backend.infer(batch(count))
        assert len(logits) == len(probabilities) == count
        assert probabilities == pytest.approx(tiny_answer(batch(count))[1], abs=1e-4)


def test_what_the_engine_refuses_is_its_error(data: bytes) -> None:
    with pytest.raises(EngineError, match=r"failed on crops of shape \(1, 32, 48, 1\): .*invalid"):
        opened(data).infer(np.zeros((1, 32, 48, 1), np.uint8))
