"""What a whole frame costs (decode, detect, track, classify, draw, encode), and how live is live.

Videos are made here from the portraits that scikit-image and matplotlib carry.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import skimage.data

from fer_bench.tables import markdown_table
from fer_edge import FaceAnalyzer, FaceDetector, read_image
from fer_edge.command import Commands, add_command, write_result
from fer_edge.live.ahead import Ahead
from fer_edge.live.recording import Outputs, record
from fer_edge.live.sources import Frame, FrameSource, SourceInfo, open_source
from fer_edge.live.tracker import FaceTracker
from pages.blocks import MeasuredBlock, add_write_option
from pages.figures import Figure, machine, report, table

SCHEMA = "fer-pages-live/1"

_SYSTEM_PYTHON = "/usr/bin/python3"
_SERVER = Path(__file__).parents[2] / "tests" / "support" / "rtsp_server.py"
_SIZE, _FPS, _SECONDS = (1280, 720), 30, 10
_LONG_S, _AWAY_S = 60.0, (7, 12)

Image = npt.NDArray[np.uint8]


def measure(folder: Path, *, slow_s: float = _LONG_S, losses: int = 10) -> list[Figure]:
    """Measure everything; ``folder`` takes the videos, ``slow_s`` is how long one reads slowly."""
    video = one_face(folder / "one.mp4")
    figures = [*_detection(), *picture(folder), *_whole_frames(video, folder), _tracker()]
    figures += [_age(slow_s), *_reconnects(losses)]
    return figures


def one_face(path: Path) -> Path:
    """Ten seconds of 720p with one face that moves, and with sound."""
    head = _heads()[0]
    times = (number / _FPS for number in range(_SECONDS * _FPS))
    ways = [lambda t: (500 + 300 * np.sin(t), 200 + 80 * np.cos(1.7 * t))]
    return _write(path, (_scene([head], ways, t, _SIZE) for t in times), _SIZE)


def two_people(path: Path) -> Path:
    """Twenty seconds of two faces, of which one is away for a while: for the timeline."""
    times = (number / _FPS for number in range(2 * _SECONDS * _FPS))
    size = (960, 540)
    ways: list[Callable[[float], tuple[float, float] | None]] = [
        lambda t: (80 + 8 * t, 120 + 20 * np.sin(t)),
        lambda t: None if _AWAY_S[0] < t < _AWAY_S[1] else (640 - 3 * t, 160),
    ]
    return _write(path, (_scene(_heads(), ways, t, size) for t in times), size)


def _heads() -> list[Image]:
    astronaut = read_image(Path(skimage.data.__file__).with_name("astronaut.png"))
    hopper = read_image(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    crops = (astronaut[20:236, 112:328], hopper[50:450, 70:470])
    return [np.asarray(cv2.resize(crop, (300, 300)), np.uint8) for crop in crops]


def _scene(
    heads: Iterable[Image],
    ways: Iterable[Callable[[float], tuple[float, float] | None]],
    seconds: float,
    size: tuple[int, int],
) -> Image:
    frame = np.full((size[1], size[0], 3), (120, 110, 100), np.uint8)
    for head, way in zip(heads, ways, strict=False):
        place = way(seconds)
        if place is not None:
            shift = np.array([[1, 0, place[0]], [0, 1, place[1]]], np.float32)
            cv2.warpAffine(head, shift, size, dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame


def _write(path: Path, frames: Iterable[Image], size: tuple[int, int]) -> Path:
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{size[0]}x{size[1]}", "-r", str(_FPS), "-i", "pipe:0"]
    command += ["-f", "lavfi", "-i", "sine=440", "-shortest", "-c:v", "libx264", "-c:a", "aac"]
    command += ["-pix_fmt", "yuv420p", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - a list, no shell
    assert process.stdin is not None  # noqa: S101 - it was asked for a pipe
    for frame in frames:
        process.stdin.write(frame.data)
    process.communicate()
    return path


def _detection() -> list[Figure]:
    figures = []
    for size, goal in (((320, 256), 2.5), ((640, 360), None), ((640, 480), None)):
        detector, frame = FaceDetector(), np.asarray(cv2.resize(_heads()[0], size), np.uint8)
        cpu_ms = _median_ms(partial(detector.detect, frame), time.process_time)
        name = f"detection at {size[0]} x {size[1]}, CPU time"
        figures.append(Figure(name, cpu_ms, "ms", goal))
    return figures


def picture(folder: Path) -> list[Figure]:
    """One picture from the file to the emotion, stage by stage and as one call."""
    path = folder / "face.jpg"
    cv2.imwrite(str(path), cv2.resize(_heads()[0], (640, 480)))
    with FaceAnalyzer() as faces:
        frame = read_image(path)
        found = faces.detector.detect(frame)
        stages: dict[str, Callable[[], object]] = {
            "decode": partial(read_image, path),
            "detect": partial(faces.detector.detect, frame),
            "classify": partial(faces.classify, frame, found),
            "all in one call": partial(faces.analyze, path),
        }
        name = "JPEG of 640 x 480 with one face"
        return [
            Figure(f"{name}: {stage}", _median_ms(call, time.perf_counter), "ms")
            for stage, call in stages.items()
        ]


def readme_lines(figures: Iterable[Figure]) -> str:
    """The README's table of what a whole picture takes."""
    cells = [figure for figure in figures if figure.name.startswith("JPEG of")]
    header = ["from the file to the emotion", *(it.name.rpartition(": ")[2] for it in cells)]
    row = [cells[0].name.rpartition(": ")[0], *(f"{it.value:.2g} ms" for it in cells)]
    return f"{markdown_table(header, [row])}\n\n{machine()}, packaged model and detector."


def _whole_frames(video: Path, folder: Path) -> list[Figure]:
    figures = []
    outputs = {
        "without output": (Outputs(), 5.0),
        "with --out": (Outputs(video=folder / "out.mp4"), 2.0),
    }
    with FaceAnalyzer() as faces:
        for name, (output, goal) in outputs.items():
            stages: dict[str, list[float]] = {}

            def keep(frame: Any, stages: dict[str, list[float]] = stages) -> None:
                for stage, spent in frame.timings.items():
                    stages.setdefault(stage, []).append(spent)

            before, cpu = time.perf_counter(), sum(os.times()[:4])
            record(faces.track(video), output, on_frame=keep)
            wall, cpu = time.perf_counter() - before, sum(os.times()[:4]) - cpu
            what = f"720p30, one face, {name}"
            figures.append(Figure(what, _SECONDS / wall, "x real time", goal, at_least=True))
            figures.append(Figure(f"{what}: CPU time for 10 s of video", cpu, "s"))
            if output.video is None:
                for stage, spent in stages.items():
                    figures.append(Figure(f"{what}: {stage}", float(np.median(spent)), "ms"))
    return figures


def _tracker() -> Figure:
    tracker, clock = FaceTracker(), itertools.count()
    places = np.random.default_rng(0).uniform(0, 1000, (8, 2))

    def update() -> None:
        number = next(clock)
        boxes = [(x + number % 5, y, 100.0, 100.0) for x, y in places]
        tracker.update(boxes, [0.9] * 8, number / 30)

    return Figure("tracker at 8 faces", _median_ms(update, time.perf_counter), "ms", 0.15)


def _age(seconds: float) -> Figure:
    """How old a frame is when a consumer that is three times too slow begins with it."""

    def camera() -> Generator[Frame, None, None]:
        began, pixels = time.monotonic(), np.asarray(cv2.resize(_heads()[0], (640, 480)), np.uint8)
        for index in itertools.count():
            time.sleep(max(0.0, began + index / _FPS - time.monotonic()))
            yield Frame(index, time.monotonic(), pixels)

    ages, spent = [], []
    with FaceAnalyzer() as faces:
        source = FrameSource(SourceInfo("camera", live=True, fps=_FPS), camera())
        ended = time.monotonic() + seconds
        with faces.track(source) as tracking:
            for frame in tracking:
                work = sum(frame.timings[stage] for stage in ("detect", "track", "classify"))
                ages.append(1e3 * (time.monotonic() - frame.time))
                spent.append(work)
                if time.monotonic() > ended:
                    break
                time.sleep(3 / _FPS)
    name = f"age of a tracked frame under a slow consumer, worst of {seconds:.0f} s"
    return Figure(name, max(ages), "ms", 1e3 / _FPS + max(spent))


def _reconnects(losses: int) -> list[Figure]:
    """Kill an RTSP server and start it again; seconds from its return to the next frame."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = _serve(port)
    source = open_source(f"rtsp://127.0.0.1:{port}/test")
    waits: list[float] = []
    with Ahead(iter(source), size=1, latest=True) as frames:
        next(frames)
        before = _held()
        for loss in range(1, losses + 1):
            server.kill()
            server.communicate()
            server = _serve(port)
            back = time.monotonic()
            while next(frames).session < loss:
                pass
            waits.append(time.monotonic() - back)
        threads, files = (now - then for now, then in zip(_held(), before, strict=True))
        source.stop()
    server.kill()
    server.communicate()
    name = f"reconnect, worst of {losses} losses"
    return [
        Figure(name, max(waits), "s", 2.0),
        Figure(f"threads more after {losses} losses", threads, "", 0),
        Figure(f"open files more after {losses} losses", files, "", 0),
    ]


def _serve(port: int) -> subprocess.Popen[str]:
    command = [_SYSTEM_PYTHON, str(_SERVER), str(port)]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(  # noqa: S603 - a list, no shell
        command, stdout=subprocess.PIPE, text=True, env=plain
    )
    assert server.stdout is not None  # noqa: S101 - it was asked for a pipe
    server.stdout.readline()
    return server


def _held() -> tuple[int, int]:
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def _median_ms(call: Callable[[], object], clock: Callable[[], float]) -> float:
    spent = []
    for _ in range(200):
        before = clock()
        call()
        spent.append(1e3 * (clock() - before))
    return float(np.median(spent[20:]))


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "live", "measure whole frames, cameras and streams", _live)
    add_write_option(parser)
    parser.add_argument("--readme", metavar="PAGE", type=Path, help="write its block as well")
    parser.add_argument("--timeline", metavar="PNG", type=Path, help="draw the page's timeline")
    parser.add_argument("--slow-seconds", type=float, default=_LONG_S, metavar="S")
    parser.add_argument("--losses", type=int, default=10, metavar="N", help="of a stream")


def _live(options: Namespace) -> int:
    page, readme = MeasuredBlock(options.write, "live"), MeasuredBlock(options.readme, "frames")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.timeline:
            with FaceAnalyzer() as faces:
                tracking = faces.track(two_people(folder / "talk.mp4"))
                record(tracking, Outputs(timeline=options.timeline))
        figures = measure(folder, slow_s=options.slow_seconds, losses=options.losses)
    text = table(figures)
    print(text)
    page.write(f"{machine()}, with the packaged model and detector.\n\n{text}")
    readme.write(readme_lines(figures))
    write_result(options, report(SCHEMA, figures))
    return 0
