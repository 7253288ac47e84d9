"""Servers that run, and what they are asked about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from fer_edge import Predictor

if TYPE_CHECKING:  # the extra serve may not be installed
    from running_server import Running, RunServer


@pytest.fixture(scope="session")
def predictor() -> Iterator[Predictor]:
    """The packaged model."""
    with Predictor(backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def run_server(predictor: Predictor) -> Iterator[RunServer]:
    """Start servers with limits or a token of a test's own; all are stopped at the end."""
    from running_server import running_server

    with ExitStack() as stack:

        def run(predict: Predictor = predictor, **settings: Any) -> Running:
            return stack.enter_context(running_server(predict, **settings))

        yield run


@pytest.fixture(scope="session")
def server(run_server: RunServer) -> Running:
    """A server with the packaged model on the loopback."""
    return run_server()


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A photo of one face, as a JPEG."""
    data = pytest.importorskip("skimage.data", reason="no scikit-image, which has the portrait")
    return cv2.imencode(".jpg", np.ascontiguousarray(data.astronaut()[:, :, ::-1]))[1].tobytes()
