"""Predictor: the one call that an application makes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.artifact import DEFAULT_MODEL, find_artifact
from fer_edge.backends import (
    BACKENDS,
    Backend,
    BackendOptions,
    backend_class,
    choose_backend,
)
from fer_edge.emotion import LABELS
from fer_edge.errors import ClosedError, ConfigurationError, EngineError, InputError
from fer_edge.images.reading import read_image
from fer_edge.prediction import Prediction
from fer_edge.preprocess import COLORS, check_crop, preprocess
from fer_edge.spec import ModelSpec

__all__ = ["MAX_THREADS", "Crop", "Predictor", "PredictorInfo"]

_DEFECT = "this is a defect of the engine or of the artifact"

MAX_THREADS = 1024
"""More would be a slip: engines start every thread that they are told to."""

Crop: TypeAlias = "npt.NDArray[np.uint8] | str | os.PathLike[str]"
"""A face, cut out: pixels, or the path of a picture."""


@dataclass(frozen=True)
class PredictorInfo:
    """What really runs. ``sha256`` is of the artifact; both are None for a caller's own backend."""

    artifact: Path | None
    sha256: str | None
    backend: str
    version: str
    device: str
    provider: str
    precision: str
    inference_precision: str
    threads: int | None
    spec: ModelSpec


class Predictor:
    """Tells the apparent emotion of face crops, with the same answer on every engine.

    Parameters
    ----------
    model
        ``"default"`` for the packaged model, a model directory, or an artifact.
    backend
        ``"auto"``, a name from ``fer_edge.backends.BACKENDS``, or an opened ``Backend``, which has
        its model, device and threads already and is closed with the Predictor.
    device
        ``"auto"``, or what the backend knows, such as ``"cpu"`` and ``"cuda"``.
    precision
        ``"fp32"``, ``"fp16"`` or ``"int8"``; by default the one that the model's manifest names.
    threads
        Threads of the engine, 1 to 1024; by default the backend decides, and ``info`` tells.
    inference_precision
        ``"bf16"`` or ``"fp16"`` to compute in less than the artifact's own precision, where the
        engine can; by default what the artifact says.
    goal
        ``"latency"``, or ``"throughput"`` for many calls side by side.
    spinning
        Whether idle threads of the engine keep their cores: faster by microseconds, and at the
        cost of whatever else the device does.
    trust
        Open a TensorRT plan that no export on this machine recorded. A plan is native code.
    spec
        For an artifact that carries none.
    color
        Order of the channels in colour arrays: ``"bgr"``, as OpenCV has it, or ``"rgb"``. Files
        are not concerned.

    Raises ArtifactError, ConfigurationError, MissingDependencyError or EngineError when what was
    asked for cannot be had; nothing else is tried in its place.

    Many threads may share a Predictor.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str | Backend = "auto",
        device: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        inference_precision: str | None = None,
        goal: str = "latency",
        spinning: bool = False,
        trust: bool = False,
        spec: ModelSpec | None = None,
        color: str = "bgr",
    ) -> None:
        if color not in COLORS:
            raise ConfigurationError(f"unknown color {color!r}; there are {', '.join(COLORS)}")
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MAX_THREADS):
            raise ConfigurationError(
                f"threads should be a whole number from 1 to {MAX_THREADS}, not {threads!r}"
            )
        path: Path | None = None
        digest: str | None = None
        options = BackendOptions(device, threads, inference_precision, goal, spinning, trust)
        if isinstance(backend, Backend):
            if (model, options, spec) != (DEFAULT_MODEL, BackendOptions(), None):
                raise ConfigurationError(
                    "an opened backend has its model and options already; give none of them"
                )
            opened = backend
        else:
            name = choose_backend(backend)
            artifact = find_artifact(
                model,
                backend=name,
                formats=BACKENDS[name].formats,
                precision=precision,
                spec=spec,
            )
            opened = backend_class(name)(artifact, options)
            path, digest = artifact.path, artifact.sha256
        if precision is not None and opened.spec.precision != precision:
            if opened is not backend:
                opened.close()
            raise ConfigurationError(
                f"the artifact is {opened.spec.precision}, and {precision} was asked for"
            )
        self._backend: Backend | None = opened
        self._color = color
        self._input = opened.spec.input
        self._shape = self._input.shape
        self.info = PredictorInfo(
            artifact=path,
            sha256=digest,
            backend=opened.engine.name,
            version=opened.engine.version,
            device=device,
            provider=opened.engine.provider,
            precision=opened.spec.precision,
            inference_precision=opened.engine.inference_precision,
            threads=opened.engine.threads,
            spec=opened.spec,
        )

    def predict(self, crop: Crop) -> Prediction:
        """Classify one face crop.

        ``crop`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` colour, at least 8 x 8, or the path of a
        JPEG, PNG, WebP or BMP file, whose EXIF rotation is honoured. Raises InputError for
        anything else and ClosedError after ``close``.
        """
        backend = self._opened()
        batch = np.empty((1, *self._shape), np.uint8)
        self._fill(batch[0], crop, None)
        return self._predictions(backend, batch)[0]

    def predict_batch(self, crops: Iterable[Crop]) -> list[Prediction]:
        """Classify many crops in one call of the engine; ``[]`` gives ``[]``.

        Raises InputError as ``predict`` does, with the ``index`` of the crop at fault.
        """
        if isinstance(crops, (str, os.PathLike)):
            raise InputError("expected an iterable of crops, not a single path; use predict")
        backend = self._opened()
        items = list(crops)
        batch = np.empty((len(items), *self._shape), np.uint8)
        for index, crop in enumerate(items):
            self._fill(batch[index], crop, index)
        return self._predictions(backend, batch) if items else []

    def predict_tensor(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run crops that already have the artifact's form.

        ``batch`` is uint8 ``(N, H, W, C)`` as ``info.spec.input.shape`` says. Gives logits and
        probabilities, float32 ``(N, 7)``. Raises InputError for another dtype or shape,
        EngineError where the engine fails or its answer is unusable, and ClosedError after
        ``close``.
        """
        backend = self._opened()
        _check_tensor(batch, self._shape)
        return self._infer(backend, np.ascontiguousarray(batch))

    def close(self) -> None:
        """Give back what the engine holds; may be repeated.

        A call that is under way finishes or raises ClosedError.
        """
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self.info
        state = "closed" if self._backend is None else info.provider
        return f"<Predictor {info.spec.network.architecture} {info.precision} on {state}>"

    def _opened(self) -> Backend:
        backend = self._backend
        if backend is None:
            raise ClosedError("this Predictor is closed; make a new one")
        return backend

    def _fill(self, row: npt.NDArray[np.uint8], crop: Crop, index: int | None) -> None:
        if isinstance(crop, (str, os.PathLike)):
            try:
                pixels, color = check_crop(read_image(crop)), "bgr"
            except InputError as problem:
                raise InputError(f"{problem}", index=index) from problem
        else:
            pixels, color = check_crop(crop, index), self._color
        preprocess(pixels, self._input, row, color)

    def _predictions(self, backend: Backend, batch: npt.NDArray[np.uint8]) -> list[Prediction]:
        _, probabilities = self._infer(backend, batch)
        return [Prediction(row) for row in probabilities]

    def _infer(
        self, backend: Backend, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        logits, probabilities = backend.infer(batch)
        expected = (len(batch), len(LABELS))
        if logits.shape != expected or probabilities.shape != expected:
            raise EngineError(
                f"{self.info.backend} returned logits {logits.shape} and probabilities "
                f"{probabilities.shape} instead of {expected}; {_DEFECT}"
            )
        if not np.isfinite(probabilities).all():
            raise EngineError(
                f"{self.info.backend} returned probabilities that are not finite; {_DEFECT}"
            )
        return logits, probabilities


def _check_tensor(batch: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    is_array = isinstance(batch, np.ndarray)
    if is_array and batch.dtype == np.uint8 and batch.shape[1:] == shape and len(batch):
        return
    came = f"{batch.dtype} {batch.shape}" if is_array else type(batch).__name__
    raise InputError(
        f"expected uint8 of shape (N, {', '.join(map(str, shape))}) with N > 0, not {came}"
    )
