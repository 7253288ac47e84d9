"""Everything that a tracked video or camera is written into, in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2

from fer_edge.errors import InputError
from fer_edge.images.annotation import annotate
from fer_edge.live.report import Report, csv_rows
from fer_edge.live.timeline import Timeline
from fer_edge.live.tracking import TrackedFrame, Tracking
from fer_edge.live.video_file import VideoFile
from fer_edge.system.files import atomic_path, errors_naming


@dataclass(frozen=True)
class Outputs:
    """Where to write: an annotated MP4, a row for each face as CSV, the result as JSON, a PNG."""

    video: Path | None = None
    csv: Path | None = None
    json: Path | IO[str] | None = None
    timeline: Path | None = None


def record(
    tracking: Tracking,
    outputs: Outputs,
    *,
    seconds: float | None = None,
    on_frame: Callable[[TrackedFrame], None] | None = None,
) -> dict[str, Any]:
    """Follow a video to its end, or for ``seconds``, and write what is asked for.

    Ctrl-C ends the recording of a live source as ``seconds`` does. For a file it leaves nothing
    behind. Returns the JSON without its frames. Raises what `Tracking` raises, InputError for an
    output that would replace the video or another output or whose name says another format than is
    written, and OSError where something cannot be
    written; the video that was written until then stays and plays.
    """
    source, labels = tracking.source, tracking.labels
    info = source.info
    read = None if info.live or not info.width else Path(info.name)  # the file that is read
    began = time.monotonic()
    report = Report(labels)
    with ExitStack() as stack:
        stack.callback(report.close)
        stack.enter_context(tracking)
        _check_names(read, outputs)
        takers: list[Callable[[TrackedFrame], object]] = [report.add]
        if outputs.timeline is not None:
            title = Path(info.name).name
            takers.append(stack.enter_context(_timeline(outputs.timeline, labels, title)))
        if isinstance(outputs.json, Path):
            result = stack.enter_context(atomic_path(outputs.json))
        if outputs.csv is not None:
            takers.append(stack.enter_context(csv_rows(outputs.csv, labels)))
        if outputs.video is not None:
            video = stack.enter_context(
                VideoFile(outputs.video, fps=info.fps, sound_of=read, live=info.live)
            )
            takers.append(lambda it: video.write(annotate(it.pixels, it.faces), it.time))
        if on_frame is not None:
            takers.append(on_frame)
        try:
            for frame in tracking:
                for take in takers:
                    take(frame)
                if seconds is not None and frame.time >= seconds:
                    break
        except KeyboardInterrupt:
            if not info.live:
                raise
        head = report.head(source, time.monotonic() - began)
        if isinstance(outputs.json, Path):
            with errors_naming(outputs.json), result.open("w", encoding="utf-8") as file:
                file.writelines(report.text(head))
        elif outputs.json is not None:
            outputs.json.writelines(report.text(head))
    return head


@contextmanager
def _timeline(
    path: Path, labels: Sequence[str], title: str
) -> Iterator[Callable[[TrackedFrame], None]]:
    with atomic_path(path) as temporary:
        timeline = Timeline(labels, title)
        yield timeline.add
        _, encoded = cv2.imencode(".png", timeline.draw())
        with errors_naming(path):
            temporary.write_bytes(encoded.tobytes())


def _check_names(read: Path | None, outputs: Outputs) -> None:
    """Raise InputError for an output that replaces the video or another, or is misnamed."""
    taken = {read.resolve()} if read is not None else set()
    for path in (outputs.video, outputs.csv, outputs.json, outputs.timeline):
        if not isinstance(path, Path):
            continue
        if read is not None and path.resolve() == read.resolve():
            raise InputError(f"{path} is the video that is read; give the output another name")
        if path.resolve() in taken:
            raise InputError(f"{path} is named for two outputs; give each a name of its own")
        taken.add(path.resolve())
    for path, suffixes in ((outputs.video, (".mp4", ".m4v")), (outputs.timeline, (".png",))):
        if path is not None and path.suffix.lower() not in ("", *suffixes):
            kind = suffixes[0][1:].upper()
            raise InputError(
                f"{path} ends in {path.suffix}, and {kind} is what is written; end it in "
                f"{suffixes[0]}"
            )
