"""Where frames come from: files, cameras, network streams, GStreamer, or any iterable.

OpenCV reads them all: it applies the rotation that a file asks for, gives the time of each frame
where frames are not evenly spaced, and keeps to time limits on a stream that stalls.
"""

from __future__ import annotations

import io
import logging
import math
import os
import random
import re
import shlex
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import EngineError, InputError
from fer_edge.system.forking import ProcessBound
from fer_edge.system.read_file import as_address, refuse_git_lfs

Image: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | int | Iterable[tuple[Image, float]] | FrameSource"
"""A file, the number of a camera, an address (rtsp://...), a GStreamer pipeline, pairs of a frame
and its time in seconds, or what ``open_source`` gave."""

_log = logging.getLogger("fer_edge.live")

_OPEN_TIMEOUT_MS = _READ_TIMEOUT_MS = 5000
_LEAST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_SHARE = 0.5, 10.0, 0.1
_FEWEST_LOST, _SHARE_LOST = 2, 0.02
"""Containers that only estimate their number of frames are off by so much."""

_NO_PAIRS = (np.ndarray, bytes, bytearray, memoryview, io.IOBase)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_USER = re.compile(r"(://)[^/@\s\"']*@")
_SECRET = re.compile(r"(?i)\b(user-(?:id|pw)|[\w-]*(?:password|token|secret|key)|auth)=[^\s&!]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its pixels, uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR, and its time in seconds.

    ``session`` counts how often a live source has been opened again. ``decode_ms`` is what reading
    it took; of a live source that includes waiting for it.
    """

    index: int
    time: float
    pixels: Image
    decode_ms: float = 0.0
    session: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame; 0 stands for unknown.

    ``name`` has no password in it. ``frames`` is how many the file says that it has.
    """

    name: str
    live: bool
    fps: float = 0.0
    frames: int = 0
    width: int = 0
    height: int = 0


class FrameSource(ProcessBound):
    """A source that is open: an iterator over its frames, to be read by one thread.

    One of your own is made of a generator of frames; with ``SourceInfo(name, live=True)`` only the
    newest of them is kept. A generator of a live source ends where ``stopped`` is set.

    ``read`` is how many frames were read so far.
    """

    def __init__(
        self,
        info: SourceInfo,
        frames: Generator[Frame, None, None],
        stopped: threading.Event | None = None,
    ) -> None:
        self.info = info
        self.read = 0
        self._frames = frames
        self._stopped = threading.Event() if stopped is None else stopped

    @property
    def complete(self) -> bool:
        """Whether all the frames were read that a file says it has; live sources have no end."""
        missing = self.info.frames - self.read
        return missing <= max(_FEWEST_LOST, _SHARE_LOST * self.info.frames)

    def __iter__(self) -> Iterator[Frame]:
        self.require_own_process()
        try:
            for frame in self._frames:
                self.read += 1
                yield frame
        finally:
            self._frames.close()

    def stop(self) -> None:
        """Let a live source end at its next frame; for another thread than the one that reads."""
        if not self.inherited:  # nobody reads here, and the lock may be held for ever
            self._stopped.set()


def open_source(source: Source) -> FrameSource:
    """Open a source and check that it can be read.

    Raises InputError for a file that is missing or that OpenCV cannot decode and for a negative
    number of a camera, and EngineError for a camera or stream that cannot be opened and for a
    GStreamer pipeline where OpenCV was built without GStreamer.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, int):
        if source < 0:  # OpenCV's "any camera" may be a segmentation fault
            raise InputError(f"expected the number of a camera, 0 for the first, not {source}")
        return _live(source, f"camera {source}")
    if isinstance(source, (str, os.PathLike)):
        where = os.fspath(source)
        if _ADDRESS.match(where) or _is_pipeline(where):
            return _live(where, without_secrets(where))
        return _file(Path(where))
    if isinstance(source, _NO_PAIRS) or not isinstance(source, Iterable):
        raise InputError(
            "expected a video file, the number of a camera, an address, a GStreamer pipeline or "
            f"pairs of a frame and its time, not {type(source).__name__}. analyze takes one picture"
        )
    return FrameSource(SourceInfo("frames", live=False), _from_pairs(source))


def source_named(text: str) -> int | str:
    """A source as a command is given it: digits are the number of a camera."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def without_secrets(text: str) -> str:
    """An address or pipeline without the user, password or key in it."""
    return _SECRET.sub(r"\1=***", _USER.sub(r"\1***@", text))


def _is_pipeline(where: str) -> bool:
    return " ! " in where and not os.path.exists(where)


def _from_pairs(pairs: Iterable[Any]) -> Generator[Frame, None, None]:
    for index, pair in enumerate(pairs):
        try:
            pixels, seconds = pair
        except (TypeError, ValueError) as problem:
            raise InputError(
                f"expected pairs of a frame and its time in seconds; item {index} is "
                f"{type(pair).__name__}. Frames alone become pairs with: "
                "((frame, number / fps) for number, frame in enumerate(frames))"
            ) from problem
        yield Frame(index, _checked_time(seconds, index), pixels)


def _checked_time(seconds: object, index: int) -> float:
    if isinstance(seconds, (int, float, np.number)) and math.isfinite(seconds):
        return float(seconds)
    raise InputError(f"expected the time of frame {index} in seconds, not {seconds!r:.40}")


def _file(path: Path) -> FrameSource:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one video file")
    if address := as_address(path):
        raise InputError(
            f"{without_secrets(address)} is an address; download the video and give its file. A "
            "stream is followed with: fer-edge camera --source ADDRESS, or by giving track the "
            "address as text"
        )
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}; check the path")
    if not path.is_file():
        raise InputError(f"{path} is a device, pipe or socket; give a camera by its number")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user; change its permissions")
    capture = cv2.VideoCapture(str(path.absolute()), _decoder())
    started = time.perf_counter()
    there, first = capture.read() if capture.isOpened() else (False, None)
    if not there or first is None:
        capture.release()
        refuse_git_lfs(path, InputError)
        raise InputError(
            f"{path} has no frame that can be decoded: it is no video, is empty or damaged, or has "
            "a codec that this OpenCV does not know. Convert it with: "
            + shlex.join(["ffmpeg", "-i", str(path), "-c:v", "libx264", f"{path.stem}-h264.mp4"])
        )
    decoded_ms = 1e3 * (time.perf_counter() - started)
    height, width = first.shape[:2]
    info = SourceInfo(
        str(path),
        live=False,
        fps=_plausible(capture.get(cv2.CAP_PROP_FPS)),
        frames=int(_plausible(capture.get(cv2.CAP_PROP_FRAME_COUNT), 1e9)),
        width=width,
        height=height,
    )
    return FrameSource(info, _from_file(capture, info, np.asarray(first, np.uint8), decoded_ms))


def _from_file(
    capture: cv2.VideoCapture, info: SourceInfo, first: Image, decoded_ms: float
) -> Generator[Frame, None, None]:
    step = 1 / (info.fps or 30.0)
    pixels: Any = first
    last, index = -math.inf, 0
    try:
        while True:
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            if not (math.isfinite(seconds) and seconds > last):  # a container without times
                seconds = max(last + step, index * step)
            yield Frame(index, seconds, np.asarray(pixels, np.uint8), decoded_ms)
            last, index = seconds, index + 1
            started = time.perf_counter()
            there, pixels = capture.read()
            decoded_ms = 1e3 * (time.perf_counter() - started)
            if not there or pixels is None:
                return
    finally:
        capture.release()


def _live(where: str | int, name: str) -> FrameSource:
    capture = _open_live(where)
    if capture is None:
        raise EngineError(_unavailable(where, name))
    info = SourceInfo(
        name,
        live=True,
        fps=_plausible(capture.get(cv2.CAP_PROP_FPS)),
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )
    stopped = threading.Event()
    return FrameSource(info, _live_frames(where, name, capture, stopped), stopped)


def _live_frames(
    where: str | int, name: str, capture: cv2.VideoCapture, stopped: threading.Event
) -> Generator[Frame, None, None]:
    """Frames of a live source, which is opened again whenever it is lost."""
    began = time.monotonic()
    index = session = 0
    try:
        while not stopped.is_set():
            started = time.perf_counter()
            there, pixels = capture.read()
            if there and pixels is not None and pixels.size:
                spent_ms = 1e3 * (time.perf_counter() - started)
                now = time.monotonic() - began
                yield Frame(index, now, np.asarray(pixels, np.uint8), spent_ms, session)
                index += 1
                continue
            _log.warning("%s was lost; opening it again", name)
            capture.release()
            found = _opened_again(where, stopped)
            if found is None:
                return
            _log.warning("%s is back", name)
            capture, session = found, session + 1
    finally:
        capture.release()


def _opened_again(where: str | int, stopped: threading.Event) -> cv2.VideoCapture | None:
    """Try to open a lost source until it is there; None where it is stopped before.

    It waits a tenth of the time since the loss between two attempts, half a second at least and ten
    at most, with some chance in it, so that many readers do not come back all at once.
    """
    lost, pause = time.monotonic(), _LEAST_PAUSE_S
    while not stopped.wait(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
        if (capture := _open_live(where)) is not None:
            return capture
        lasting = time.monotonic() - lost
        pause = min(max(_PAUSE_SHARE * lasting, _LEAST_PAUSE_S), _LONGEST_PAUSE_S)
    return None


def _open_live(where: str | int) -> cv2.VideoCapture | None:
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        _OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        _READ_TIMEOUT_MS,
    ]
    if isinstance(where, int):
        capture = cv2.VideoCapture(where)
    elif _is_pipeline(where):
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise EngineError(
                "a GStreamer pipeline needs an OpenCV that was built with GStreamer, and the one "
                f"from PyPI ({cv2.__version__}) was not. On a Jetson use JetPack's OpenCV, on "
                "Debian, Ubuntu and Raspberry Pi OS: sudo apt-get install python3-opencv, and a "
                "virtual environment with --system-site-packages"
            )
        capture = cv2.VideoCapture(where, cv2.CAP_GSTREAMER)
    else:
        capture = cv2.VideoCapture(where, _decoder(), limits)
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _decoder() -> int:
    """FFmpeg; where OpenCV was built without it, whatever it has."""
    has_ffmpeg = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
    return cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY


def _unavailable(where: str | int, name: str) -> str:
    if isinstance(where, int):
        there = sorted(Path("/dev").glob("video*"))
        known = ", ".join(map(str, there)) or "this machine has no /dev/video*"
        return f"{name} cannot be opened: there is none, or another program has it ({known})"
    if _is_pipeline(where):
        return f"the GStreamer pipeline does not start; try it with: gst-launch-1.0 {name}"
    return (
        f"{name} cannot be opened within {_OPEN_TIMEOUT_MS / 1e3:.0f} s: nothing answers there, or "
        "the user or password is wrong"
    )


def _plausible(value: float, most: float = 1000.0) -> float:
    """A number that a container tells of itself, 0 where it makes no sense."""
    return float(value) if math.isfinite(value) and 0 < value <= most else 0.0
