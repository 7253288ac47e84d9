"""A server of ours in a thread of this process, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fer_edge import Predictor
from fer_edge.live.sources import FrameSource
from fer_edge.serve.app import create_app
from fer_edge.serve.running import bind, make_server
from fer_edge.serve.settings import Limits, ServerSettings


@dataclass(frozen=True)
class Running:
    """Where a server answers."""

    port: int

    @property
    def address(self) -> str:
        """For HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream(self) -> str:
        """For the WebSocket."""
        return f"ws://127.0.0.1:{self.port}/v1/stream"


RunServer = Callable[..., Running]


@contextmanager
def running_server(
    predictor: Predictor,
    limits: Limits | None = None,
    port: int = 0,
    cameras: Mapping[str, Callable[[], FrameSource]] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve a model until the block ends."""
    bound = bind("127.0.0.1", port)
    port = bound.getsockname()[1]
    made = ServerSettings.for_address("127.0.0.1", port, limits=limits, **settings)
    ready = threading.Event()
    server = make_server(create_app({"default": predictor}, made, cameras), made.limits, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(120)
        yield Running(port)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()
