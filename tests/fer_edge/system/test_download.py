"""Fetching one file, against a server on this machine's loopback."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fer_edge.errors import ConfigurationError, DownloadError
from fer_edge.system.download import fetch

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = CONTENT
    announced: int | None = len(CONTENT)
    location: str | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            moved = state.location is not None and self.path != "/moved"
            self.send_response(302 if moved else state.status)
            if moved:
                self.send_header("Location", str(state.location))
            if state.announced is not None:
                self.send_header("Content-Length", str(0 if moved else state.announced))
            self.end_headers()
            if not moved:
                self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/file.onnx"
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "not/yet/there/file.onnx"


def files_beside(target: Path) -> list[Path]:
    return list(target.parent.iterdir()) if target.parent.is_dir() else []


def test_puts_the_file_in_its_place_and_makes_the_folder(server: Server, target: Path) -> None:
    assert fetch(server.url, target, SHA256) == target
    assert target.read_bytes() == CONTENT
    assert files_beside(target) == [target]


def test_needs_no_announced_length(server: Server, target: Path) -> None:
    server.announced = None
    fetch(server.url, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_good_file_is_kept_and_nothing_is_asked(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    fetch(server.url, target, SHA256)
    assert server.asked == []


def test_a_damaged_file_is_replaced(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[:-1])
    fetch(server.url, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_another_file_than_expected_is_refused(server: Server, target: Path) -> None:
    server.body = b"x" + CONTENT[1:]
    with pytest.raises(DownloadError, match="what came has the sha256") as caught:
        fetch(server.url, target, SHA256)
    assert SHA256 in str(caught.value)
    assert files_beside(target) == []


def test_what_was_there_survives_a_failure(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"an older release")
    server.status = 500
    with pytest.raises(DownloadError):
        fetch(server.url, target, SHA256)
    assert target.read_bytes() == b"an older release"


def test_the_message_says_how_to_do_it_by_hand(server: Server, target: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="the server answered 404") as caught:
        fetch(server.url, target, SHA256)
    for part in (server.url, str(target), SHA256, "copy it to"):
        assert part in str(caught.value)


def test_a_transfer_that_breaks_off_leaves_nothing(server: Server, target: Path) -> None:
    server.body = CONTENT[:-1000]
    with pytest.raises(DownloadError):
        fetch(server.url, target, SHA256)
    assert files_beside(target) == []


@pytest.mark.parametrize("announced", [len(CONTENT), None])
def test_a_file_over_the_limit_is_refused(
    server: Server, target: Path, announced: int | None
) -> None:
    server.announced = announced
    with pytest.raises(DownloadError, match=f"{len(CONTENT) - 1} "):
        fetch(server.url, target, SHA256, max_bytes=len(CONTENT) - 1)
    assert files_beside(target) == []


def test_offline_is_told_as_such(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch(f"http://127.0.0.1:{port}/file", target, SHA256)
    assert files_beside(target) == []


def test_a_silent_server_is_given_up(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match=r"answering|timed out"):
            fetch(url, target, SHA256, timeout_s=0.1)
    assert files_beside(target) == []


def test_a_target_that_cannot_be_written_is_told_as_such(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch(server.url, tmp_path / "file" / "below", SHA256)


def test_follows_a_redirect(server: Server, target: Path) -> None:
    server.location = "/moved"
    fetch(server.url, target, SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("elsewhere", ["http://files.example/x", "file:///etc/hostname"])
def test_follows_no_redirect_to_an_open_address(
    server: Server, target: Path, elsewhere: str
) -> None:
    server.location = elsewhere
    with pytest.raises(DownloadError, match=r"[Rr]edirect"):
        fetch(server.url, target, SHA256)
    assert files_beside(target) == []


@pytest.mark.parametrize(
    "url",
    ["http://files.example/x", "file:///etc/hostname", "ftp://127.0.0.1/x", "https://", "x.onnx"],
)
def test_only_https_is_fetched_from_afar(target: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        fetch(url, target, SHA256)


def test_a_proxy_is_not_asked_for_this_machine(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch(server.url, target, SHA256)
    assert target.read_bytes() == CONTENT
