"""Chromium with a camera that plays a film of faces, and the page as a web server gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browser
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.page.site import write_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Image = npt.NDArray[np.uint8]
OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="session")
def portrait() -> Image:
    """A photo of one face, BGR."""
    data = pytest.importorskip("skimage.data", reason="no scikit-image, which has the portrait")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="session")
def film(portrait: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees."""
    return browser.write_film(tmp_path_factory.mktemp("camera") / "camera.mjpeg", portrait)


@pytest.fixture(scope="module")
def chromium(film: Path) -> Iterator[Browser]:
    """Debian's Chromium; every test opens a context of its own in it.

    For one module: as long as playwright runs, its thread can have no other event loop.
    """
    pytest.importorskip("playwright.sync_api", reason="no playwright to drive Chromium")
    if not browser.CHROMIUM.is_file():
        pytest.skip(f"no {browser.CHROMIUM}; install it with: apt-get install chromium")
    with browser.chromium(film) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the packaged models."""
    folder = tmp_path_factory.mktemp("site") / "page"
    write_site(folder)
    return folder


@pytest.fixture(scope="session")
def serve_folder() -> Iterator[Callable[[Path], int]]:
    """Serve folders by Python's own HTTP server; gives the port of each."""
    servers: list[ThreadingHTTPServer] = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    def serve(folder: Path) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def site_address(site: Path, serve_folder: Callable[[Path], int]) -> str:
    """Where the page is served: under a path, as on a shared host."""
    return f"http://127.0.0.1:{serve_folder(site.parent)}/{site.name}/"


@pytest.fixture
def open_page(chromium: Browser, site_address: str) -> Iterator[OpenPage]:
    """Open the page in a new context, its notice accepted; fails a test that leaves errors.

    ``page.requests`` are the addresses that were asked for.
    """
    contexts, problems = [], []

    def open_(
        address: str = site_address,
        *,
        camera: bool = True,
        accept: bool = True,
        script: str | None = None,
        **options: Any,
    ) -> Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(browser.PATIENCE)
        if camera:
            context.grant_permissions(["camera"])
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                problems.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.requests = asked  # type: ignore[attr-defined]
        page.problems = problems  # type: ignore[attr-defined]
        page.goto(address)
        if accept:
            browser.accept_notice(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def photo_file(portrait: Image, tmp_path: Path) -> Path:
    """The portrait as a PNG, so that every reader sees the same pixels."""
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), portrait)
    return path
