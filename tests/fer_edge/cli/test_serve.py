"""fer-edge serve as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import fer_edge
from fer_edge.cli import main

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("httpx", reason="no httpx to ask the server with")

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


@contextmanager
def serving(
    *options: str, within: tuple[str, ...] = (), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start it on a free port; gives the process and the line with its address."""
    with started("serve", "--port", "0", *options, within=within, **environment) as running:
        yield running


@contextmanager
def started(
    *arguments: str, within: tuple[str, ...] = (), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a command of fer-edge; gives the process and its first line."""
    command = [*within, sys.executable, "-m", "fer_edge", *arguments]
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_answers_and_ends_when_it_is_told_to(ending: signal.Signals) -> None:
    with serving() as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}healthz").json()["status"] == "ok"
        process.send_signal(ending)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_a_page_that_is_refused_leaves_nothing_in_the_log() -> None:
    with serving() as (process, address):
        stream = address.replace("http", "ws") + "v1/stream"
        with pytest.raises(InvalidStatus), connect(stream, origin="https://evil.example"):
            pass
        process.terminate()
        _, log = process.communicate(timeout=60)
        assert "ERROR" not in log


def test_a_camera_is_shown_on_the_page_that_the_browser_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\ncd {tmp_path} && echo "$1" > asked && mv asked opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with started("camera", "--show", "--source", "rtsp://me:secret@camera.local/1") as (_, address):
        (camera,) = httpx.get(f"{address}page.json").json()["server"]["sources"]
        assert camera == {"id": "0", "name": "rtsp://***@camera.local/1"}
        until = time.monotonic() + 60
        while not (tmp_path / "opened").exists() and time.monotonic() < until:
            time.sleep(0.05)
    assert (tmp_path / "opened").read_text().strip() == address


def test_what_is_shown_is_not_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["camera", "--show", "--out", str(tmp_path / "out.mp4")]) == 2
    assert "leave out --out" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_it_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*asked, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=certificate)
    with serving("--ssl-certfile", certificate, "--ssl-keyfile", key) as (_, address):
        assert address.startswith("https://127.0.0.1:")
        assert httpx.get(f"{address}healthz", verify=trusting).json()["status"] == "ok"
        stream = f"wss{address.removeprefix('https')}v1/stream"
        with connect(stream, ssl=trusting, origin=address.rstrip("/")) as socket:
            socket.send(b"no picture")
            assert "error" in json.loads(socket.recv(timeout=60))


CONTAINED = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -o remount,bind,ro / && mount -t tmpfs none /tmp && "
    'exec setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --no-new-privs "$@"',
    "sh",
)
"""What the container of docs/serving.md is: another user, a read-only root, an empty /tmp."""


def test_it_runs_as_another_user_on_a_read_only_root() -> None:
    try:
        probe = [*CONTAINED, sys.executable, "-c", f"open({fer_edge.__file__!r})"]
        subprocess.run(probe, check=True, capture_output=True, cwd="/")
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"no such container can be made here: {problem}")
    settings = {"FER_EDGE_HOME": "/tmp/fer_edge", "HOME": "/", "FER_EDGE_TOKEN": "t" * 16}  # noqa: S108
    with serving("--host", "0.0.0.0", within=CONTAINED, **settings) as (process, address):  # noqa: S104
        printed = httpx.URL(address)
        answer = httpx.post(
            f"http://127.0.0.1:{printed.port}/v1/predict",
            content=cv2.imencode(".png", np.zeros((64, 64), np.uint8))[1].tobytes(),
            headers={
                "host": printed.netloc.decode(),
                "content-type": "image/png",
                "authorization": f"Bearer {'t' * 16}",
            },
            timeout=60,
        )
        assert (answer.status_code, answer.json()["results"][0]["faces"]) == (200, [])
        own = Path(f"/proc/{process.pid}")
        assert own.stat().st_uid == 1000
        mounts = [line.split() for line in (own / "mounts").read_text().splitlines()]
        assert [options.split(",")[0] for _, at, _, options, *_ in mounts if at == "/"] == ["ro"]
        process.terminate()
        process.wait(60)


def test_beyond_the_loopback_it_makes_a_token_and_prints_it() -> None:
    with serving("--host", "0.0.0.0") as (process, address):  # noqa: S104 - it asks for a token
        assert process.stderr is not None
        told = process.stderr.readline()
        token = told.partition("the token of this server: ")[2].strip()
        assert len(token) == 32
        printed = httpx.URL(address)
        here = f"http://127.0.0.1:{printed.port}/page.json"
        headers = {"host": printed.netloc.decode()}
        assert httpx.get(here, headers=headers).status_code == 401
        headers["authorization"] = f"Bearer {token}"
        assert httpx.get(here, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--token-file", "none.txt"], "none.txt"),
        (["--ssl-certfile", "none.pem"], "none.pem"),
        (["--model", "none.onnx"], "none.onnx"),
        (["--origin", "faces.example.org"], "an origin is like"),
        (["--port", "99999"], "a port is a number from 0 to 65535"),
    ],
)
def test_what_it_cannot_do_is_told(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    port = [] if "--port" in options else ["--port", "0"]
    monkeypatch.setenv("FER_EDGE_TOKEN", "a token that is long enough")
    assert main(["serve", *port, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_short_token_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("short\n")
    assert main(["serve", "--port", "0", "--token-file", str(tmp_path / "token")]) == 2
    assert "at least 16" in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / tiny_artifact.name
    other.write_bytes(tiny_artifact.read_bytes())
    models = ["--model", str(tiny_artifact), "--model", str(other)]
    assert main(["serve", "--port", "0", *models]) == 2
    assert "the same name" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err
