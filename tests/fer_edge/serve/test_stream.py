from __future__ import annotations

import json
import socket as sockets
from contextlib import suppress

import cv2
import numpy as np
import pytest

from fer_edge import Predictor
from fer_edge.serve.settings import Limits

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import Running, RunServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fer_edge.serve.stream import IDLE

PATIENCE = 120


def receive(socket: ClientConnection) -> dict:
    """The next answer."""
    return json.loads(socket.recv(timeout=PATIENCE))


def close_code(socket: ClientConnection) -> int:
    """Wait until the server closes."""
    try:
        while True:
            socket.recv(timeout=PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


def test_each_picture_is_answered(server: Running, portrait: bytes) -> None:
    with connect(server.stream) as socket:
        for _ in range(3):
            socket.send(portrait)
            answer = receive(socket)
            assert [face["emotion"] for face in answer["faces"]] == ["happy"]
            assert set(answer["timings_ms"]) == {"wait", "decode", "detect", "classify"}
            assert answer["dropped"] == 0


def test_the_newest_picture_wins(server: Running, portrait: bytes) -> None:
    blank = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    sent = 40
    with connect(server.stream) as socket:
        for _ in range(sent - 1):
            socket.send(portrait)
        socket.send(blank)
        answers = [receive(socket)]
        while answers[-1]["faces"]:
            answers.append(receive(socket))
    assert len(answers) + sum(answer["dropped"] for answer in answers) == sent


def test_what_is_no_picture_is_answered_and_the_connection_stays(
    server: Running, portrait: bytes
) -> None:
    with connect(server.stream) as socket:
        for garbage in (b"", b"garbage", portrait[:200]):
            socket.send(garbage)
            assert receive(socket)["error"]
        socket.send(portrait)
        assert receive(socket)["faces"]


def test_a_picture_of_too_many_pixels_is_refused(server: Running) -> None:
    large = cv2.imencode(".jpg", np.zeros((2001, 2001), np.uint8))[1].tobytes()
    with connect(server.stream) as socket:
        socket.send(large)
        assert "2001 x 2001" in receive(socket)["error"]


def test_a_message_of_too_many_bytes_ends_the_connection(server: Running) -> None:
    with connect(server.stream) as socket:
        with suppress(ConnectionClosed):  # the server does not wait for its end
            socket.send(bytes((2 << 20) + 1))
        # 1006: what the server left unread made its system reset the connection
        assert close_code(socket) in (1009, 1006)


def test_a_text_message_ends_the_connection(server: Running) -> None:
    with connect(server.stream) as socket:
        socket.send("hello")
        assert close_code(socket) == 1003


def test_a_client_that_sends_nothing_is_let_go(run_server: RunServer) -> None:
    server = run_server(limits=Limits(idle=0.5))
    with connect(server.stream) as socket:
        assert close_code(socket) == IDLE


def test_a_client_that_reads_nothing_does_not_keep_the_others_waiting(
    server: Running, portrait: bytes
) -> None:
    with connect(server.stream) as deaf, connect(server.stream) as other:
        deaf.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        for _ in range(100):
            deaf.send(portrait)
        other.send(portrait)
        assert receive(other)["faces"]


def test_more_clients_than_are_served_are_refused(run_server: RunServer, portrait: bytes) -> None:
    server = run_server(limits=Limits(clients=2))
    with connect(server.stream) as first, connect(server.stream):
        with pytest.raises(InvalidStatus), connect(server.stream):
            pass
        first.send(portrait)
        assert receive(first)["faces"]
    with connect(server.stream) as again:  # their places are free again
        again.send(portrait)
        assert receive(again)["faces"]


@pytest.mark.parametrize("query", ["model=other", "side=1", "side=x"])
def test_parameters_out_of_range_are_refused(server: Running, query: str) -> None:
    with pytest.raises(InvalidStatus), connect(f"{server.stream}?{query}"):
        pass


def test_a_hundred_connections_leave_the_server_well(server: Running, portrait: bytes) -> None:
    idle = [sockets.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        with connect(server.stream) as socket:
            socket.send(portrait)
            assert receive(socket)["faces"]
    finally:
        for connection in idle:
            connection.close()


def test_an_engine_that_fails_is_told_and_the_server_stays(
    run_server: RunServer, portrait: bytes
) -> None:
    with Predictor(backend="onnxruntime") as broken:
        server = run_server(predict=broken)
        with connect(server.stream) as socket:
            socket.send(portrait)
            assert receive(socket)["faces"]
            broken.close()
            socket.send(portrait)
            assert "closed" in receive(socket)["error"]
