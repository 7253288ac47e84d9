"""Chromium with a camera that plays a film of a face, for tests and benchmarks of the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds: a machine may be busy with other things

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--host-resolver-rules=MAP page.test 127.0.0.1",
]


def write_film(path: Path, portrait: npt.NDArray[np.uint8]) -> Path:
    """Write what the camera sees: a face that moves in a circle, two seconds long, 640 x 480."""
    large = cv2.resize(portrait, (1024, 1024))
    with path.open("wb") as stream:
        for angle in np.linspace(0, 2 * np.pi, 60, endpoint=False):
            x, y = int(150 + 60 * np.sin(angle)), int(40 + 20 * np.cos(angle))
            stream.write(cv2.imencode(".jpg", large[y : y + 480, x : x + 640])[1].tobytes())
    return path


@contextmanager
def chromium(film: Path) -> Iterator[Browser]:
    """Debian's Chromium, driven by playwright.

    As long as the block lasts, the thread can have no other event loop.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM),
            args=[*_ARGUMENTS, f"--use-file-for-fake-video-capture={film}"],
        )
        yield browser
        browser.close()


def accept_notice(page: Page) -> None:
    """Do what the first visit asks for."""
    page.get_by_label("The people in view know").check()
    page.get_by_role("button", name="Continue").click()
