"""What fer-edge video and fer-edge camera do."""

from __future__ import annotations

import logging
import os
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2

from fer_edge.analyzer import FaceAnalyzer
from fer_edge.cli.pictures import search_hint
from fer_edge.command import open_predictor, result_target, say
from fer_edge.faces.detection import FaceDetector
from fer_edge.live.recording import Outputs, record
from fer_edge.live.sources import Source, source_named
from fer_edge.live.tracking import TrackedFrame, Tracking
from fer_edge.live.video_file import NO_FFMPEG
from fer_edge.system.progress import progress

_SHORTEST_TRACK_S = 0.5


def follow_video(options: Namespace) -> int:
    """Follow the faces of a file; returns the exit code."""
    with _tracking(options, options.video) as (tracking, detector):
        info = tracking.source.info
        with progress(info.frames, "following faces") as bar:
            head = record(tracking, _outputs(options), on_frame=lambda _: bar.advance())
    _print_summary(head, detector)
    if not head["source"]["complete"]:
        say(
            f"fer-edge video: {info.name} ended after {head['source']['frames']} of "
            f"{info.frames} frames: it is cut off or damaged; what was there is in the result"
        )
    return 0


def follow_camera(options: Namespace) -> int:
    """Follow the faces in front of a camera until it is time, or Ctrl-C; returns the exit code."""
    with _tracking(options, source_named(options.source)) as (tracking, detector):
        print(f"{tracking.source.info.name}: reading; Ctrl-C stops", flush=True)
        head = record(
            tracking, _outputs(options), seconds=options.seconds, on_frame=_changes_told()
        )
    _print_summary(head, detector)
    return 0


@contextmanager
def _tracking(options: Namespace, source: Source) -> Iterator[tuple[Tracking, FaceDetector]]:
    # our own messages say what OpenCV and FFmpeg would print about a damaged file or a lost stream
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # where it is depends on OpenCV's release
    set_level: Any = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)
    logging.basicConfig(format="fer-edge: %(message)s", level=logging.WARNING)
    if options.out is not None and shutil.which("ffmpeg") is None:
        say(f"fer-edge: {NO_FFMPEG}")
    detector = FaceDetector(options.detector, max_side=options.max_side)
    with (
        open_predictor(options.model, options) as predictor,
        FaceAnalyzer(predictor, detector).track(source, every=options.every) as tracking,
    ):
        yield tracking, detector


def _outputs(options: Namespace) -> Outputs:
    return Outputs(options.out, options.csv, result_target(options), options.timeline)


def _changes_told() -> Callable[[TrackedFrame], None]:
    """Print a line whenever somebody comes or shows something else."""
    shown: dict[int, str] = {}

    def tell(frame: TrackedFrame) -> None:
        here = {face.track_id: face for face in frame.faces}
        for number, face in here.items():
            if shown.get(number) != face.smoothed.label:
                shown[number] = face.smoothed.label
                print(f"{frame.time:8.2f} s  person {number}: {face.smoothed}", flush=True)
        for number in shown.keys() - here.keys():
            del shown[number]

    return tell


def _print_summary(head: dict[str, Any], detector: FaceDetector) -> None:
    source, tracks = head["source"], head["tracks"]
    rate = source["frames"] / head["wall_s"] if head["wall_s"] else 0.0
    print(
        f"{source['path']}: {source['frames']} frames, {source['duration_s']:.1f} s, "
        f"{source['width']} x {source['height']}; {rate:.0f} frames/s"
    )
    if not tracks:
        size = source["width"], source["height"]
        print(f"no face found{search_hint(detector, *size) if all(size) else ''}")
    brief = [track for track in tracks if track["end_s"] - track["start_s"] < _SHORTEST_TRACK_S]
    for track in tracks:
        if track in brief and len(brief) < len(tracks):
            continue
        shares = sorted(track["share"].items(), key=lambda it: -it[1])
        emotions = ", ".join(f"{name} {share:.0%}" for name, share in shares if share > 0)
        start, end = track["start_s"], track["end_s"]
        print(f"  person {track['id']}: {start:.1f} to {end:.1f} s, {emotions}")
    if 0 < len(brief) < len(tracks):
        print(f"  and {len(brief)} seen for less than {_SHORTEST_TRACK_S} s")
