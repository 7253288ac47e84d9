"""Cameras of the server, such as RTSP streams, for whoever watches its page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from fer_edge.errors import EngineError, FerEdgeError
from fer_edge.live.sources import Frame, FrameSource
from fer_edge.serve.faces import SIDES, FaceService, Findings

_QUALITY = 80
_PATIENCE = 30.0


@dataclass(frozen=True)
class Seen:
    """One frame of a camera, as a JPEG, and the faces in it."""

    frame: Frame
    findings: Findings
    jpeg: bytes


class Camera:
    """A source that is read while somebody watches; each frame is looked at once for all of them.

    ``open_source`` opens it, and is called in a thread. The newest frame wins: what nobody asked
    for in time is passed over. Belongs to one event loop.
    """

    def __init__(
        self, name: str, open_source: Callable[[], FrameSource], service: FaceService
    ) -> None:
        self.name = name
        self._open, self._service = open_source, service
        self._viewers = 0
        self._reader: _Reader | None = None
        self._look: tuple[Frame, asyncio.Task[Seen]] | None = None

    async def __aenter__(self) -> Camera:
        if self._viewers == 0:
            self._reader = _Reader(self._open, asyncio.get_running_loop())
        self._viewers += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._viewers -= 1
        if self._viewers == 0 and self._reader is not None:
            self._reader.stop()
            self._reader = self._look = None

    async def next(self, last: Frame | None) -> Seen:
        """Wait for a frame that is newer than ``last``, and for its faces.

        Raises EngineError or InputError where the source cannot be read.
        """
        assert self._reader is not None  # noqa: S101 - used within `async with`
        frame = await asyncio.wait_for(self._reader.newer(last), _PATIENCE)
        if self._look is None or self._look[0] is not frame:
            self._look = frame, asyncio.create_task(self._see(frame))
        return await asyncio.shield(self._look[1])

    async def _see(self, frame: Frame) -> Seen:
        findings = await self._service.analyze_frame(frame.pixels, SIDES[1])
        jpeg = await asyncio.to_thread(
            lambda: cv2.imencode(".jpg", frame.pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        )
        return Seen(frame, findings, jpeg.tobytes())


class _Reader:
    """A thread that keeps the newest frame of a source."""

    def __init__(
        self, open_source: Callable[[], FrameSource], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._open, self._loop = open_source, loop
        self._frame: Frame | None = None
        self._problem: FerEdgeError | None = None
        self._source: FrameSource | None = None
        self._stopped = False
        self._news = asyncio.Event()
        threading.Thread(target=self._read, name="fer-edge-camera", daemon=True).start()

    async def newer(self, last: Frame | None) -> Frame:
        while self._frame is None or self._frame is last:
            if self._problem is not None:
                raise self._problem
            self._news.clear()
            await self._news.wait()
        return self._frame

    def stop(self) -> None:
        self._stopped = True
        if self._source is not None:
            self._source.stop()

    def _read(self) -> None:
        problem: FerEdgeError = EngineError("the camera's source has ended")
        try:
            self._source = self._open()
            for frame in self._source:
                if self._stopped:
                    return
                self._tell(frame, None)
        except FerEdgeError as raised:
            problem = raised
        self._tell(self._frame, problem)

    def _tell(self, frame: Frame | None, problem: FerEdgeError | None) -> None:
        def tell() -> None:
            self._frame, self._problem = frame, problem
            self._news.set()

        if not self._stopped and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)
