"""From the camera to the drawn box, on an idle machine of two cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fer_edge import Predictor

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from running_server import running_server

OpenPage = Callable[..., Any]

SECONDS = 20

_MEASURES = """() => performance.getEntriesByName('camera to drawn')
  .map(({startTime, duration}) => [startTime, duration])"""


def measure(page: Any) -> tuple[float, float]:
    """The 95th percentile in ms, and frames per second."""
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("button", name="Person 1").wait_for()
    page.wait_for_timeout(5000)
    page.evaluate("performance.clearMeasures()")
    page.wait_for_timeout(1000 * SECONDS)
    measured = np.array(page.evaluate(_MEASURES))
    seconds = (measured[-1, 0] - measured[0, 0]) / 1000
    p95, rate = float(np.percentile(measured[:, 1], 95)), (len(measured) - 1) / seconds
    print(f"p50 {np.median(measured[:, 1]):.1f} ms, p95 {p95:.1f} ms, {rate:.1f} frames/s")
    return p95, rate


@pytest.mark.speed
def test_the_engine_in_the_browser(open_page: OpenPage) -> None:
    p95, rate = measure(open_page())
    assert p95 <= 40
    assert rate >= 25


@pytest.mark.speed
def test_the_engine_on_a_server(open_page: OpenPage) -> None:
    with Predictor(threads=1) as predictor, running_server(predictor) as server:
        page = open_page(server.address)
        p95, _ = measure(page)
        page.close()  # before its server goes
    assert p95 <= 35
