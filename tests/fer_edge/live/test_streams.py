"""Streams that are lost and come back: a real RTSP server that is killed and started again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_edge.live import sources
from fer_edge.live.ahead import Ahead
from fer_edge.live.sources import Frame, FrameSource, open_source

SYSTEM_PYTHON = Path("/usr/bin/python3")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_server() -> None:
    code = (
        "import gi\n"
        "gi.require_version('GstRtspServer', '1.0')\n"
        "from gi.repository import Gst, GstRtspServer\n"
        "Gst.init(None)\n"
        "assert Gst.ElementFactory.find('rtpjpegpay') and Gst.ElementFactory.find('jpegenc')\n"
    )
    if (
        not SYSTEM_PYTHON.exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", code], check=False, capture_output=True).returncode
    ):
        pytest.skip("no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0, or make system")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
def start(port: int, root: Path) -> Iterator[Start]:
    """Start the server, and kill it in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(size: str = "320x240") -> subprocess.Popen[str]:
        script = root / "tests" / "support" / "rtsp_server.py"
        command = [str(SYSTEM_PYTHON), str(script), str(port), size]
        plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=plain)
        started.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    yield start
    for server in started:
        server.kill()
        server.communicate()


def address(port: int) -> str:
    return f"rtsp://user:s3cret@127.0.0.1:{port}/test"


def take(
    source: FrameSource, frames: Ahead[Frame], until: Callable[[Frame], bool], seconds: float = 60
) -> Frame:
    """The first frame that fits; after so many seconds the source is stopped: a failure."""
    too_late = threading.Timer(seconds, source.stop)
    too_late.start()
    try:
        for frame in frames:
            if until(frame):
                return frame
    finally:
        too_late.cancel()
    pytest.fail(f"no such frame within {seconds} s")


@pytest.fixture(autouse=True)
def _warnings_are_captured(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever level an earlier test or a library of it left behind."""
    caplog.set_level(logging.WARNING, "fer_edge.live")


def test_a_stream_is_read_as_it_comes(start: Start, port: int) -> None:
    start()
    source = open_source(address(port))
    assert source.info.live
    assert source.info.name == f"rtsp://***@127.0.0.1:{port}/test"
    with Ahead(iter(source), size=1, latest=True) as frames:
        first, second = next(frames), next(frames)
        assert first.pixels.shape == (240, 320, 3)
        assert first.time < second.time
        source.stop()


def test_a_server_that_is_killed_and_started_again_is_found_again(
    start: Start, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    source = open_source(address(port))
    with Ahead(iter(source), size=1, latest=True) as frames:
        assert next(frames).session == 0
        server.kill()
        server.wait()
        restarted = threading.Timer(0.5, start, ["640x480"])
        restarted.start()
        # another size is taken as it is
        take(
            source, frames, lambda frame: frame.session >= 1 and frame.pixels.shape == (480, 640, 3)
        )
        source.stop()
    restarted.join()
    assert "was lost; opening it again" in caplog.text
    assert "is back" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_that_stalls_is_left_and_found_again(
    start: Start, port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_READ_TIMEOUT_MS", 1500)
    server = start()
    source = open_source(address(port))

    def resume_once_it_is_missed() -> None:
        ended = time.monotonic() + 30
        while "was lost" not in caplog.text and time.monotonic() < ended:
            time.sleep(0.05)
        server.send_signal(signal.SIGCONT)

    with Ahead(iter(source), size=1, latest=True) as frames:
        assert next(frames).session == 0
        server.send_signal(signal.SIGSTOP)
        resumed = threading.Thread(target=resume_once_it_is_missed)
        resumed.start()
        take(source, frames, lambda frame: frame.session >= 1)
        source.stop()
    resumed.join()


def test_stopping_while_a_source_is_lost_ends_at_once(start: Start, port: int) -> None:
    server = start()
    source = open_source(address(port))
    with Ahead(iter(source), size=1, latest=True) as frames:
        next(frames)
        server.kill()
        time.sleep(0.2)
        source.stop()
        assert len(list(frames)) <= 1
