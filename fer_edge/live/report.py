"""What a tracked video held, as JSON and CSV, written as the frames come."""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fer_edge.live.sources import FrameSource
from fer_edge.live.tracking import TrackedFace, TrackedFrame
from fer_edge.system.files import atomic_path, errors_naming

SCHEMA = "fer-edge-video/1"

_TIME_DIGITS = 4


@dataclass
class Track:
    """One person's stay: from when to when, in how many frames, and with which emotions."""

    number: int
    start: float
    end: float
    frames: int = 0
    emotions: Counter[str] = field(default_factory=Counter)

    def shares(self, labels: Sequence[str]) -> dict[str, float]:
        """The part of its frames in which each emotion was held; they sum up to 1."""
        return {label: self.emotions[label] / self.frames for label in labels}


class Report:
    """Sums a video up. Its frames wait in a temporary file, so that hours take no memory."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.tracks: dict[int, Track] = {}
        self.labels = tuple(labels)
        self._size: tuple[int, ...] = ()
        self._read, self._end = 0, 0.0
        self._frames: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115

    def add(self, frame: TrackedFrame) -> None:
        """Take in the next frame."""
        self._size = self._size or frame.pixels.shape[1::-1]
        self._read, self._end = frame.index + 1, frame.time
        for face in frame.faces:
            track = self.tracks.setdefault(
                face.track_id, Track(face.track_id, frame.time, frame.time)
            )
            track.end, track.frames = frame.time, track.frames + 1
            track.emotions[face.smoothed.label] += 1
        values = {
            "index": frame.index,
            "time_s": round(frame.time, _TIME_DIGITS),
            "faces": [face_values(face) for face in frame.faces],
        }
        with errors_naming(Path(tempfile.gettempdir())):
            self._frames.write(json.dumps(values, allow_nan=False) + "\n")

    def head(self, source: FrameSource, wall_s: float) -> dict[str, Any]:
        """All of the result but the frames."""
        info = source.info  # whose frames may be read ahead of those that were followed
        width, height = self._size or (info.width, info.height)
        step = 1 / info.fps if info.fps else 0.0
        return {
            "schema": SCHEMA,
            "source": {
                "path": info.name,
                "frames": self._read,
                "fps": info.fps,
                "duration_s": round(self._end + step, _TIME_DIGITS) if self._read else 0.0,
                "width": width,
                "height": height,
                "complete": source.complete,
            },
            "wall_s": round(wall_s, 3),
            "tracks": [
                {
                    "id": track.number,
                    "start_s": round(track.start, _TIME_DIGITS),
                    "end_s": round(track.end, _TIME_DIGITS),
                    "frames": track.frames,
                    "share": track.shares(self.labels),
                }
                for track in self.tracks.values()
            ],
        }

    def text(self, head: dict[str, Any]) -> Iterator[str]:
        """The JSON in pieces, a frame in a line."""
        yield json.dumps(head, indent=2, allow_nan=False)[:-2] + ',\n  "frames": ['
        self._frames.seek(0)
        comma = "\n"
        for line in self._frames:
            yield f"{comma}    {line.rstrip()}"
            comma = ",\n"
        yield "\n  ]\n}\n"

    def close(self) -> None:
        """Remove the temporary file."""
        self._frames.close()


@contextmanager
def csv_rows(path: Path, labels: Sequence[str]) -> Iterator[Callable[[TrackedFrame], None]]:
    """Give a function that writes a row for each face of a frame.

    The names are those of the JSON, joined by ``_``. The file is put in its place when the block
    ends without an error. Raises OSError where it cannot be written.
    """
    shares = [f"probabilities_{label}" for label in labels]
    names = ["index", "time_s", "track", "box_x", "box_y", "box_w", "box_h", "emotion"]
    names += ["confidence", *shares, "smoothed_emotion", *(f"smoothed_{name}" for name in shares)]
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, names)
        writer.writeheader()

        def add(frame: TrackedFrame) -> None:
            place = {"index": frame.index, "time_s": round(frame.time, _TIME_DIGITS)}
            with errors_naming(path):
                writer.writerows(place | _flat(face_values(face)) for face in frame.faces)

        yield add


def face_values(face: TrackedFace) -> dict[str, Any]:
    """A face as plain data for JSON."""
    now, smoothed = face.prediction.to_dict(), face.smoothed.to_dict()
    return {
        "track": face.track_id,
        "box": list(face.box),
        "emotion": now["emotion"],
        "confidence": now["confidence"],
        "probabilities": now["probabilities"],
        "smoothed": {"emotion": smoothed["emotion"], "probabilities": smoothed["probabilities"]},
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == "box":
            value = dict(zip("xywh", value, strict=True))  # noqa: PLW2901
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}_")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
