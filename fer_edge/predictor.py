"""Predictor: the one call that an application makes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from fer_edge.arguments import real_number, whole_number
from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import Backend, BackendOptions
from fer_edge.backends.open_model import PredictorInfo, open_backend
from fer_edge.errors import ClosedError, ConfigurationError, EngineError, InputError
from fer_edge.images.pixels import is_one_picture, other_kind
from fer_edge.images.preprocess import COLORS, Crop, TensorMaker, check_tensor
from fer_edge.prediction import Prediction
from fer_edge.stream import ResultIterator, Stream
from fer_edge.system.calls import under_way
from fer_edge.system.forking import ProcessBound

__all__ = ["STREAM_BATCH", "Crop", "Predictor", "PredictorInfo"]

STREAM_BATCH = 16
"""Crops of one call in ``predict_stream``. Larger batches were not faster on any CPU engine."""

MAX_STREAM_BATCH = 1024
"""The largest batch of a stream, which makes room for a few batches at its start."""

_DEFECT = "this is a defect of the engine or of the artifact"
_ON_ERROR = ("raise", "yield")
_BATCH_AXES = 3
"""The fewest axes of an array of crops; one of objects or paths needs one."""


class Predictor(ProcessBound):
    """Classifies the apparent emotion of face crops, with the same answer on every engine.

    Parameters
    ----------
    model
        The name of a packaged model, a model directory, or an artifact.
    backend
        ``"auto"``, a name from ``fer_edge.backends.BACKENDS``, or an opened ``Backend``. The latter
        has its model, device and threads already, and is closed with the Predictor.
    device
        ``"auto"``, or a device of the backend, such as ``"cpu"`` and ``"cuda"``.
    precision
        ``"fp32"``, ``"fp16"`` or ``"int8"``; the default is named by the model's manifest.
    threads
        Threads of the engine, 1 to 1024. By default the backend decides; with ``backend="auto"``
        it is what ``fer-edge doctor --tune`` measured here, if it did. ``info.threads`` says.
    color
        Order of the channels in colour arrays: ``"bgr"``, as in OpenCV, or ``"rgb"``. Files are
        always read correctly.
    min_confidence
        A prediction with less confidence, 0 to 1, is marked ``uncertain``. Probabilities are
        calibrated: of predictions with confidence 0.6, about 60 % are right.
    spec
        For an artifact that carries none.
    options
        The rarer settings of an engine: see ``BackendOptions``.

    Raises ArtifactError, ConfigurationError, MissingDependencyError or EngineError if a request
    cannot be satisfied. It never falls back to another device, provider or precision.

    Many threads may share a Predictor; processes may not. It cannot be pickled, and its use in a
    child of ``fork`` is an EngineError, because the threads of the engine stay behind in the
    parent. Make a Predictor in each process. One on OpenVINO is an EngineError there, too, if
    another thread of the parent was in a call at the moment of the fork. In a program that ends,
    calls under way finish, and a daemon thread that begins another ends without a message.
    """

    @under_way
    def __init__(
        self,
        model: str | os.PathLike[str] | Model = DEFAULT_MODEL,
        *,
        backend: str | Backend = "auto",
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        color: str = "bgr",
        min_confidence: float = 0.0,
        spec: ModelSpec | None = None,
        options: BackendOptions | None = None,
    ) -> None:
        if color not in COLORS:
            raise ConfigurationError(f"unknown color {color!r}; there are {', '.join(COLORS)}")
        least = real_number("min_confidence", min_confidence, "0 to 1", lambda it: 0 <= it <= 1)
        wanted = (options or BackendOptions()).with_arguments(device=device, threads=threads)
        opened, self.info = open_backend(model, backend, wanted, precision=precision, spec=spec)
        self._backend: Backend | None = opened
        self.color = color
        self._tensors = TensorMaker(opened.spec.input, color)
        self._labels = opened.spec.labels
        self._min_confidence = least
        self._max_batch = math.inf if self.info.max_batch is None else self.info.max_batch

    @under_way
    def predict(self, crop: Crop, *, flip: bool = False) -> Prediction:
        """Classify one face that was cut out of a picture. `FaceAnalyzer` takes whole photos.

        ``crop`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` colour, at least 8 x 8, or the path of a
        JPEG, PNG, WebP, BMP or TIFF file; EXIF rotation is applied. ``flip`` averages the
        probabilities of the crop and its mirror image, which takes twice the time. Raises
        InputError for anything else, and ClosedError after ``close``.
        """
        backend = self._opened()
        rows = self._tensors.rows(1, flip)
        self._tensors.fill(rows[0], crop)
        return self._predictions(backend, rows)[0]

    @under_way
    def predict_batch(self, crops: Iterable[Crop], *, flip: bool = False) -> list[Prediction]:
        """Classify many crops in one call of the engine; ``[]`` gives ``[]``.

        Raises InputError as ``predict`` does, with the ``index`` of the faulty crop, and for more
        crops than ``info.max_batch``.
        """
        _require_several(crops)
        backend = self._opened()
        items = list(crops)
        self._check_count(len(items))
        rows = self._tensors.rows(len(items), flip)
        for index, (row, crop) in enumerate(zip(rows, items, strict=True)):
            self._tensors.fill(row, crop, index)
        return self._predictions(backend, rows) if items else []

    @overload
    def predict_stream(
        self,
        crops: Iterable[Crop],
        *,
        batch: int | None = ...,
        flip: bool = ...,
        errors: Literal["raise"] = ...,
    ) -> ResultIterator[Prediction]: ...

    @overload
    def predict_stream(
        self,
        crops: Iterable[Crop],
        *,
        batch: int | None = ...,
        flip: bool = ...,
        errors: Literal["yield"],
    ) -> ResultIterator[Prediction | InputError]: ...

    def predict_stream(
        self,
        crops: Iterable[Crop],
        *,
        batch: int | None = None,
        flip: bool = False,
        errors: str = "raise",
    ) -> ResultIterator[Prediction | InputError]:
        """Classify crops as they come, in order, as fast as the engine can.

        One thread reads ``crops``, a bounded number ahead (see ``fer_edge.stream``). Others run
        ``info.concurrency`` calls of the engine side by side, with up to ``batch`` crops each. A
        call takes the crops that are ready, so a live source is answered crop by crop. The first
        ``next`` starts the threads. The end of the stream, an error, ``close`` or leaving a
        ``with`` block stops them.

        With ``errors="raise"``, a crop that cannot be used raises an InputError with its ``index``
        in the stream, after the predictions before it, and ends the stream. With
        ``errors="yield"``, the InputError is yielded in place of the prediction, and the stream
        goes on. Errors of ``crops`` itself and of the engine are always raised.
        """
        _require_several(crops)
        if errors not in _ON_ERROR:
            raise ConfigurationError(
                f"errors should be {' or '.join(map(repr, _ON_ERROR))}, not {errors!r}"
            )
        self._opened()
        return self._stream(iter(crops), self._stream_batch(batch, flip), flip, errors == "raise")

    @under_way
    def predict_tensor(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run crops that already have the size and channels of the artifact's input.

        ``batch`` is uint8 ``(N, H, W, C)`` as ``info.spec.input.shape`` says. Returns logits and
        probabilities, float32 ``(N, 7)``. Raises InputError for another dtype or shape or more
        crops than ``info.max_batch``, EngineError where the engine fails or its answer is
        unusable, and ClosedError after ``close``.
        """
        backend = self._opened()
        check_tensor(batch, self._tensors.shape)
        self._check_count(len(batch))
        logits, probabilities = self._infer(backend, np.ascontiguousarray(batch))
        if not np.isfinite(logits).all():
            raise EngineError(f"{self.info.backend} returned logits that are not finite; {_DEFECT}")
        return logits, probabilities

    def close(self) -> None:
        """Free what the engine holds. May be repeated.

        A call that is under way finishes or raises ClosedError.
        """
        backend, self._backend = self._backend, None
        if backend is not None and not self.inherited:
            backend.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self.info
        state = "closed" if self._backend is None else info.provider
        return f"<Predictor {info.spec.network.architecture} {info.precision} on {state}>"

    def _opened(self) -> Backend:
        backend = self._backend
        if backend is None:
            raise ClosedError("this Predictor is closed; make a new one")
        self.require_own_process()
        return backend

    def _check_count(self, count: int) -> None:
        if count > self._max_batch:
            raise InputError(
                f"expected at most {self._max_batch} crops in one call of this artifact, not "
                f"{count}; use predict_stream, or split them"
            )

    def _predictions(self, backend: Backend, rows: npt.NDArray[np.uint8]) -> list[Prediction]:
        answers = self._probabilities(backend, rows)
        return [Prediction(row, self._min_confidence, self._labels) for row in answers]

    def _probabilities(
        self, backend: Backend, rows: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        """Float32 ``(N, 7)`` of rows as a TensorMaker makes them, over the copies of each."""
        count, copies = rows.shape[:2]
        if copies == 1:
            return self._infer(backend, rows[:, 0])[1]
        if count * copies <= self._max_batch:
            _, flat = self._infer(backend, rows.reshape(-1, *self._tensors.shape))
            each = list(flat.reshape(count, copies, len(self._labels)).swapaxes(0, 1))
        else:
            views = (np.ascontiguousarray(rows[:, copy]) for copy in range(copies))
            each = [self._infer(backend, view)[1] for view in views]
        averaged: npt.NDArray[np.float32] = np.mean(each, axis=0)
        return averaged

    def _infer(
        self, backend: Backend, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if len(batch) > MAX_STREAM_BATCH:  # engines fail on batches of gigabytes
            parts = range(0, len(batch), MAX_STREAM_BATCH)
            each = [self._infer(backend, batch[at : at + MAX_STREAM_BATCH]) for at in parts]
            return np.concatenate([it[0] for it in each]), np.concatenate([it[1] for it in each])
        logits, probabilities = backend.infer(batch)
        expected = (len(batch), len(self._labels))
        if logits.shape != expected or probabilities.shape != expected:
            raise EngineError(
                f"{self.info.backend} returned logits {logits.shape} and probabilities "
                f"{probabilities.shape} instead of {expected}; {_DEFECT}"
            )
        # a sum of squares is finite if all values are, and takes half the time of checking each
        if not math.isfinite(np.vdot(probabilities, probabilities)):
            raise EngineError(
                f"{self.info.backend} returned probabilities that are not finite; {_DEFECT}"
            )
        return logits, probabilities

    def _stream_batch(self, batch: int | None, flip: bool) -> int:
        if batch is None:
            fitting = self._max_batch / 2 if flip else self._max_batch
            return int(min(STREAM_BATCH, max(1, fitting)))
        return whole_number("batch", batch, min(MAX_STREAM_BATCH, self._max_batch))

    def _stream(
        self, source: Iterator[Crop], batch: int, flip: bool, raises: bool
    ) -> ResultIterator[Prediction | InputError]:
        def prepare(crop: Crop, index: int, row: npt.NDArray[np.uint8]) -> None:
            try:
                self._tensors.fill(row, crop)
            except InputError as problem:
                named = InputError(f"crop {index} of the stream: {problem}")
                named.index = index
                raise named from problem

        @under_way
        def infer(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return self._probabilities(self._opened(), rows)

        def show(answer: npt.NDArray[np.float32] | InputError) -> Prediction | InputError:
            if not isinstance(answer, InputError):
                return Prediction(answer, self._min_confidence, self._labels)
            if raises:
                raise answer
            return answer

        rows = partial(self._tensors.rows, flip=flip)
        workers = self.info.concurrency
        return ResultIterator(
            Stream(source, rows, prepare, infer, batch=batch, workers=workers), show
        )


def _require_several(crops: object) -> None:
    if isinstance(crops, (str, os.PathLike)):
        raise InputError("expected several crops, not a single path; use predict")
    if isinstance(crops, np.ndarray) and is_one_picture(crops.shape):
        raise InputError(
            f"expected several crops, not one picture of shape {crops.shape}; use predict, or give "
            "a list"
        )
    if (
        isinstance(crops, np.ndarray)
        and crops.ndim < _BATCH_AXES
        and crops.dtype.kind not in "OU"
        and crops.shape[:1] != (0,)
    ):
        raise InputError(f"expected several crops, not {other_kind(crops)}")
    if (
        isinstance(crops, (bytes, bytearray, memoryview, dict))
        or _is_what_read_gives(crops)
        or hasattr(crops, "read")
        or not isinstance(crops, Iterable)
    ):
        told = other_kind(crops, "give a list of arrays or paths")
        raise InputError(f"expected an iterable of crops, not {told}")


def _is_what_read_gives(crops: object) -> bool:
    """Whether it is VideoCapture.read()'s pair, whose first half says whether there is a frame."""
    return isinstance(crops, tuple) and isinstance(next(iter(crops), None), (bool, np.bool_))
