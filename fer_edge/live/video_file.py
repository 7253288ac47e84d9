"""Writing an annotated video: through the system's ffmpeg, or without it by OpenCV."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.system.files import errors_naming

Image = npt.NDArray[np.uint8]

NO_FFMPEG = (
    "ffmpeg is not installed: the video is written by OpenCV as MPEG-4 without sound. For H.264 "
    "and sound: sudo apt-get install ffmpeg"
)

_FRAGMENTED = (
    *("-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    *("-frag_duration", "1000000", "-flush_packets", "1"),
)
"""A second, in microseconds, is written at a time."""

_DEFAULT_FPS = 30.0
_MOST_FPS, _MOST_LIVE_FPS = 240.0, 60.0
"""Streams and some containers tell rates that they do not have."""

_ENCODERS = {
    "libx264": ("-preset", "veryfast", "-crf", "20"),
    "libopenh264": ("-b:v", "4M"),
    "mpeg4": ("-q:v", "4"),
}


class VideoFile:
    """An MP4 that frames are written into, at a constant rate.

    Each frame is shown from its time to that of the next: a rate that varies, or frames that were
    dropped, change nothing about when something is seen. The first frame gives the size; frames of
    another size are scaled. ``sound_of`` is a file whose sound is taken over.

    The file is written in fragments, so it plays up to its last second even if the process is
    killed or the disk fills up. With ``live`` it is written at ``path`` itself. Otherwise it is
    written beside ``path``, and ``close`` moves it there with its index in front.

    Raises OSError where it cannot be written.
    """

    def __init__(
        self, path: Path, *, fps: float = 0.0, sound_of: Path | None = None, live: bool = False
    ) -> None:
        self._target = path.absolute()
        self._fps = fps if 0 < fps <= (_MOST_LIVE_FPS if live else _MOST_FPS) else _DEFAULT_FPS
        self._sound = sound_of
        self._ffmpeg = shutil.which("ffmpeg")
        self._writer: _Ffmpeg | _OpenCv | None = None
        self._size = (0, 0)
        self._began = 0.0
        self._written = 0
        self._pending: Image | None = None
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self._target.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        beside = self._target.with_name(f".{self._target.stem}.{token}.tmp.mp4")
        self._file = self._target if live else beside
        try:
            self._file.touch()
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(path)) from problem

    def write(self, frame: Image, time: float) -> None:
        """Add a frame, uint8 BGR, with its time in seconds."""
        with self._keeping_what_there_is():
            if self._writer is None:
                self._size, self._began = (frame.shape[1], frame.shape[0]), time
                self._writer = self._start()
            # the frame before is shown until now; if its turn never comes, it is left out
            due = round((time - self._began) * self._fps)
            while self._pending is not None and self._written < due:
                self._add(self._writer, self._pending)
        self._pending = frame

    def close(self) -> None:
        """Write the last frame and put the file in its place; may be repeated."""
        if self._writer is None:
            if self._file != self._target or not self._file.stat().st_size:
                self._file.unlink(missing_ok=True)
            return
        with self._keeping_what_there_is():
            if self._pending is not None:
                self._add(self._writer, self._pending)
            self._writer.close()
        self._writer = None
        if self._file != self._target:
            self._put_in_place()

    def discard(self) -> None:
        """Stop and leave nothing behind; what is live stays."""
        self._stop()
        if self._file != self._target:
            self._file.unlink(missing_ok=True)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _start(self) -> _Ffmpeg | _OpenCv:
        if self._ffmpeg is None:
            return _OpenCv(self._file, self._fps, self._size)
        return _Ffmpeg(self._ffmpeg, self._file, self._fps, self._size, self._sound)

    def _stop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop()

    def _add(self, writer: _Ffmpeg | _OpenCv, frame: Image) -> None:
        if frame.shape[1::-1] != self._size:
            frame = np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA))
        writer.write(np.ascontiguousarray(frame, np.uint8))
        self._written += 1

    @contextmanager
    def _keeping_what_there_is(self) -> Iterator[None]:
        """What was written until an error plays, and gets the name that it should have."""
        try:
            with errors_naming(self._target):
                yield
        except OSError:
            self._stop()
            self._move()
            raise

    def _move(self) -> None:
        if self._file != self._target and self._file.exists():
            self._file.replace(self._target)

    def _put_in_place(self) -> None:
        """With the index in front where ffmpeg is there and the disk has the room."""
        if self._ffmpeg is not None:
            final = self._file.with_suffix(".final.mp4")
            command = [self._ffmpeg, "-y", "-loglevel", "error", "-i", str(self._file)]
            command += ["-c", "copy", "-movflags", "+faststart", str(final)]
            done = subprocess.run(  # noqa: S603 - a list, no shell
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            if done.returncode == 0:
                self._file.unlink()
                self._file = final
            else:
                final.unlink(missing_ok=True)
        self._move()


class _Ffmpeg:
    """A pipe of raw frames into ffmpeg."""

    def __init__(
        self, program: str, path: Path, fps: float, size: tuple[int, int], sound: Path | None
    ) -> None:
        frames = f"-f rawvideo -pix_fmt bgr24 -s {size[0]}x{size[1]} -r {fps:.6f} -i pipe:0"
        command = [program, "-y", "-loglevel", "error", *frames.split()]
        if sound is not None:
            command += ["-i", str(sound.absolute())]
            command += ["-map", "0:v:0", "-map", "1:a:0?", "-c:a", "aac"]
        known = _encoders(program)
        encoder = next((encoder for encoder in _ENCODERS if encoder in known), None)
        if encoder is None:
            raise OSError(errno.ENOSYS, "this ffmpeg has no encoder for MP4")
        command += ["-c:v", encoder, *_ENCODERS[encoder], "-pix_fmt", "yuv420p"]
        # 4:2:0 needs even sides
        command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-g", str(max(1, round(fps)))]
        command += [*_FRAGMENTED, "-f", "mp4", str(path)]
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        # a session of its own: Ctrl-C is for us, who then close the pipe
        self._process = subprocess.Popen(  # noqa: S603 - a list, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )

    def write(self, frame: Image) -> None:
        """Encode one frame. Raises OSError with what ffmpeg said where it gave up."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for a pipe
        try:
            self._process.stdin.write(frame.data)
        except OSError as problem:
            raise self._failure() from problem

    def close(self) -> None:
        """Wait for the end of the file."""
        try:
            self._process.communicate()
        except OSError as problem:
            raise self._failure() from problem
        if self._process.returncode:
            raise self._failure()
        self._said.close()

    def stop(self) -> None:
        """End without caring for the rest of the file."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _failure(self) -> OSError:
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        full = os.strerror(errno.ENOSPC)
        reason = lines[-1] if lines else f"ffmpeg ended with code {self._process.returncode}"
        if any(full in line for line in lines):
            reason = full
        return OSError(errno.EIO, f"the video cannot be written: {reason}")


class _OpenCv:
    """OpenCV's own encoder: MPEG-4, no sound, playable once it is closed."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._path = path
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
        if not self._writer.isOpened():
            raise OSError(errno.EIO, "OpenCV cannot write a video there")

    def write(self, frame: Image) -> None:
        """Encode one frame."""
        self._writer.write(frame)

    def close(self) -> None:
        """Write the file's index. Raises OSError where nothing arrived on the disk."""
        self._writer.release()
        if not self._path.exists() or not self._path.stat().st_size:
            raise OSError(errno.EIO, "the video cannot be written")

    def stop(self) -> None:
        """End without caring for the rest of the file."""
        self._writer.release()


def _encoders(program: str) -> str:
    command = [program, "-hide_banner", "-encoders"]
    return subprocess.run(  # noqa: S603 - a list, no shell
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout
