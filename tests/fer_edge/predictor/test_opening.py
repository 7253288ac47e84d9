"""What a Predictor may be asked for, and what it tells of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest

from fer_edge import ArtifactError, BackendOptions, ConfigurationError, ModelSpec, Predictor
from fer_edge.backends.base import MAX_THREADS
from fer_edge.backends.choose_backend import Choice, choose_backend


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"backend": "tflite"}, "unknown backend 'tflite'; there are auto, onnxruntime"),
        ({"backend": None}, "unknown backend None"),
        ({"device": "tpu"}, "'tpu'"),
        ({"precision": "int4"}, "unknown precision 'int4'; there are fp32, fp16, int8"),
        ({"precision": "int8"}, "the artifact is fp32, and int8 was asked for"),
        ({"threads": 0}, "whole number from 1 to 1024, not 0"),
        ({"threads": -2}, "whole number from 1 to 1024, not -2"),
        ({"threads": MAX_THREADS + 1}, "not 1025"),
        ({"threads": 1.5}, "not 1.5"),
        ({"threads": "2"}, "not '2'"),
        ({"threads": True}, "not True"),
        ({"device": 0}, "device should be a name, such as 'cpu' or 'cuda:0', not 0"),
        ({"device": None}, "not None"),
        ({"spec": {"schema": 1}}, "spec should be a ModelSpec, not dict"),
        ({"min_confidence": "0.5"}, "min_confidence should be 0 to 1, not '0.5'"),
        ({"min_confidence": None}, "not None"),
        ({"min_confidence": 1.01}, "not 1.01"),
        ({"min_confidence": float("nan")}, "not nan"),
        ({"min_confidence": 10**400}, "should be 0 to 1"),
        ({"options": BackendOptions(compiled=True)}, "has no setting compiled=True"),
        (
            {"device": "cuda", "options": BackendOptions(device="cpu")},
            "device was given twice, as 'cuda' and in options as 'cpu'; give it once",
        ),
        (
            {"threads": 1, "options": BackendOptions(threads=2)},
            "threads was given twice, as 1 and in options as 2",
        ),
        ({"color": "hsv"}, "unknown color 'hsv'; there are bgr, rgb"),
    ],
)
def test_a_wish_that_cannot_be_met_is_a_typed_error(
    tiny_artifact: Path, wish: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Predictor(tiny_artifact, **wish)


def test_numbers_may_be_numpys(tiny_artifact: Path) -> None:
    threads, least = np.int64(1), np.float32(0.5)
    with Predictor(tiny_artifact, threads=threads, min_confidence=least) as fer:  # type: ignore[arg-type]
        assert (fer.info.threads, fer.predict(np.zeros((48, 48), np.uint8)).min_confidence) == (
            1,
            0.5,
        )


def test_an_unknown_goal_lists_the_known() -> None:
    with pytest.raises(ConfigurationError, match="'speed'; there are latency, throughput"):
        BackendOptions(goal="speed")


def test_threads_and_device_may_stand_in_the_options(tiny_artifact: Path) -> None:
    with Predictor(tiny_artifact, options=BackendOptions(device="cpu", threads=2)) as fer:
        assert (fer.info.device, fer.info.threads) == ("cpu", 2)


@pytest.mark.parametrize("model", [None, 3, b"model.onnx"])
def test_what_is_no_path_is_no_model(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="a model is 'default' or a path, not"):
        Predictor(model)


@pytest.mark.parametrize("wish", [{"device": "cpu"}, {"threads": 2}, {"model": "model.onnx"}])
def test_an_opened_backend_takes_no_wishes_that_it_would_ignore(
    double: Any, wish: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="an opened backend has its model"):
        Predictor(backend=double, **wish)


def test_a_backend_whose_predictor_was_refused_stays_open(double: Any) -> None:
    with pytest.raises(ConfigurationError, match="the artifact is fp32"):
        Predictor(backend=double, precision="int8")
    assert double.closed == 0


def test_a_directory_whose_artifact_was_changed_is_refused(model_directory: Path) -> None:
    with (model_directory / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArtifactError, match="is damaged: its sha256"):
        Predictor(model_directory)


def test_a_manifest_that_promises_another_precision_is_refused(
    make_model_directory: Callable[..., Path],
) -> None:
    folder = make_model_directory(precision="int8")
    with pytest.raises(ConfigurationError, match="the artifact is fp32, and int8 was asked for"):
        Predictor(folder, precision="int8")


def test_what_was_opened_and_then_refused_is_closed(
    double: Any, make_model_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.open_model.backend_class", lambda _: lambda *_: double)
    with pytest.raises(ConfigurationError, match="the artifact is fp32, and int8 was asked for"):
        Predictor(make_model_directory(precision="int8"), precision="int8")
    assert double.closed == 1


@pytest.mark.usefixtures("no_default_model")
def test_an_installation_without_the_packaged_model_says_so() -> None:
    with pytest.raises(ArtifactError, match="the packaged model is missing; reinstall"):
        Predictor()


@pytest.mark.parametrize(
    ("request_", "step"),
    [
        ({"backend": "tensorrt"}, "fer-export --from-onnx default --target trt-int8 --out DIR$"),
        ({"precision": "fp16"}, "fer-export --from-onnx default --target onnx-fp16 --out DIR$"),
    ],
)
def test_what_the_packaged_model_lacks_is_told_with_the_command_that_makes_it(
    request_: dict[str, str], step: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"default has no .*; it has onnx .* {step}"):
        Predictor(**request_)  # type: ignore[arg-type]


def test_info_tells_what_runs(
    model_directory: Path, tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    with Predictor(model_directory, device="cpu", threads=2) as fer:
        info = fer.info
    assert info.artifact == model_directory / "model.onnx"
    assert info.sha256 == hashlib.sha256(tiny_artifact.read_bytes()).hexdigest()
    assert (info.backend, info.version) == ("onnxruntime", onnxruntime.__version__)
    assert (info.device, info.provider) == ("cpu", "CPUExecutionProvider")
    assert (info.precision, info.inference_precision, info.threads) == ("fp32", "fp32", 2)
    assert info.spec == tiny_spec


def test_info_tells_why_this_backend(tiny_artifact: Path, double: Any) -> None:
    with Predictor(tiny_artifact, backend="onnxruntime") as asked, Predictor(tiny_artifact) as auto:
        assert asked.info.reason == "asked for"
        assert auto.info.reason.startswith("the first of tensorrt, openvino, onnxruntime, torch")
    assert Predictor(backend=double).info.reason == "the caller's own"


@pytest.mark.parametrize(
    ("wishes", "threads"),
    [
        ({}, 3),
        ({"threads": 2}, 2),
        ({"options": BackendOptions(goal="throughput"), "threads": 1}, 1),
    ],
)
def test_the_threads_that_were_measured_best_are_taken_unless_the_caller_says(
    tiny_artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
    wishes: dict[str, Any],
    threads: int,
) -> None:
    tuned = create_autospec(
        choose_backend, return_value=Choice("onnxruntime", "the fastest of 5", 3)
    )
    monkeypatch.setattr("fer_edge.backends.open_model.choose_backend", tuned)
    with Predictor(tiny_artifact, **wishes) as fer:
        assert fer.info.threads == threads
        assert fer.info.reason == "the fastest of 5"
    (backend, model, precision, options) = tuned.call_args.args
    assert (backend, model.path, precision) == ("auto", tiny_artifact, None)
    assert (options.device, options.threads) == ("auto", wishes.get("threads"))


def test_threads_that_were_measured_for_latency_are_not_taken_for_throughput(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    abreast = BackendOptions(goal="throughput")
    with Predictor(tiny_artifact, backend="onnxruntime", options=abreast) as fer:
        usual = fer.info.threads
    tuned = create_autospec(choose_backend, return_value=Choice("onnxruntime", "measured", 7))
    monkeypatch.setattr("fer_edge.backends.open_model.choose_backend", tuned)
    with Predictor(tiny_artifact, options=abreast) as fer:
        assert fer.info.threads == usual != 7


def test_info_tells_of_a_backend_of_the_callers_own(double: Any, tiny_spec: ModelSpec) -> None:
    info = Predictor(backend=double).info
    assert (info.artifact, info.sha256) == (None, None)
    assert (info.backend, info.version, info.provider) == ("double", "1.2", "nowhere")
    assert (info.inference_precision, info.threads, info.spec) == ("unknown", 3, tiny_spec)


def test_its_repr_tells_the_model_and_where_it_runs(double: Any) -> None:
    fer = Predictor(backend=double)
    assert repr(fer) == "<Predictor tiny fp32 on nowhere>"
    fer.close()
    assert repr(fer) == "<Predictor tiny fp32 on closed>"
