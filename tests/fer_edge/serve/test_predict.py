from __future__ import annotations

import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge import FaceAnalyzer, Predictor
from fer_edge.serve.settings import Limits

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("httpx", reason="no httpx to ask the server with")

import httpx
from running_server import Running, RunServer

JPEG = {"content-type": "image/jpeg"}


def test_a_picture_is_answered_as_the_library_answers_it(
    server: Running, portrait: bytes, predictor: Predictor
) -> None:
    answer = httpx.post(f"{server.address}/v1/predict", content=portrait, headers=JPEG).json()

    picture = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    [expected] = FaceAnalyzer(predictor).analyze(picture)
    assert answer["schema"] == "fer-edge-predict/1"
    [face] = answer["results"][0]["faces"]
    assert face["box"] == list(expected.box)
    assert face["emotion"] == expected.prediction.label
    given = list(face["probabilities"].values())
    np.testing.assert_allclose(given, expected.prediction.probabilities, atol=1e-6)


def test_a_picture_without_a_face_has_none(server: Running) -> None:
    blank = cv2.imencode(".png", np.zeros((200, 300, 3), np.uint8))[1].tobytes()
    answer = httpx.post(
        f"{server.address}/v1/predict", content=blank, headers={"content-type": "image/png"}
    )
    assert answer.json()["results"] == [{"image": None, "faces": []}]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff"])
def test_every_kind_of_picture_that_a_file_may_be_is_taken(server: Running, kind: str) -> None:
    content = cv2.imencode(f".{kind}", np.zeros((200, 300, 3), np.uint8))[1].tobytes()
    answer = httpx.post(
        f"{server.address}/v1/predict", content=content, headers={"content-type": f"image/{kind}"}
    )
    assert answer.status_code == 200


def test_the_answer_tells_the_time_of_each_stage(server: Running, portrait: bytes) -> None:
    answer = httpx.post(f"{server.address}/v1/predict", content=portrait, headers=JPEG)
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["wait", "decode", "detect", "classify"]


@pytest.mark.parametrize("body", [b"", b"no picture", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_picture_is_400(server: Running, body: bytes) -> None:
    answer = httpx.post(f"{server.address}/v1/predict", content=body, headers=JPEG)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "image/svg+xml", ""]
)
def test_another_type_is_415(server: Running, portrait: bytes, kind: str) -> None:
    answer = httpx.post(
        f"{server.address}/v1/predict", content=portrait, headers={"content-type": kind}
    )
    assert answer.status_code == 415


def test_a_bomb_is_refused_by_its_header(server: Running) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    answer = httpx.post(
        f"{server.address}/v1/predict", content=bomb, headers={"content-type": "image/png"}
    )
    assert answer.status_code == 413
    assert "60000 x 60000" in answer.json()["detail"]


def test_a_body_that_says_it_is_too_large_is_413(run_server: RunServer) -> None:
    server = run_server(limits=Limits(body_bytes=1000))
    answer = httpx.post(f"{server.address}/v1/predict", content=bytes(1001), headers=JPEG)
    assert answer.status_code == 413


def test_a_body_that_grows_too_large_is_413(run_server: RunServer) -> None:
    server = run_server(limits=Limits(body_bytes=1000))
    chunks = (bytes(300) for _ in range(5))
    answer = httpx.post(f"{server.address}/v1/predict", content=chunks, headers=JPEG)
    assert answer.status_code == 413


def test_a_body_that_does_not_come_is_408(run_server: RunServer) -> None:
    server = run_server(limits=Limits(idle=0.5))
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(120)
        client.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            "Content-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\nabc".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_a_connection_that_says_nothing_is_closed(run_server: RunServer) -> None:
    server = run_server(limits=Limits(idle=0.5))
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(120)
        try:
            answer = client.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b""


@pytest.mark.parametrize("query", ["model=other", "side=999", "side=x"])
def test_parameters_out_of_range_are_refused(server: Running, portrait: bytes, query: str) -> None:
    answer = httpx.post(f"{server.address}/v1/predict?{query}", content=portrait, headers=JPEG)
    assert answer.status_code == (404 if "model" in query else 422)


def test_the_health_check_names_what_runs(server: Running) -> None:
    assert httpx.get(f"{server.address}/healthz").json() == {
        "status": "ok",
        "model": "default",
        "backend": "onnxruntime",
        "precision": "int8",
    }


def test_metrics_count_pictures_and_stages(run_server: RunServer, portrait: bytes) -> None:
    server = run_server()
    httpx.post(f"{server.address}/v1/predict", content=portrait, headers=JPEG)
    httpx.post(f"{server.address}/v1/predict", content=b"none", headers=JPEG)

    text = httpx.get(f"{server.address}/metrics").text

    assert 'fer_edge_pictures_total{model="default",source="predict"} 1.0' in text
    assert 'fer_edge_faces_total{model="default"} 1.0' in text
    assert 'fer_edge_refused_total{source="predict"} 1.0' in text
    assert 'fer_edge_stage_seconds_count{stage="detect"} 1.0' in text


def test_labels_of_a_model_of_ones_own_reach_the_answer(
    run_server: RunServer, portrait: bytes, tiny_artifact: Path
) -> None:
    with Predictor(tiny_artifact) as own:
        server = run_server(predict=own)
        answer = httpx.post(f"{server.address}/v1/predict", content=portrait, headers=JPEG)
        labels = own.info.spec.labels
    assert tuple(answer.json()["results"][0]["faces"][0]["probabilities"]) == labels
