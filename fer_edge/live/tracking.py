"""What ``FaceAnalyzer.track`` gives: frames whose faces have numbers and steady emotions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fer_edge.arguments import whole_number
from fer_edge.errors import ClosedError
from fer_edge.faces.detection import AnalyzedFace, Face, FaceDetector
from fer_edge.live.ahead import Ahead
from fer_edge.live.sources import Frame, FrameSource, Source, open_source
from fer_edge.live.tracker import FaceTracker
from fer_edge.prediction import Prediction
from fer_edge.smoothing import EmotionSmoother, SmoothedPrediction
from fer_edge.system.cores import usable_cores
from fer_edge.system.forking import ProcessBound

_WEAK = 0.5
"""Part of the detector's least score at which a face may still continue a track."""

_MOST_SKIPPED = 1000
_MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class TrackedFace(AnalyzedFace):
    """One face of a frame, with a number that stays with it through the video.

    ``prediction`` is of this frame alone, ``smoothed`` averages the frames before.
    """

    track_id: int
    smoothed: SmoothedPrediction


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """One frame and its faces.

    ``index`` counts the frames that were read; ``time`` is in seconds from the start of the video,
    or of reading a live source. ``pixels`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR.
    ``timings`` are the milliseconds of ``decode`` (of a live source with the wait for the frame),
    ``detect``, ``track`` and ``classify``.
    ``dropped`` is how many frames of a live source were passed over before this one.
    """

    index: int
    time: float
    pixels: npt.NDArray[np.uint8]
    faces: list[TrackedFace]
    timings: dict[str, float]
    dropped: int


@dataclass(frozen=True, slots=True)
class _Searched:
    frame: Frame
    faces: list[Face] | None
    detect_ms: float


class Tracking(ProcessBound, Iterator[TrackedFrame]):
    """An iterator over tracked frames; ``source`` tells what is read, ``labels`` the classes.

    Of a file or an iterable every frame is given; it is decoded and searched in threads, a few
    frames ahead. Of a live source a thread keeps the newest frame alone. The end, an error,
    ``close`` or leaving a ``with`` block stops the threads.
    """

    def __init__(
        self,
        source: Source,
        detector: FaceDetector,
        classify: Callable[[npt.NDArray[np.uint8], Sequence[Face]], list[Prediction]],
        labels: tuple[str, ...],
        *,
        every: int = 1,
    ) -> None:
        self._every = whole_number("every", every, _MOST_SKIPPED)
        self._classify = classify
        self.labels = labels
        self.source: FrameSource = open_source(source)
        self._live = self.source.info.live
        frames = iter(self.source)
        self._frames = Ahead(frames, size=1, latest=True) if self._live else Ahead(frames)
        search = _search if self._live else _search_side_by_side
        searched = search(self._frames, detector, self._every)
        self._searched = searched if self._live else Ahead(searched)
        self._tracker = FaceTracker(min_score=detector.min_score)
        self._smoothers: dict[int, EmotionSmoother] = {}
        self._last: list[TrackedFace] = []
        self._session = self._dropped = 0
        self._closed = False

    def __iter__(self) -> Tracking:
        return self

    def __next__(self) -> TrackedFrame:
        """Wait for the next frame.

        Raises what the source, the detector or the engine raises, ClosedError after ``close``, and
        EngineError in a child of fork.
        """
        self.require_own_process()
        if self._closed:
            raise ClosedError("this stream was closed before its end")
        try:
            return self._tracked(next(self._searched))
        except StopIteration:
            self._stop(wait=True)
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the threads and give the source back; may be repeated."""
        self._closed = True
        self._stop(wait=True)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # waiting would stop whatever thread collects garbage
        if hasattr(self, "_frames"):
            self._stop(wait=False)

    def _stop(self, *, wait: bool) -> None:
        self.source.stop()
        self._frames.close(wait=wait)
        if isinstance(self._searched, Ahead):
            self._searched.close(wait=wait)

    def _tracked(self, searched: _Searched) -> TrackedFrame:
        frame = searched.frame
        if frame.session != self._session:  # whoever is there now may be somebody else
            self._session = frame.session
            self._tracker.reset()
            self._smoothers.clear()
            self._last = []
        dropped, self._dropped = self._frames.dropped - self._dropped, self._frames.dropped
        started = time.perf_counter()
        if searched.faces is None:
            tracked, classified = started, started
            self._last = self._moved(frame)
        else:
            numbers = self._tracker.update(
                [face.box for face in searched.faces],
                [face.score for face in searched.faces],
                frame.time,
            )
            tracked = time.perf_counter()
            pairs = zip(numbers, searched.faces, strict=True)
            self._last = self._classified(
                frame, [(number, face) for number, face in pairs if number is not None]
            )
            classified = time.perf_counter()
        timings = {
            "decode": frame.decode_ms,
            "detect": searched.detect_ms,
            "track": 1e3 * (tracked - started),
            "classify": 1e3 * (classified - tracked),
        }
        return TrackedFrame(frame.index, frame.time, frame.pixels, self._last, timings, dropped)

    def _classified(self, frame: Frame, faces: list[tuple[int, Face]]) -> list[TrackedFace]:
        predictions = self._classify(frame.pixels, [face for _, face in faces])
        alive = self._tracker.numbers()
        self._smoothers = {n: s for n, s in self._smoothers.items() if n in alive}
        found = []
        for (number, face), prediction in zip(faces, predictions, strict=True):
            smoother = self._smoothers.setdefault(number, EmotionSmoother())
            smoothed = smoother.update(prediction, frame.time)
            found.append(TrackedFace(face.box, face.score, prediction, number, smoothed))
        return found

    def _moved(self, frame: Frame) -> list[TrackedFace]:
        """The last faces where they are expected now, without those that left the frame."""
        height, width = frame.pixels.shape[:2]
        expected = self._tracker.expected(frame.time)
        moved = []
        for face in self._last:
            x, y, across, down = expected.get(face.track_id, face.box)
            left, right = (min(max(round(at), 0), width) for at in (x, x + across))
            top, bottom = (min(max(round(at), 0), height) for at in (y, y + down))
            if right > left and bottom > top:
                box = (left, top, right - left, bottom - top)
                moved.append(replace(face, box=box))
        return moved


def _search(frames: Iterator[Frame], detector: FaceDetector, every: int) -> Iterator[_Searched]:
    for number, frame in enumerate(frames):
        yield _searched(frame, detector, number % every == 0)


def _search_side_by_side(
    frames: Iterator[Frame], detector: FaceDetector, every: int
) -> Iterator[_Searched]:
    """Search several frames at once, as the detector takes most of the time; in their order."""
    workers = min(usable_cores(), _MOST_WORKERS)
    under_way: deque[Future[_Searched]] = deque()
    with ThreadPoolExecutor(workers, "fer_edge") as pool:
        for number, frame in enumerate(_with_its_error(frames)):
            if isinstance(frame, Frame):
                under_way.append(pool.submit(_searched, frame, detector, number % every == 0))
            else:
                under_way.append(Future())
                under_way[-1].set_exception(frame)
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _with_its_error(frames: Iterator[Frame]) -> Iterator[Frame | Exception]:
    """The frames, and last what reading them raised: it is raised after the frames before it."""
    try:
        yield from frames
    except Exception as problem:
        yield problem


def _searched(frame: Frame, detector: FaceDetector, is_due: bool) -> _Searched:
    started = time.perf_counter()
    faces = None
    if is_due:
        faces = detector.detect(frame.pixels, min_score=_WEAK * detector.min_score)
    return _Searched(frame, faces, 1e3 * (time.perf_counter() - started))
