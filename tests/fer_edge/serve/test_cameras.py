from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from fer_edge import EngineError
from fer_edge.live.sources import FrameSource, open_source

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import RunServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

PATIENCE = 120


class Scene:
    """A camera that shows a portrait until it is told to end; counts how often it was opened."""

    def __init__(self, portrait: bytes) -> None:
        self.pixels = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
        self.ended = threading.Event()
        self.opened = 0

    def open(self) -> FrameSource:
        self.opened += 1
        return open_source(self._frames())

    def _frames(self) -> Iterator[tuple[np.ndarray, float]]:
        number = 0
        while not self.ended.wait(0.02):
            number += 1
            yield self.pixels, number * 0.02


@pytest.fixture
def scene(portrait: bytes) -> Iterator[Scene]:
    """A camera of the server."""
    made = Scene(portrait)
    yield made
    made.ended.set()


def next_frame(socket: ClientConnection) -> tuple[dict, np.ndarray]:
    """Ask for a frame: what is told of it, and its pixels."""
    socket.send("next")
    told = json.loads(socket.recv(timeout=PATIENCE))
    jpeg = socket.recv(timeout=PATIENCE)
    return told, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def camera_address(server: object, number: int = 0) -> str:
    """Where a camera of the server is watched."""
    return server.stream.replace("/v1/stream", f"/v1/cameras/{number}")  # type: ignore[attr-defined]


def test_each_request_brings_a_newer_frame_with_its_faces(
    run_server: RunServer, scene: Scene
) -> None:
    server = run_server(cameras={"hall": scene.open})
    with connect(camera_address(server)) as socket:
        times = []
        for _ in range(3):
            told, picture = next_frame(socket)
            assert [face["emotion"] for face in told["faces"]] == ["happy"]
            assert picture.shape == (told["height"], told["width"], 3)
            times.append(told["time_s"])
    assert times == sorted(set(times))


def test_all_who_watch_share_one_reader(run_server: RunServer, scene: Scene) -> None:
    server = run_server(cameras={"hall": scene.open})
    with connect(camera_address(server)) as one, connect(camera_address(server)) as other:
        for socket in (one, other):
            next_frame(socket)
    assert scene.opened == 1


def test_a_camera_that_cannot_be_opened_is_told(run_server: RunServer) -> None:
    def refuse() -> FrameSource:
        raise EngineError("nothing answers at rtsp://***@camera")

    server = run_server(cameras={"hall": refuse})
    with connect(camera_address(server)) as socket:
        socket.send("next")
        assert "nothing answers" in json.loads(socket.recv(timeout=PATIENCE))["error"]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE)


def test_a_camera_that_ends_is_told(run_server: RunServer, scene: Scene) -> None:
    server = run_server(cameras={"hall": scene.open})
    with connect(camera_address(server)) as socket:
        next_frame(socket)
        scene.ended.set()
        told: dict = {}
        while "error" not in told:
            socket.send("next")
            told = json.loads(socket.recv(timeout=PATIENCE))
            if "error" not in told:
                socket.recv(timeout=PATIENCE)
    assert "ended" in told["error"]


@pytest.mark.parametrize("number", [1, -1])
def test_there_are_no_other_cameras(run_server: RunServer, scene: Scene, number: int) -> None:
    server = run_server(cameras={"hall": scene.open})
    with pytest.raises(InvalidStatus), connect(camera_address(server, number)):
        pass
