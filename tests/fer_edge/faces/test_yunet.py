"""Which file YuNet is and where it lies."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fer_edge.errors import DownloadError
from fer_edge.faces.yunet import YUNET_FILE, YUNET_SHA256, YUNET_URL, fetch_yunet, yunet_path


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FER_EDGE_HOME", str(tmp_path / "home"))


def test_comes_from_opencv_s_repository_over_https() -> None:
    parts = urlsplit(YUNET_URL)
    assert parts.scheme == "https"
    assert "/opencv/opencv_zoo/" in parts.path
    assert parts.path.endswith(f"/{YUNET_FILE}")


def test_lies_in_the_users_data_folder(tmp_path: Path) -> None:
    assert yunet_path() == tmp_path / "home" / YUNET_FILE


def test_a_failed_fetch_names_the_place_and_the_hash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError) as caught:
        fetch_yunet(url=f"http://127.0.0.1:{port}/{YUNET_FILE}")
    assert str(yunet_path()) in str(caught.value)
    assert YUNET_SHA256 in str(caught.value)
    assert not yunet_path().exists()
