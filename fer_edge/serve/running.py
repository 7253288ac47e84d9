"""From the options of ``fer-edge serve`` to a server that answers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from fer_edge.errors import ConfigurationError
from fer_edge.serve.settings import Limits

_BACKLOG = 128
_HEADER_BYTES = 16 << 10
_GOODBYE = 5
_LAST_PORT = 65535


def bind(host: str, port: int) -> socket.socket:
    """Bind the address, so that the port is known before the server starts; 0 takes a free one.

    Raises ConfigurationError for an address that cannot be had.
    """
    if not 0 <= port <= _LAST_PORT:  # getaddrinfo would take the rest of a division
        raise ConfigurationError(f"a port is a number from 0 to {_LAST_PORT}, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as problem:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {problem.strerror}; choose another with --host "
            "or --port"
        ) from problem
    bound.setblocking(False)
    return bound


def make_server(
    app: FastAPI,
    limits: Limits,
    started: Callable[[], None],
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> uvicorn.Server:
    """Make a server for ``run(sockets=[bind(…)])``; ``started`` is called once it answers.

    It runs until the process is interrupted or terminated, or ``should_exit`` is set. With a
    ``certificate`` and its ``key``, PEM files, it speaks TLS.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(limits),
        ws="websockets-sansio",
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=limits.idle / 2,
        ws_ping_timeout=limits.idle,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=int(limits.idle),
        timeout_graceful_shutdown=_GOODBYE,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return _Server(config, started)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._told()


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of each refused WebSocket: any page could fill the log."""
    return "without completing handshake" not in str(record.msg)


def _protocol(limits: Limits) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1 with a bound on connections, and on the time for a request's headers."""

    class Bounded(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._timer = self.loop.call_later(limits.idle, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            # a WebSocket has another protocol by now, and a request that came is the app's matter
            if self.transport.get_protocol() is self and self.cycle is None:
                self.transport.abort()

    return Bounded
