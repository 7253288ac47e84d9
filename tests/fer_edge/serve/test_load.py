"""Fifty clients at once: fair shares, and memory that stays."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import RunServer
from websockets.asyncio.client import connect

CLIENTS = 50
MINUTE = 60.0


async def _ask(address: str, picture: bytes, go_on: Callable[[], bool]) -> int:
    """Send the next picture when the last was answered; gives the number of answers."""
    count = 0
    async with connect(address, compression=None) as socket:
        while go_on():
            await socket.send(picture)
            assert json.loads(await socket.recv())["faces"]
            count += 1
    return count


def _shares(address: str, picture: bytes, go_on: Callable[[], bool]) -> list[int]:
    async def run() -> list[int]:
        return await asyncio.gather(*(_ask(address, picture, go_on) for _ in range(CLIENTS)))

    return asyncio.run(run())


def _jain(shares: list[int]) -> float:
    """Jain, Chiu and Hawe, "A Quantitative Measure of Fairness", 1984; 1 is equal."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


@pytest.fixture
def frame(portrait: bytes) -> bytes:
    """A frame of a camera, 640 x 480, with one face."""
    photo = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", cv2.resize(photo, (640, 480)))[1].tobytes()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_fifty_clients_have_equal_shares(run_server: RunServer, frame: bytes) -> None:
    asked = count(1)
    shares = _shares(run_server().stream, frame, lambda: next(asked) <= 20 * CLIENTS)
    assert sum(shares) == 20 * CLIENTS
    assert _jain(shares) >= 0.95, shares


@pytest.mark.speed
def test_fifty_clients_for_a_minute(run_server: RunServer, frame: bytes) -> None:
    server = run_server()

    def shares(seconds: float) -> list[int]:
        until = time.monotonic() + seconds
        return _shares(server.stream, frame, lambda: time.monotonic() < until)

    shares(5)  # the first pictures make room that stays
    before = _resident()
    given = shares(MINUTE)
    grown = (_resident() - before) / 2**20
    slowest, fastest = min(given) / MINUTE, max(given) / MINUTE
    print(f"{slowest:.2f} to {fastest:.2f} frames/s, index {_jain(given):.3f}, {grown:+.0f} MiB")
    assert slowest >= 3
    assert _jain(given) >= 0.95
    assert grown <= 50
