"""Numbers that stay with a face from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fer_edge.arguments import real_number
from fer_edge.errors import InputError

Floats = npt.NDArray[np.float64]
Box = Sequence[float]
Rate = Callable[[Floats, Floats, Floats], Floats]

_MIN_IOU = 0.2
_MIN_SIZE_RATIO = 0.6
_REACH, _REACH_PER_S, _MAX_REACH = 1.0, 5.0, 3.0
"""How far a face may have moved beyond expectation, in its own sizes."""

_VELOCITY_S = 0.15
"""Seconds over which a velocity is averaged."""

_COASTING_S = 1.0
"""Seconds for which an unseen face is expected to go on as it went."""


@dataclass
class _Track:
    number: int
    center: Floats
    size: Floats
    time: float
    velocity: Floats = field(default_factory=lambda: np.zeros(2))

    def expected(self, time: float) -> Floats:
        """The box at ``time``, as left, top, right, bottom."""
        center = self.center + self.velocity * min(time - self.time, _COASTING_S)
        return np.concatenate([center - self.size / 2, center + self.size / 2])

    def see(self, box: Floats, time: float) -> None:
        """Take in where the face is now."""
        center, elapsed = (box[:2] + box[2:]) / 2, time - self.time
        if elapsed > 0:
            moved = (center - self.center) / elapsed
            self.velocity = self.velocity - math.expm1(-elapsed / _VELOCITY_S) * (
                moved - self.velocity
            )
        self.center, self.size, self.time = center, box[2:] - box[:2], time


class FaceTracker:
    """Follows faces from frame to frame: constant velocity in seconds, so any frame rate will do.

    A face goes to the track whose expected box overlaps it most. Where none overlaps, it goes to a
    track whose centre is near and whose size is similar. As in ByteTrack (Zhang et al., ECCV
    2022), faces of at least ``min_score`` choose first, and weaker ones may only continue a track.
    A face of at least ``min_score`` that fits no track starts a new one. Numbers start at 1 and
    are never used again.

    A face that is unseen for up to ``max_gap`` seconds keeps its number.
    """

    def __init__(self, *, min_score: float = 0.7, max_gap: float = 1.5) -> None:
        self._min_score = real_number("min_score", min_score, "a finite number", math.isfinite)
        self._max_gap = real_number("max_gap", max_gap, "more than 0 seconds", lambda it: it > 0)
        self._tracks: list[_Track] = []
        self._next = 1
        self._time = -math.inf

    def update(
        self, boxes: Sequence[Box], scores: Sequence[float], time: float
    ) -> list[int | None]:
        """Number the faces of the frame at ``time``, in seconds of a clock that does not go back.

        ``boxes`` are (x, y, width, height). Gives a number for each, and None for a weak face
        that continues no track. Raises InputError for a time before the last one.
        """
        if not time >= self._time:
            raise InputError(
                f"expected a time of at least {self._time} s, that of the last frame, not "
                f"{time!r:.40}; call reset where a video starts anew"
            )
        self._time = time
        self._tracks = [track for track in self._tracks if time - track.time <= self._max_gap]
        corners = np.array(boxes, np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        strong = [number for number, score in enumerate(scores) if score >= self._min_score]
        weak = [number for number, score in enumerate(scores) if score < self._min_score]
        matched: dict[int, _Track] = {}
        self._match(corners, strong, matched, time, _by_overlap)
        self._match(corners, weak, matched, time, _by_overlap)
        self._match(corners, strong, matched, time, _by_distance)
        for number in strong:
            if number not in matched:
                box = corners[number]
                matched[number] = _Track(
                    self._next, (box[:2] + box[2:]) / 2, box[2:] - box[:2], time
                )
                self._tracks.append(matched[number])
                self._next += 1
        for number, track in matched.items():
            track.see(corners[number], time)
        return [matched[n].number if n in matched else None for n in range(len(corners))]

    def numbers(self) -> set[int]:
        """The numbers of the faces that are followed, some of them unseen for a moment."""
        return {track.number for track in self._tracks}

    def expected(self, time: float) -> dict[int, tuple[float, float, float, float]]:
        """Where each face that was seen in the last frame is expected at ``time``."""
        boxes = {
            track.number: track.expected(time) for track in self._tracks if track.time == self._time
        }
        return {
            number: (float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1]))
            for number, b in boxes.items()
        }

    def reset(self) -> None:
        """Forget all faces, as where a camera comes back; their numbers are not used again."""
        self._tracks, self._time = [], -math.inf

    def _match(
        self,
        corners: Floats,
        candidates: Sequence[int],
        matched: dict[int, _Track],
        time: float,
        rate: Rate,
    ) -> None:
        """Join faces and tracks that are left, the best fitting first."""
        taken = {id(track) for track in matched.values()}
        tracks = [track for track in self._tracks if id(track) not in taken]
        faces = [number for number in candidates if number not in matched]
        if not tracks or not faces:
            return
        expected = np.array([track.expected(time) for track in tracks])
        elapsed = np.array([time - track.time for track in tracks])
        fit = rate(expected, corners[faces], elapsed)
        while fit.max() > 0:
            row, column = divmod(int(fit.argmax()), len(faces))
            matched[faces[column]] = tracks[row]
            fit[row, :], fit[:, column] = 0, 0


def _by_overlap(expected: Floats, seen: Floats, elapsed: Floats) -> Floats:
    """Intersection over union, 0 where it is too little; ``(tracks, faces)``."""
    del elapsed
    low = np.maximum(expected[:, None, :2], seen[None, :, :2])
    high = np.minimum(expected[:, None, 2:], seen[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (expected, seen)]
    iou = shared / (areas[0][:, None] + areas[1][None] - shared)
    return np.where(iou >= _MIN_IOU, iou, 0)


def _by_distance(expected: Floats, seen: Floats, elapsed: Floats) -> Floats:
    """How near the centres are, 0 where they or the sizes are too different."""
    centers = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (expected, seen)]
    sizes = [np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) for boxes in (expected, seen)]
    larger = np.maximum(sizes[0][:, None], sizes[1][None])
    ratio = np.minimum(sizes[0][:, None], sizes[1][None]) / larger
    distance = np.linalg.norm(centers[0][:, None] - centers[1][None], axis=2) / larger
    reach = np.minimum(_REACH + _REACH_PER_S * elapsed, _MAX_REACH)[:, None]
    return np.where((distance < reach) & (ratio >= _MIN_SIZE_RATIO), 1 - distance / reach, 0)
