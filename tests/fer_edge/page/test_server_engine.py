"""The page in Chromium, with the engine on a server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import Predictor
from fer_edge.live.sources import open_source

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import Running, running_server

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Image = npt.NDArray[np.uint8]
TOKEN = "the token of this very test"  # noqa: S105 - for this test only


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    """The packaged model."""
    with Predictor(backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(predictor: Predictor) -> Iterator[Running]:
    """A server on the loopback."""
    with running_server(predictor) as running:
        yield running


def start_camera(page: Page) -> None:
    """Start the camera and wait for a face."""
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("button", name="Person 1").wait_for()


def test_frames_go_to_the_server_and_faces_come_back(open_page: OpenPage, server: Running) -> None:
    page = open_page(server.address)
    assert f"sent to 127.0.0.1:{server.port}" in page.locator("#where").inner_text()
    start_camera(page)
    page.get_by_text("camera to drawn").wait_for()
    readings = page.locator("#readings").inner_text()
    for line in (
        "encode",
        "network",
        "decode",
        "find faces",
        f"onnxruntime on 127.0.0.1:{server.port}",
    ):
        assert line in readings
    asked = page.requests  # type: ignore[attr-defined]
    assert not [address for address in asked if address.endswith((".onnx", ".wasm"))]


def test_a_photo_goes_as_it_is(open_page: OpenPage, server: Running, photo_file: Path) -> None:
    page = open_page(server.address)
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("1 face in portrait.png.").wait_for()
    assert page.locator("#verdict").inner_text().startswith("looks happy")


def test_the_same_page_can_keep_pictures_on_the_device(
    open_page: OpenPage, server: Running, photo_file: Path
) -> None:
    page = open_page(server.address)
    page.locator("#engine").select_option(label="on this device")
    assert page.locator("#where").inner_text() == "Pictures are processed on this device."
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("1 face in portrait.png.").wait_for()
    posted = [a for a in page.requests if "/v1/" in a]  # type: ignore[attr-defined]
    assert posted == []


def paced(picture: Image) -> Iterator[tuple[Image, float]]:
    """A camera that shows one picture, ten times a second."""
    for number in itertools.count():
        time.sleep(0.1)
        yield picture, number / 10


def test_a_camera_of_the_server_is_shown_as_what_the_server_runs(
    open_page: OpenPage, predictor: Predictor, portrait: Image
) -> None:
    cameras = {"door": lambda: open_source(paced(portrait))}
    with running_server(predictor, cameras=cameras) as server:
        page = open_page(server.address)
        page.locator("#engine").select_option(label="on this device")
        start_camera(page)
        page.locator("#sources").select_option(label="door")
        page.get_by_text("The camera of the server runs.").wait_for()
        page.locator("#readings", has_text=f"onnxruntime on 127.0.0.1:{server.port}").wait_for()
        page.get_by_role("button", name="Person 1 looks happy (apparent)").wait_for()
        assert page.locator("#where").inner_text().startswith("Pictures are sent to")

        page.locator("#engine").select_option(label="on this device")
        page.get_by_text("Start the camera, or open a photo").wait_for()
        assert page.locator("#where").inner_text() == "Pictures are processed on this device."
        page.close()  # before its server goes


def test_a_server_that_goes_away_and_comes_back_is_told_and_found_again(
    open_page: OpenPage, predictor: Predictor
) -> None:
    with running_server(predictor) as first:
        page = open_page(first.address)
        start_camera(page)
    page.get_by_text("The server does not answer. Trying again").wait_for()
    with running_server(predictor, port=first.port):
        page.get_by_text("The server is back.").wait_for()
        page.close()  # before its server goes for good
        page.problems.clear()  # type: ignore[attr-defined] - the browser's words on what failed


def test_a_server_that_was_away_at_the_start_is_found_at_the_next_one(
    open_page: OpenPage, predictor: Predictor
) -> None:
    with running_server(predictor) as first:
        page = open_page(first.address)
        page.get_by_text("Ready.").wait_for()
    page.get_by_role("button", name="Start camera").click()
    page.get_by_text("its files could not be loaded").wait_for()
    with running_server(predictor, port=first.port):
        start_camera(page)
        page.close()
        page.problems.clear()  # type: ignore[attr-defined] - as above


def test_the_token_is_asked_for_by_a_form(open_page: OpenPage, predictor: Predictor) -> None:
    with running_server(predictor, token=TOKEN) as server:
        page = open_page(server.address, accept=False)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("The people in view know").check()
        page.get_by_role("button", name="Continue").click()
        start_camera(page)
        assert TOKEN not in page.url
        page.close()  # before its server goes
