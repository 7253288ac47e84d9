"""Fifty clients at once get fair shares; ``make live-page`` measures how large they are."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import count

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import RunServer
from websockets.asyncio.client import ClientConnection, connect

CLIENTS = 50


async def _shares(address: str, picture: bytes, most: int) -> list[int]:
    """Each client sends the picture again once it was answered; counts the answers of each."""
    asked = count(1)

    async def answers(socket: ClientConnection) -> int:
        answered = 0
        while next(asked) <= most:
            await socket.send(picture)
            assert json.loads(await socket.recv())["faces"]
            answered += 1
        return answered

    async with AsyncExitStack() as clients:
        opening = (connect(address, compression=None) for _ in range(CLIENTS))
        sockets = [await clients.enter_async_context(one) for one in opening]
        return await asyncio.gather(*map(answers, sockets))


def _jain(shares: list[int]) -> float:
    """Jain, Chiu and Hawe, "A Quantitative Measure of Fairness", 1984; 1 is equal."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


@pytest.fixture
def frame(portrait: bytes) -> bytes:
    """A frame of a camera, 640 x 480, with one face."""
    photo = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", cv2.resize(photo, (640, 480)))[1].tobytes()


def test_fifty_clients_have_equal_shares(run_server: RunServer, frame: bytes) -> None:
    shares = asyncio.run(_shares(run_server().stream, frame, 8 * CLIENTS))
    assert sum(shares) == 8 * CLIENTS
    assert _jain(shares) >= 0.95, shares
