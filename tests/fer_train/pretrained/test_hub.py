"""timm's weights by name, from a hub or its cache."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fer_edge.errors import ConfigurationError, DownloadError
from fer_train.pretrained.hub import fetch_from_hub


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("vit_tiny_patch16_225", "no architecture"),
        ("vit_tiny_patch16_224.none", r"no weights .*augreg_in21k"),
        ("test_nonsense", "no architecture"),
        ("vit_base_patch16_18x2_224", "no weights .*: none"),
    ],
)
def test_a_name_that_timm_lacks_is_told_with_those_it_has(name: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        fetch_from_hub(name)


NAME, COMMIT = "resnet10t.c3_in1k", "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, for one repository with ``pytorch_model.bin`` alone."""

    content = b"weights"
    delay_s = 0.0

    def do_HEAD(self) -> None:
        time.sleep(self.delay_s)
        there = self.path == f"/timm/{NAME}/resolve/main/pytorch_model.bin" or COMMIT in self.path
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if there:
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(self.content)))
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_of_the_hub_is_fetched_once(hub: str, tmp_path: Path) -> None:
    path = fetch_from_hub(NAME, endpoint=hub, cache=tmp_path)
    assert path.name == "pytorch_model.bin"
    assert path.read_bytes() == Hub.content
    assert fetch_from_hub(NAME, endpoint="http://127.0.0.1:9", cache=tmp_path) == path


def test_without_a_network_the_file_to_fetch_is_named_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DownloadError, match=rf"timm/{re.escape(NAME)}/.*safetensors.*--init FILE"):
        fetch_from_hub(NAME, endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert time.monotonic() - started < 5


def test_a_hub_that_does_not_answer_is_not_waited_for(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "delay_s", 1.0)
    with pytest.raises(DownloadError, match=r"[Tt]imed out.*--init FILE"):
        fetch_from_hub(NAME, endpoint=hub, cache=tmp_path, timeout_s=0.2)
