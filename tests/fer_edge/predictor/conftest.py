"""What tests of Predictor share: backends of their own, crops, and the tiny model's answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import InputSpec, ModelSpec, Predictor
from fer_edge.artifacts.spec import NetworkSpec
from fer_edge.backends import Backend, EngineInfo
from fer_edge.images.preprocess import preprocess
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system import threads

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Answer = Callable[[Image], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]

MakeArtifact = Callable[[Path, ModelSpec], Path]

CLASSES = 7


class Double(Backend):
    """Records what it is given; gives each crop the class that its first pixel names."""

    def __init__(
        self, spec: ModelSpec, *, concurrency: int = 1, max_batch: int | None = None
    ) -> None:
        self.spec = spec
        self.engine = EngineInfo("double", "1.2", "nowhere", "unknown", 3, concurrency, max_batch)
        self.batches: list[Image] = []
        self.closed = 0

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        assert batch.flags.c_contiguous  # which every backend counts on
        self.batches.append(batch.copy())
        chosen = np.eye(CLASSES, dtype=np.float32)[batch[:, 0, 0, 0] % CLASSES]
        return chosen * 9, chosen

    def close(self) -> None:
        self.closed += 1


class Answering(Double):
    """Gives the same answer to everything."""

    def __init__(self, spec: ModelSpec, logits: Floats, probabilities: Floats) -> None:
        super().__init__(spec)
        self.answer = logits, probabilities

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        return self.answer


class Waiting(Double):
    """Works on a batch until it is let go."""

    def __init__(self, spec: ModelSpec, *, concurrency: int = 1) -> None:
        super().__init__(spec, concurrency=concurrency)
        self.working, self.go = threading.Event(), threading.Event()
        self.at_work = self.most_at_work = 0
        self._lock = threading.Lock()

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        with self._lock:
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        self.working.set()
        assert self.go.wait(20)
        with self._lock:
            self.at_work -= 1
        return super().infer(batch)


@pytest.fixture
def make_double(tiny_spec: ModelSpec) -> Callable[..., Double]:
    """A ``Double`` with a concurrency and a largest batch."""
    return lambda **engine: Double(tiny_spec, **engine)


@pytest.fixture
def double(make_double: Callable[..., Double]) -> Double:
    return make_double()


@pytest.fixture
def answering(tiny_spec: ModelSpec) -> Callable[[Floats, Floats], Answering]:
    """A backend that gives these logits and probabilities to everything."""
    return lambda logits, probabilities: Answering(tiny_spec, logits, probabilities)


@pytest.fixture
def make_waiting(tiny_spec: ModelSpec) -> Callable[..., Waiting]:
    """A backend that waits for its event ``go``."""
    return lambda **engine: Waiting(tiny_spec, **engine)


@pytest.fixture
def fer(tiny_artifact: Path) -> Iterator[Predictor]:
    with Predictor(tiny_artifact, backend="onnxruntime", threads=1) as predictor:
        yield predictor


@pytest.fixture(scope="session")
def crops() -> list[Image]:
    """Colour and gray, shrinking, growing and of the model's size."""
    drawn = synthetic_crops(5)
    return [
        drawn[0],
        drawn[1][:, :, 0],
        drawn[2][:30, :40],
        np.ascontiguousarray(drawn[3][:48, :48]),
        drawn[4][:, :, 1:2],
    ]


@pytest.fixture(scope="session")
def tensor(crops: list[Image], tiny_spec: ModelSpec) -> Image:
    """The crops as the model takes them."""
    batch = np.empty((len(crops), *tiny_spec.input.shape), np.uint8)
    for row, crop in zip(batch, crops, strict=True):
        preprocess(crop, tiny_spec.input, row)
    return batch


@pytest.fixture(scope="session")
def expected(tensor: Image, tiny_answer: Answer) -> npt.NDArray[np.float64]:
    """The model's probabilities for the crops."""
    return tiny_answer(tensor)[1]


@pytest.fixture(scope="session")
def gray() -> Callable[[int], Image]:
    """A crop of one shade, of the model's size."""
    return lambda value: np.full((48, 48), value, np.uint8)


@pytest.fixture(scope="session")
def rgb_artifact(make_artifact: MakeArtifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that takes colour."""
    shape = InputSpec(16, 16, "rgb", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    path = tmp_path_factory.mktemp("rgb") / "rgb.onnx"
    return make_artifact(path, ModelSpec(NetworkSpec("tiny"), shape))


@pytest.fixture
def no_thread_stays_busy() -> Iterator[None]:
    def busy() -> set[threading.Thread]:
        return set(threading.enumerate()) - set(threads._waiting.idle)

    before = busy()
    yield
    deadline = time.monotonic() + 1
    while not busy() <= before and time.monotonic() < deadline:
        time.sleep(0.01)  # a task ends a moment before its thread is idle
    assert busy() <= before


@pytest.fixture
def settle() -> Callable[[list[int]], None]:
    """Wait until nothing more is read."""

    def wait(read: list[int]) -> None:
        seen = -1
        while seen != len(read):
            seen = len(read)
            time.sleep(0.05)

    return wait
