"""How fast the live page is with each of its engines, and what fifty clients of one server get.

Chromium's camera plays a film of the portrait that scikit-image carries.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from browser import PATIENCE, accept_notice, chromium, write_film
from websockets.asyncio.client import connect

from fer_bench.protocol import resident_bytes
from fer_edge import read_image
from fer_edge.command import Commands, add_command, write_result
from fer_edge.page.site import write_site
from pages.blocks import MeasuredBlock, add_write_option
from pages.figures import Figure, machine, report, table

SCHEMA = "fer-pages-page/1"

_CLIENTS = 50
_WARM_UP_S, _SETTLE_S = 5.0, 1.0
_STARTS = 5
"""Of the camera, for each engine. How its frames fall between those of the display stays as it is
at the start, and changes the time from camera to drawn box by up to one frame of the display."""

_DRAWN = """() => performance.getEntriesByName('camera to drawn')
  .map(({startTime, duration}) => [startTime, duration])"""


def measure(folder: Path, *, seconds: float = 20, clients_seconds: float = 60) -> list[Figure]:
    """Measure the page for ``seconds`` with each engine, and the clients for ``clients_seconds``.

    ``folder`` takes the page and the camera's film. The browser and the clients run on the same
    machine as the server.
    """
    portrait = read_image(Path(skimage.data.__file__).with_name("astronaut.png"))
    write_site(folder / "site")
    with chromium(write_film(folder / "camera.mjpeg", portrait)) as browser:
        with _files_served(folder / "site") as address:
            figures = _camera_to_drawn(
                browser, address, "in the browser", seconds, most_ms=40, least=25
            )
        with _server() as (address, _):
            figures += _camera_to_drawn(
                browser, address, "on a server", seconds, most_ms=35, least=None
            )
    frame = cv2.imencode(".jpg", cv2.resize(portrait, (640, 480)))[1].tobytes()
    return figures + _shares(frame, clients_seconds)


def _camera_to_drawn(
    browser: Any, address: str, engine: str, seconds: float, *, most_ms: float, least: float | None
) -> list[Figure]:
    with browser.new_context(permissions=["camera"]) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        accept_notice(page)
        spent, intervals = [], []
        for start in range(_STARTS):
            page.get_by_role("button", name="Start camera").click()
            page.get_by_role("button", name="Person 1").wait_for()
            page.wait_for_timeout(1e3 * (_SETTLE_S if start else _WARM_UP_S))
            page.evaluate("performance.clearMeasures()")
            page.wait_for_timeout(1e3 * seconds / _STARTS)
            began, took = np.array(page.evaluate(_DRAWN)).T
            page.get_by_role("button", name="Stop camera").click()
            spent.extend(took)
            intervals.extend(np.diff(began))
    rate = 1e3 / np.mean(intervals)
    prefix = f"engine {engine}: "
    return [
        Figure(f"{prefix}camera to drawn box, median", float(np.median(spent)), "ms"),
        Figure(f"{prefix}camera to drawn box, p95", float(np.percentile(spent, 95)), "ms", most_ms),
        Figure(f"{prefix}frames drawn", float(rate), "per s", least, at_least=True),
    ]


def _shares(frame: bytes, seconds: float) -> list[Figure]:
    with _server() as (address, pid):
        stream = f"ws{address.removeprefix('http')}v1/stream"
        asyncio.run(_ask(stream, frame, _WARM_UP_S))  # the first pictures make room that stays
        before = resident_bytes(pid)
        shares = np.array(asyncio.run(_ask(stream, frame, seconds)), float)
        grown_mb = (resident_bytes(pid) - before) / 1e6
    # Jain, Chiu and Hawe, "A Quantitative Measure of Fairness", 1984; 1 is equal
    jain = shares.sum() ** 2 / (_CLIENTS * np.square(shares).sum())
    prefix = f"{_CLIENTS} clients for {seconds:.0f} s: "
    return [
        Figure(f"{prefix}slowest", shares.min() / seconds, "frames per s", 3, at_least=True),
        Figure(f"{prefix}all together", shares.sum() / seconds, "frames per s"),
        Figure(f"{prefix}Jain's index of their shares", float(jain), "", 0.95, at_least=True),
        Figure(f"{prefix}memory more", grown_mb, "MB", 50),
    ]


async def _ask(address: str, frame: bytes, seconds: float) -> list[int]:
    """Let each client send the next frame when the last was answered; counts the answers."""
    until = time.monotonic() + seconds

    async def client() -> int:
        count = 0
        async with connect(address, compression=None) as socket:
            while time.monotonic() < until:
                await socket.send(frame)
                assert json.loads(await socket.recv())["faces"]  # noqa: S101 - else no measurement
                count += 1
        return count

    return await asyncio.gather(*(client() for _ in range(_CLIENTS)))


@contextmanager
def _server() -> Iterator[tuple[str, int]]:
    """``fer-edge serve`` as a user starts it; gives its address and its process."""
    command = [sys.executable, "-m", "fer_edge", "serve", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - a list
        assert server.stdout is not None  # noqa: S101 - it was asked for a pipe
        try:
            yield server.stdout.readline().strip(), server.pid
        finally:
            server.terminate()


@contextmanager
def _files_served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "page", "measure the live page and its server", _page)
    add_write_option(parser)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for each engine")
    parser.add_argument("--clients-seconds", type=float, default=60.0, metavar="S")


def _page(options: Namespace) -> int:
    block = MeasuredBlock(options.write, "speed")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            Path(folder), seconds=options.seconds, clients_seconds=options.clients_seconds
        )
    text = table(figures)
    print(text)
    block.write(
        f"{machine()}, which run the server and headless Chromium or the clients too; camera and "
        f"clients send frames of 640 x 480 pixels.\n\n{text}"
    )
    write_result(options, report(SCHEMA, figures))
    return 0
