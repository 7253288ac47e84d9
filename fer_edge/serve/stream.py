"""The WebSocket: pictures come in, faces go out, and the newest picture wins."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fer_edge.errors import FerEdgeError
from fer_edge.live.sources import Frame
from fer_edge.serve.cameras import Camera
from fer_edge.serve.faces import FaceService
from fer_edge.serve.metrics import Metrics
from fer_edge.serve.settings import Limits

IDLE = 4408
"""Close code for a client that sent nothing, or took no answer, for ``Limits.idle`` seconds."""

_NO_PICTURE = 1003  # RFC 6455: data of a type that cannot be accepted
_NO_CAMERA = 4502
_GOODBYE = 1.0
_GONE = (WebSocketDisconnect, ConnectionError, OSError)


class _Newest:
    """A mailbox of one picture: a newer one takes the place of one that nobody took."""

    def __init__(self) -> None:
        self._data: bytes | None = None
        self._there = asyncio.Event()
        self.dropped = 0

    def put(self, data: bytes) -> None:
        self.dropped += self._data is not None
        self._data = data
        self._there.set()

    async def take(self) -> tuple[bytes, int]:
        """Wait for a picture; with it comes how many were passed over since the last."""
        await self._there.wait()
        self._there.clear()
        data, dropped = self._data, self.dropped
        assert data is not None  # noqa: S101 - set before the event
        self._data, self.dropped = None, 0
        return data, dropped


class Stream:
    """One client's connection.

    Each binary message, a picture file, is answered with the faces in it. While one is under way
    newer pictures replace each other, so a client that sends faster than it is answered gets
    answers about now. A picture that cannot be used is answered with ``error``. A text message
    ends the connection, and so does ``Limits.idle`` without a message.
    """

    def __init__(
        self,
        socket: WebSocket,
        service: FaceService,
        *,
        model: str,
        side: int,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._socket, self._service = socket, service
        self._model, self._side = model, side
        self._limits, self._metrics = limits, metrics
        self._newest = _Newest()

    async def run(self) -> None:
        """Answer until the client goes, or has to."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        code = next((outcome for outcome in outcomes if isinstance(outcome, int)), 1000)
        if self._socket.client_state is WebSocketState.CONNECTED:
            # a client that reads nothing would hold this up
            with suppress(RuntimeError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._socket.close(code), _GOODBYE)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, _GONE):
                raise outcome

    async def _read(self) -> int:
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._limits.idle)
            except asyncio.TimeoutError:
                return IDLE
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            data = message.get("bytes")
            if data is None:
                return _NO_PICTURE
            self._newest.put(data)

    async def _answer(self) -> int:
        while True:
            data, dropped = await self._newest.take()
            self._metrics.dropped.inc(dropped)
            answer = {"dropped": dropped, **await self._faces(data)}
            try:
                await asyncio.wait_for(self._socket.send_json(answer), self._limits.idle)
            except asyncio.TimeoutError:
                return IDLE

    async def _faces(self, data: bytes) -> dict[str, Any]:
        try:
            findings = await self._service.analyze(data, self._side, self._limits.live_pixels)
        except FerEdgeError as problem:
            self._metrics.refused.labels("stream").inc()
            return {"error": str(problem), "faces": []}
        self._metrics.picture(self._model, "stream", len(findings.boxes), findings.timings_ms)
        return findings.to_dict()


async def watch_camera(socket: WebSocket, camera: Camera, limits: Limits) -> None:
    """Answer each text message with a camera's next frame: its faces as text, then its JPEG."""
    last: Frame | None = None
    async with camera:
        while True:
            try:
                await asyncio.wait_for(socket.receive_text(), limits.idle)
                seen = await camera.next(last)
            except (asyncio.TimeoutError, KeyError):
                await socket.close(IDLE)
                return
            except FerEdgeError as problem:
                await socket.send_json({"error": str(problem), "faces": []})
                await socket.close(_NO_CAMERA)
                return
            dropped = seen.frame.index - last.index - 1 if last else 0
            last = seen.frame
            height, width = seen.frame.pixels.shape[:2]
            findings = {**seen.findings.to_dict(), "dropped": dropped}
            about = {"width": width, "height": height, "time_s": seen.frame.time}
            await asyncio.wait_for(socket.send_json({**findings, **about}), limits.idle)
            await asyncio.wait_for(socket.send_bytes(seen.jpeg), limits.idle)
