"""Predictor: its answers, what it refuses, what it tells, and how it ends."""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import (
    ArtifactError,
    ClosedError,
    ConfigurationError,
    EngineError,
    InputError,
    InputSpec,
    ModelSpec,
    NetworkSpec,
    Prediction,
    Predictor,
)
from fer_edge.backends import Backend, EngineInfo
from fer_edge.predictor import MAX_THREADS
from fer_edge.preprocess import preprocess
from fer_edge.synthetic import synthetic_crops

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Answer = Callable[[Image], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
MakeArtifact = Callable[[Path, ModelSpec], Path]

CLASSES = 7
CLOSE = 1e-5


class Double(Backend):
    """Records what it is given; gives each crop the class that its first pixel names."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.engine = EngineInfo("double", "1.2", "nowhere", "unknown", 3)
        self.batches: list[Image] = []
        self.closed = 0

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        self.batches.append(batch)
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

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.working, self.go = threading.Event(), threading.Event()

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        self.working.set()
        assert self.go.wait(20)
        return super().infer(batch)


@pytest.fixture
def double(tiny_spec: ModelSpec) -> Double:
    return Double(tiny_spec)


@pytest.fixture
def fer(tiny_artifact: Path) -> Iterator[Predictor]:
    with Predictor(tiny_artifact, threads=1) as predictor:
        yield predictor


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def tensor(crops: list[Image], tiny_spec: ModelSpec) -> Image:
    batch = np.empty((len(crops), *tiny_spec.input.shape), np.uint8)
    for row, crop in zip(batch, crops, strict=True):
        preprocess(crop, tiny_spec.input, row)
    return batch


@pytest.fixture(scope="module")
def expected(tensor: Image, tiny_answer: Answer) -> npt.NDArray[np.float64]:
    return tiny_answer(tensor)[1]


def table(predictions: list[Prediction]) -> Floats:
    return np.stack([prediction.probabilities for prediction in predictions])


def gray(value: int) -> Image:
    return np.full((48, 48), value, np.uint8)


def picture(path: Path, pixels: Image) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


# ---- answers


def test_predict_gives_the_models_probabilities(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    given = table([fer.predict(crop) for crop in crops])
    assert given == pytest.approx(expected, abs=CLOSE)


def test_predict_batch_gives_the_models_probabilities(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    assert table(fer.predict_batch(crops)) == pytest.approx(expected, abs=CLOSE)


def test_predict_tensor_gives_logits_and_probabilities(
    fer: Predictor, tensor: Image, tiny_answer: Answer
) -> None:
    for given, exact in zip(fer.predict_tensor(tensor), tiny_answer(tensor), strict=True):
        assert given.dtype == np.float32
        assert given == pytest.approx(exact, abs=1e-4)


def test_a_crop_has_the_same_answer_alone_and_among_others(
    fer: Predictor, crops: list[Image]
) -> None:
    alone = table([fer.predict(crop) for crop in crops])
    assert table(fer.predict_batch(crops)) == pytest.approx(alone, abs=1e-6)


def test_predictions_hold_float32_that_cannot_be_changed(
    fer: Predictor, crops: list[Image]
) -> None:
    for prediction in (fer.predict(crops[0]), *fer.predict_batch(crops)):
        assert prediction.probabilities.dtype == np.float32
        assert not prediction.probabilities.flags.writeable


def test_an_earlier_prediction_outlives_later_ones(fer: Predictor, crops: list[Image]) -> None:
    first = fer.predict(crops[0])
    before = first.probabilities.tolist()
    fer.predict_batch(crops)
    assert first.probabilities.tolist() == before


def test_nothing_gives_nothing(double: Double) -> None:
    assert Predictor(backend=double).predict_batch([]) == []
    assert double.batches == []


@pytest.mark.parametrize("kind", [list, tuple, iter, np.stack, lambda crops: (c for c in crops)])
def test_a_batch_may_be_any_iterable(double: Double, kind: Callable[[list[Image]], Any]) -> None:
    crops = [gray(value) for value in (3, 0, 6)]
    given = Predictor(backend=double).predict_batch(kind(crops))
    assert [p.emotion.class_index for p in given] == [3, 0, 6]


def test_a_batch_is_one_call_of_the_engine(double: Double) -> None:
    Predictor(backend=double).predict_batch([gray(value) for value in range(100)])
    assert [batch.shape for batch in double.batches] == [(100, 48, 48, 1)]


def test_the_backend_gets_contiguous_uint8(double: Double, tensor: Image) -> None:
    fer = Predictor(backend=double)
    fer.predict(gray(1)[::-1])
    fer.predict_batch([gray(1)[:, ::-1]])
    fer.predict_tensor(tensor[::-2])
    assert len(double.batches) == 3
    assert all(batch.dtype == np.uint8 for batch in double.batches)
    assert all(batch.flags.c_contiguous for batch in double.batches)


def test_a_tensor_that_is_a_view_has_the_answer_of_its_copy(fer: Predictor, tensor: Image) -> None:
    view = tensor[::-2, :, ::-1]
    _, given = fer.predict_tensor(view)
    _, copied = fer.predict_tensor(view.copy())
    assert np.array_equal(given, copied)


@pytest.fixture(scope="module")
def rgb_artifact(make_artifact: MakeArtifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = InputSpec(16, 16, "rgb", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    path = tmp_path_factory.mktemp("rgb") / "rgb.onnx"
    return make_artifact(path, ModelSpec(NetworkSpec("tiny"), shape))


@pytest.mark.parametrize("kind", ["gray", "rgb"])
def test_the_order_of_the_channels_is_as_the_caller_says(
    kind: str, tiny_artifact: Path, rgb_artifact: Path
) -> None:
    artifact = {"gray": tiny_artifact, "rgb": rgb_artifact}[kind]
    crop = synthetic_crops(1)[0]
    with Predictor(artifact) as bgr, Predictor(artifact, color="rgb") as rgb:
        assert table([bgr.predict(crop)]) == pytest.approx(table([rgb.predict(crop[:, :, ::-1])]))
        assert not np.allclose(table([bgr.predict(crop)]), table([rgb.predict(crop)]), atol=1e-3)


# ---- files


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_gives_what_its_pixels_give(
    fer: Predictor, crops: list[Image], tmp_path: Path, kind: type
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    assert np.array_equal(table([fer.predict(kind(path))]), table([fer.predict(crops[0])]))


def test_the_channels_of_a_file_are_known(
    rgb_artifact: Path, crops: list[Image], tmp_path: Path
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    with Predictor(rgb_artifact) as bgr, Predictor(rgb_artifact, color="rgb") as rgb:
        assert np.array_equal(table([bgr.predict(path)]), table([rgb.predict(path)]))


def test_a_file_is_turned_as_its_exif_says(fer: Predictor, tmp_path: Path) -> None:
    upright = synthetic_crops(1)[0]
    _, encoded = cv2.imencode(".jpg", upright[:, ::-1])
    data = encoded.tobytes()
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 2, 0, 0)
    path = tmp_path / "mirrored.jpg"
    path.write_bytes(data[:2] + struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif + data[2:])
    stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert np.array_equal(table([fer.predict(path)]), table([fer.predict(stored[:, ::-1])]))


def test_a_batch_may_mix_files_and_pixels(
    fer: Predictor, crops: list[Image], tmp_path: Path
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    mixed = table(fer.predict_batch([crops[1], path, str(path)]))
    assert np.array_equal(mixed, table(fer.predict_batch([crops[1], crops[0], crops[0]])))


def missing(folder: Path) -> Path:
    return folder / "missing.jpg"


def empty(folder: Path) -> Path:
    (folder / "empty.jpg").touch()
    return folder / "empty.jpg"


def truncated(folder: Path) -> Path:
    path = picture(folder / "truncated.jpg", synthetic_crops(1)[0])
    path.write_bytes(path.read_bytes()[:-40])
    return path


def text(folder: Path) -> Path:
    (folder / "text.jpg").write_text("no picture at all")
    return folder / "text.jpg"


def bomb(folder: Path) -> Path:
    """A PNG of some hundred bytes that says that it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + payload))
        return struct.pack(">I", len(payload)) + kind + payload + checksum

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return folder / "bomb.png"


def small(folder: Path) -> Path:
    return picture(folder / "small.png", np.zeros((5, 48), np.uint8))


UNREADABLE = [
    pytest.param(missing, "there is no file", id="missing"),
    pytest.param(lambda folder: folder, "is a folder", id="folder"),
    pytest.param(empty, "0 bytes", id="0 bytes"),
    pytest.param(truncated, "truncated", id="truncated"),
    pytest.param(text, "is not a picture", id="text"),
    pytest.param(bomb, "60000 x 60000 pixels", id="bomb"),
    pytest.param(small, "at least 8 x 8 pixels, not of height 5 and width 48", id="too small"),
]


@pytest.mark.parametrize(("make", "message"), UNREADABLE)
def test_a_file_that_is_no_crop_is_refused(
    fer: Predictor, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        fer.predict(make(tmp_path))
    assert caught.value.index is None


@pytest.mark.parametrize(("make", "message"), UNREADABLE)
def test_in_a_batch_a_file_that_is_no_crop_is_named(
    double: Double, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(InputError, match=f"^crop 2 of the batch: .*{message}") as caught:
        Predictor(backend=double).predict_batch([gray(1), gray(2), make(tmp_path)])
    assert caught.value.index == 2
    assert double.batches == []


# ---- what is refused

UNFIT = [
    pytest.param(None, "not NoneType", id="nothing"),
    pytest.param(np.zeros((48, 48), np.float32), "not float32", id="float"),
    pytest.param(np.full((48, 48), np.nan), "NaN or Inf", id="not a number"),
    pytest.param(np.zeros((48, 48, 4), np.uint8), r"not \(48, 48, 4\)", id="channels"),
    pytest.param(np.zeros((0, 0), np.uint8), "height 0 and width 0", id="empty"),
    pytest.param(np.zeros((7, 48), np.uint8), "height 7 and width 48", id="too small"),
]


@pytest.mark.parametrize(("crop", "message"), UNFIT)
def test_an_unfit_crop_is_refused(fer: Predictor, crop: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^expected .*{message}"):
        fer.predict(crop)


@pytest.mark.parametrize(("crop", "message"), UNFIT)
def test_one_unfit_crop_refuses_its_batch_and_is_named(
    double: Double, crop: Any, message: str
) -> None:
    with pytest.raises(InputError, match=f"^crop 1 of the batch: expected .*{message}") as caught:
        Predictor(backend=double).predict_batch([gray(1), crop, gray(2)])
    assert caught.value.index == 1
    assert double.batches == []


@pytest.mark.parametrize("path", ["face.png", Path("face.png")])
def test_a_path_is_no_batch(fer: Predictor, path: Any) -> None:
    with pytest.raises(InputError, match="not a single path; use predict"):
        fer.predict_batch(path)


@pytest.mark.parametrize(
    "batch",
    [
        None,
        [[0]],
        np.zeros((0, 48, 48, 1), np.uint8),
        np.zeros((48, 48, 1), np.uint8),
        np.zeros((2, 48, 48), np.uint8),
        np.zeros((2, 1, 48, 48), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((2, 48, 48, 1), np.float32),
        np.zeros((), np.uint8),
    ],
)
def test_a_tensor_of_another_form_is_refused(double: Double, batch: Any) -> None:
    with pytest.raises(InputError, match=r"expected uint8 of shape \(N, 48, 48, 1\) with N > 0"):
        Predictor(backend=double).predict_tensor(batch)
    assert double.batches == []


@pytest.mark.parametrize(
    ("logits", "probabilities"),
    [((2, 7), (1, 7)), ((3, 7), (3, 7)), ((2, 7), (2, 6)), ((14,), (2, 7))],
)
def test_an_answer_of_another_shape_is_the_engines_error(
    tiny_spec: ModelSpec, logits: tuple[int, ...], probabilities: tuple[int, ...]
) -> None:
    answers = np.zeros(logits, np.float32), np.zeros(probabilities, np.float32)
    fer = Predictor(backend=Answering(tiny_spec, *answers))
    with pytest.raises(EngineError, match=r"double returned .* instead of \(2, 7\)"):
        fer.predict_batch([gray(1), gray(2)])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_the_engines_error(
    tiny_spec: ModelSpec, value: float
) -> None:
    answer = np.zeros((1, 7), np.float32)
    answer[0, 3] = value
    fer = Predictor(backend=Answering(tiny_spec, answer, answer))
    with pytest.raises(EngineError, match="not finite"):
        fer.predict(gray(1))


# ---- wishes that cannot be met


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"backend": "tflite"}, "unknown backend 'tflite'; there are auto, onnxruntime"),
        ({"backend": None}, "unknown backend None"),
        ({"device": "tpu"}, "no device 'tpu'; there are auto, cpu, cuda"),
        ({"precision": "int4"}, "unknown precision 'int4'; there are fp32, fp16, int8"),
        ({"precision": "int8"}, "the artifact is fp32, and int8 was asked for"),
        ({"threads": 0}, "whole number from 1 to 1024, not 0"),
        ({"threads": -2}, "whole number from 1 to 1024, not -2"),
        ({"threads": MAX_THREADS + 1}, "not 1025"),
        ({"threads": 1.5}, "not 1.5"),
        ({"threads": "2"}, "not '2'"),
        ({"color": "hsv"}, "unknown color 'hsv'; there are bgr, rgb"),
    ],
)
def test_a_wish_that_cannot_be_met_is_a_typed_error(
    tiny_artifact: Path, wish: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Predictor(tiny_artifact, **wish)


@pytest.mark.parametrize("wish", [{"device": "cpu"}, {"threads": 2}, {"model": "model.onnx"}])
def test_an_opened_backend_takes_no_wishes_that_it_would_ignore(
    double: Double, wish: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="an opened backend has its model"):
        Predictor(backend=double, **wish)


def test_a_backend_whose_predictor_was_refused_stays_open(double: Double) -> None:
    with pytest.raises(ConfigurationError, match="the artifact is fp32"):
        Predictor(backend=double, precision="int8")
    assert double.closed == 0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no model at .*gone\.onnx"):
        Predictor(tmp_path / "gone.onnx")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").touch()
    with pytest.raises(ConfigurationError, match="it takes onnx"):
        Predictor(tmp_path / "model.tflite")


def test_a_directory_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model directory: it has no manifest\.json"):
        Predictor(tmp_path)


def test_a_directory_whose_artifact_was_changed_is_refused(model_directory: Path) -> None:
    with (model_directory / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArtifactError, match="is damaged: its sha256"):
        Predictor(model_directory)


def test_a_directory_whose_artifact_is_gone_is_refused(model_directory: Path) -> None:
    (model_directory / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"cannot read the artifact .*model\.onnx"):
        Predictor(model_directory)


def test_a_precision_that_the_directory_lacks_is_refused(model_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no int8 artifact .* it has onnx \(fp32\)"):
        Predictor(model_directory, precision="int8")


def test_a_manifest_that_promises_another_precision_is_refused(
    make_model_directory: Callable[..., Path],
) -> None:
    folder = make_model_directory(precision="int8")
    with pytest.raises(ConfigurationError, match="the artifact is fp32, and int8 was asked for"):
        Predictor(folder, precision="int8")


@pytest.mark.usefixtures("no_default_model")
def test_an_installation_without_the_packaged_model_says_so() -> None:
    with pytest.raises(ArtifactError, match="the packaged model is missing; reinstall"):
        Predictor()


# ---- info


def test_info_tells_what_runs(
    model_directory: Path, tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    with Predictor(model_directory, device="cpu", threads=2) as fer:
        info = fer.info
    assert info.artifact == model_directory / "model.onnx"
    assert info.sha256 == hashlib.sha256(tiny_artifact.read_bytes()).hexdigest()
    assert (info.backend, info.version) == ("onnxruntime", onnxruntime.__version__)
    assert (info.device, info.provider) == ("cpu", "CPUExecutionProvider")
    assert (info.precision, info.inference_precision, info.threads) == ("fp32", "fp32", 2)
    assert info.spec == tiny_spec


def test_info_tells_of_a_backend_of_the_callers_own(double: Double, tiny_spec: ModelSpec) -> None:
    info = Predictor(backend=double).info
    assert (info.artifact, info.sha256) == (None, None)
    assert (info.backend, info.version, info.provider) == ("double", "1.2", "nowhere")
    assert (info.inference_precision, info.threads, info.spec) == ("unknown", 3, tiny_spec)


def test_its_repr_tells_the_model_and_where_it_runs(double: Double) -> None:
    fer = Predictor(backend=double)
    assert repr(fer) == "<Predictor tiny fp32 on nowhere>"
    fer.close()
    assert repr(fer) == "<Predictor tiny fp32 on closed>"


# ---- the end


def test_leaving_the_block_closes_the_backend(double: Double) -> None:
    with Predictor(backend=double):
        assert double.closed == 0
    assert double.closed == 1


def test_an_error_in_the_block_closes_the_backend_and_passes(double: Double) -> None:
    with pytest.raises(KeyError), Predictor(backend=double):
        raise KeyError
    assert double.closed == 1


def test_closing_twice_is_closing_once(double: Double) -> None:
    fer = Predictor(backend=double)
    fer.close()
    fer.close()
    assert double.closed == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda fer: fer.predict(gray(1)),
        lambda fer: fer.predict("missing.png"),
        lambda fer: fer.predict_batch([gray(1)]),
        lambda fer: fer.predict_batch([]),
        lambda fer: fer.predict_tensor(np.zeros((1, 48, 48, 1), np.uint8)),
    ],
    ids=["crop", "file", "batch", "empty batch", "tensor"],
)
def test_use_after_close_is_refused(double: Double, use: Callable[[Predictor], object]) -> None:
    fer = Predictor(backend=double)
    fer.close()
    with pytest.raises(ClosedError, match="closed; make a new one"):
        use(fer)


def test_a_call_that_is_under_way_finishes(tiny_spec: ModelSpec) -> None:
    backend = Waiting(tiny_spec)
    fer = Predictor(backend=backend)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(fer.predict, gray(4))
        assert backend.working.wait(20)
        fer.close()
        backend.go.set()
        assert under_way.result(20).emotion.class_index == 4


# ---- threads


def test_sixteen_threads_share_a_predictor(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    start = threading.Barrier(16)

    def work(number: int) -> float:
        start.wait(20)
        worst = 0.0
        for step in range(20):
            at = (number + step) % len(crops)
            one, two = fer.predict(crops[at]), fer.predict_batch([crops[0], crops[at]])[1]
            for given in (one, two):
                worst = max(worst, float(np.abs(given.probabilities - expected[at]).max()))
        return worst

    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(work, range(16))) < CLOSE


def test_closing_while_threads_predict_gives_right_answers_or_closed(
    tiny_artifact: Path, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    fer = Predictor(tiny_artifact, threads=1)
    all_have_answers = threading.Barrier(9)

    def work(at: int) -> float:
        worst = float(np.abs(fer.predict(crops[at]).probabilities - expected[at]).max())
        all_have_answers.wait(20)
        while True:
            try:
                given = fer.predict(crops[at]).probabilities
            except ClosedError:
                return worst
            worst = max(worst, float(np.abs(given - expected[at]).max()))

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, number % len(crops)) for number in range(8)]
        all_have_answers.wait(20)
        fer.close()
        assert max(future.result(20) for future in running) < CLOSE
