"""A picture of who was there, when, with which emotion, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.faces.detection import cut_face
from fer_edge.images.annotation import label_color
from fer_edge.live.tracking import TrackedFace, TrackedFrame

Image = npt.NDArray[np.uint8]

# lengths in pixels of the picture, which is drawn on paper of its own: dark and light pages alike
_WIDTH, _MARGIN, _HEADER, _ROW, _FOOTER = 1600, 32, 92, 128, 56
_THUMBNAIL, _STRIP_LEFT, _STRIP_TOP, _STRIP_HEIGHT = 96, 160, 36, 76
_STRIP_WIDTH = _WIDTH - _STRIP_LEFT - _MARGIN
_PAPER, _INK, _FAINT, _ABSENT = (252, 252, 252), (40, 40, 40), (120, 120, 120), (234, 234, 234)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_MOST_ROWS = 30
_TICKS = 8
_NAMED_FROM = 64
"""Pixels that a stretch of one emotion has to be long to be labelled in the strip."""

_TENTHS_UNTIL_S = 10.0
_MOST_COLUMNS = 4096
_LEAST_GAP_S, _MISSED_FRAMES = 0.2, 3
"""An absence that is drawn is longer than both: a moment, and a few frames."""


@dataclass
class _Person:
    """What is remembered of one track, in few enough samples to draw."""

    number: int
    times: list[float] = field(default_factory=list)
    shares: list[npt.NDArray[np.float32]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    thumbnail: Image | None = None
    best: float = -math.inf
    last: float = -math.inf
    every: float = 0.0

    def add(self, face: TrackedFace, frame: TrackedFrame) -> None:
        rank = face.score * min(face.box[2:])
        if rank > 1.1 * self.best:
            self.best = rank
            crop = cut_face(frame.pixels, face.box, margin=0.15)
            side = (_THUMBNAIL, _THUMBNAIL)
            small = cv2.resize(crop, side, interpolation=cv2.INTER_AREA)
            is_gray = small.ndim == 2  # noqa: PLR2004
            self.thumbnail = np.asarray(
                cv2.cvtColor(small, cv2.COLOR_GRAY2BGR) if is_gray else small, np.uint8
            )
        if frame.time - self.last < self.every:
            return
        self.last = frame.time
        self.times.append(frame.time)
        self.shares.append(face.smoothed.probabilities)
        self.held.append(face.smoothed.held)
        if len(self.times) > _MOST_COLUMNS:
            self.every = 2 * (self.times[-1] - self.times[0]) / len(self.times)
            del self.times[1::2], self.shares[1::2], self.held[1::2]


class Timeline:
    """Takes in frames and draws the picture; hours of video take a few megabytes."""

    def __init__(self, labels: Sequence[str], title: str) -> None:
        self._labels, self._title = tuple(labels), title
        self._people: dict[int, _Person] = {}
        self._first, self._last = math.inf, 0.0

    def add(self, frame: TrackedFrame) -> None:
        """Take in the next frame."""
        self._first, self._last = min(self._first, frame.time), frame.time
        for face in frame.faces:
            self._people.setdefault(face.track_id, _Person(face.track_id)).add(face, frame)

    def draw(self) -> Image:
        """The picture, uint8 ``(H, W, 3)`` BGR: a row for each person, the longest stays first
        where there is no room for all.
        """
        longest = sorted(self._people.values(), key=lambda it: it.times[0] - it.times[-1])
        people = sorted(longest[:_MOST_ROWS], key=lambda it: it.number)
        height = _HEADER + _ROW * max(1, len(people)) + _FOOTER
        canvas = np.full((height, _WIDTH, 3), _PAPER, np.uint8)
        self._draw_header(canvas, len(self._people) - len(people))
        for row, person in enumerate(people):
            self._draw_person(canvas, person, _HEADER + row * _ROW)
        if not people:
            _write(canvas, "no face was found", (_STRIP_LEFT, _HEADER + 60), 0.8, _FAINT)
        self._draw_axis(canvas, _HEADER + _ROW * max(1, len(people)))
        return canvas

    def _draw_header(self, canvas: Image, left_out: int) -> None:
        more = f" ({left_out} shorter stays are not shown)" if left_out else ""
        _write(canvas, f"{self._title}{more}", (_MARGIN, 40), 0.8, _INK)
        x = _STRIP_LEFT
        for label in self._labels:
            color = label_color(label, self._labels)[::-1]
            cv2.rectangle(canvas, (x, 62), (x + 22, 80), color, -1)
            x += 30 + _write(canvas, label, (x + 30, 77), 0.55, _INK) + 26

    def _draw_person(self, canvas: Image, person: _Person, top: int) -> None:
        if person.thumbnail is not None:
            y = top + (_ROW - _THUMBNAIL) // 2
            canvas[y : y + _THUMBNAIL, _MARGIN : _MARGIN + _THUMBNAIL] = person.thumbnail
        counts = np.bincount(person.held, minlength=len(self._labels)) / len(person.held)
        most = sorted(zip(self._labels, counts, strict=True), key=lambda it: -it[1])[:3]
        shares = ", ".join(f"{label} {share:.0%}" for label, share in most if share > 0)
        digits = 0 if self._duration() >= _TENTHS_UNTIL_S else 1
        start, end = (_clock(round(at, digits)) for at in (person.times[0], person.times[-1]))
        stay = f"{start} to {end}"
        _write(
            canvas,
            f"person {person.number}   {stay}   {shares}",
            (_STRIP_LEFT, top + 26),
            0.6,
            _INK,
        )
        strip = canvas[top + _STRIP_TOP : top + _STRIP_TOP + _STRIP_HEIGHT, _STRIP_LEFT:-_MARGIN]
        strip[:] = _ABSENT
        held = self._columns(person)
        for x in np.flatnonzero(held >= 0):
            sample = self._sample[x]
            label = self._labels[held[x]]
            tall = round(_STRIP_HEIGHT * float(person.shares[sample][held[x]]))
            strip[_STRIP_HEIGHT - tall :, x] = label_color(label, self._labels)[::-1]
        self._name_stretches(strip, held)

    def _columns(self, person: _Person) -> npt.NDArray[np.int64]:
        """The emotion that is held in each column of the strip, -1 where the person is away."""
        times = np.array(person.times)
        columns = self._first + (np.arange(_STRIP_WIDTH) + 0.5) / _STRIP_WIDTH * self._duration()
        self._sample = np.clip(np.searchsorted(times, columns, "right") - 1, 0, len(times) - 1)
        column = self._duration() / _STRIP_WIDTH
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        away = max(_LEAST_GAP_S, _MISSED_FRAMES * usual) + column
        seen = (columns >= times[0] - column) & (columns <= times[self._sample] + away)
        return np.where(seen, np.array(person.held)[self._sample], -1)

    def _name_stretches(self, strip: Image, held: npt.NDArray[np.int64]) -> None:
        """Write the emotion into each stretch that has the room."""
        edges = np.flatnonzero(np.diff(held, prepend=-2, append=-2))
        for start, end in pairwise(edges):
            if held[start] >= 0:
                label = self._labels[held[start]]
                (width, _), _ = cv2.getTextSize(label, _FONT, 0.5, 1)
                if end - start >= max(_NAMED_FROM, width + 10):
                    color = label_color(label, self._labels)
                    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
                    ink = _INK if bright > 110 else (255, 255, 255)  # noqa: PLR2004
                    _write(strip, label, (int(start) + 5, _STRIP_HEIGHT - 8), 0.5, ink)

    def _draw_axis(self, canvas: Image, top: int) -> None:
        step = _round_step(self._duration() / _TICKS)
        tick = math.ceil(self._first / step) * step if self._people else 0.0
        while tick <= self._last:
            x = _STRIP_LEFT + round((tick - self._first) / self._duration() * _STRIP_WIDTH)
            cv2.line(canvas, (x, top), (x, top + 8), _FAINT, 1)
            (width, _), _ = cv2.getTextSize(_clock(tick), _FONT, 0.5, 1)
            _write(canvas, _clock(tick), (x - width // 2, top + 28), 0.5, _FAINT)
            tick += step
        note = "the height of a bar is the probability of the emotion that is held"
        _write(canvas, note, (_STRIP_LEFT, top + 48), 0.45, _FAINT)

    def _duration(self) -> float:
        return max(self._last - self._first, 1e-3)


def _round_step(least: float) -> float:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
    return next((step for step in steps if step >= least), 3600 * math.ceil(least / 3600))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(float(seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    if not rest.is_integer() and not hours:
        return f"{minutes}:{rest:04.1f}"
    return f"{hours}:{minutes:02}:{rest:02.0f}" if hours else f"{minutes}:{rest:02.0f}"


def _write(
    canvas: Image, text: str, place: tuple[int, int], size: float, color: tuple[int, int, int]
) -> int:
    """Write and give the width in pixels."""
    cv2.putText(canvas, text, place, _FONT, size, color, 1, cv2.LINE_AA)
    return int(cv2.getTextSize(text, _FONT, size, 1)[0][0])
