"""What docs/serving.md shows runs, against Triton's real client classes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import cv2
import numpy as np
import pytest

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.images.synthetic import synthetic_crops

pytest.importorskip("tritonclient.grpc", reason="no tritonclient; install the extra triton")

from google.protobuf import text_format
from tritonclient import grpc
from tritonclient.grpc import model_config_pb2, service_pb2


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}(?: notest)?\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def repository(
    page: str, tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What the first example writes."""
    shutil.copy(tiny_artifact, tmp_path / "model.onnx")

    def stands_at(model: str | Path) -> Path:
        return tmp_path if model == "default" else Path(model)

    monkeypatch.setattr("fer_edge.artifacts.model.model_path", stands_at)
    monkeypatch.chdir(tmp_path)
    write, *_ = blocks(page, "python")
    exec(compile(write, "docs/serving.md", "exec"), {})  # noqa: S102
    return tmp_path / "models"


def test_the_first_example_writes_the_files_of_the_table(page: str, repository: Path) -> None:
    for name in re.findall(r"^\| `(models/[^`]+)` \|", page, re.MULTILINE):
        assert (repository.parent / name).is_file(), name


def test_the_client_gets_what_the_model_answers(
    page: str,
    repository: Path,
    tiny_spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = ort.InferenceSession(repository / "fer" / "1" / "model.onnx")
    config = text_format.Parse(
        (repository / "fer" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )

    def infer(name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        assert name == config.name
        given = inputs[0]._get_tensor()
        assert (given.name, given.datatype) == (config.input[0].name, "UINT8")
        assert list(given.shape)[1:] == list(config.input[0].dims)
        crops = np.frombuffer(inputs[0]._get_content(), np.uint8).reshape(given.shape)
        wanted = [output.name() for output in outputs]
        response = service_pb2.ModelInferResponse(model_name=name)
        for output, values in zip(wanted, session.run(wanted, {"crop": crops}), strict=True):
            response.outputs.add(name=output, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(values.tobytes())
        return grpc.InferResult(response)

    client = create_autospec(grpc.InferenceServerClient, spec_set=True, instance=True)
    client.get_model_config.return_value = service_pb2.ModelConfigResponse(config=config)
    client.infer.side_effect = infer
    monkeypatch.setattr(grpc, "InferenceServerClient", lambda url: client)
    cv2.imwrite("face.jpg", synthetic_crops(1)[0])
    _, ask, *_ = blocks(page, "python")
    names: dict[str, Any] = {}
    exec(compile(ask, "docs/serving.md", "exec"), names)  # noqa: S102
    (expected,) = session.run(["probabilities"], {"crop": names["tensor"]})
    np.testing.assert_array_equal(names["probabilities"], expected[0])
    assert names["spec"] == tiny_spec
    assert capsys.readouterr().out.split()[0] in tiny_spec.labels


def test_the_manifests_are_yaml_and_ask_for_the_model_that_was_written(
    page: str, repository: Path
) -> None:
    yaml = pytest.importorskip("yaml", reason="no PyYAML")
    documents = [item for block in blocks(page, "yaml") for item in yaml.safe_load_all(block)]
    kinds = [item["kind"] for item in documents if isinstance(item, dict)]
    assert kinds == ["Deployment", "Service", "HorizontalPodAutoscaler", "InferenceService"]
    (container,) = documents[0]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/fer/ready"
    assert [path.name for path in repository.iterdir()] == ["fer"]
