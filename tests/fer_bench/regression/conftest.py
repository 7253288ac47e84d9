"""A small model that really tells seven patterns apart, and pictures of them: worked out, not
trained, so that a fault in it is a fault that shows.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.regression.latency_ratio import PairedLatency
from fer_bench.regression.suite import Result, Suite
from fer_edge import LABELS, Predictor
from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop, Manifest
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops

onnx = pytest.importorskip("onnx", reason="no onnx to make models with")
quantization = pytest.importorskip(
    "onnxruntime.quantization", reason="no quantiser to make INT8 with"
)

from changed_onnx import copy_of  # noqa: E402

from fer_export.contract_nodes import attach_contract  # noqa: E402

SIDE, FILTERS, PER_CLASS = 48, 21, 40
SPEC = ModelSpec(
    NetworkSpec("gratings"), InputSpec(SIDE, SIDE, "rgb", mean=(0.5,) * 3, std=(0.25,) * 3)
)
COLOR_WEIGHTS = np.array([0.6, 0.3, 0.1])
HUGE = 1e6
"""Every feature is multiplied and divided by this: nothing in fp32, and beyond what fp16 holds."""

Edit = Callable[["onnx.ModelProto"], None]


def picture(label: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A grating whose direction is the class, in noise; uint8 ``(48, 48)``."""
    rows, columns = np.indices((SIDE, SIDE))
    angle, phase = label * np.pi / len(LABELS), rng.uniform(0, 2 * np.pi)
    wave = np.sin(0.8 * (columns * np.cos(angle) + rows * np.sin(angle)) + phase)
    noisy = 128 + rng.uniform(12, 30) * wave + rng.normal(0, 55, wave.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def weights() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Convolution ``(F, 3, 7, 7)``, and the matrix and bias of the classifier."""
    rows, columns = np.indices((7, 7)) - 3
    window = np.exp(-(rows**2 + columns**2) / 8)
    filters = []
    for number in range(FILTERS):
        angle, phase = (number % 7) * np.pi / 7, (number // 7) * 2 * np.pi / 3
        wave = np.cos(0.8 * (columns * np.cos(angle) + rows * np.sin(angle)) + phase) * window
        flat = (wave - wave.mean()) * 0.15 + 0.004  # some of the mean passes
        order = np.roll(COLOR_WEIGHTS, number)
        filters.append(order[:, None, None] * flat)
    kernel = np.stack(filters)
    kernel[-1] *= 400  # saturates in the clip: large weights, ordinary outputs
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(7), 60)
    features = np.stack([_features(picture(label, rng), kernel) for label in labels])
    centred = features - features.mean(axis=0)
    targets = np.eye(7)[labels] * 14
    gram = centred.T @ centred + 0.05 * np.eye(FILTERS)
    matrix = np.linalg.solve(gram, centred.T @ (targets - targets.mean(axis=0)))
    bias = targets.mean(axis=0) - features.mean(axis=0) @ matrix
    return kernel.astype(np.float32), matrix.astype(np.float32), bias.astype(np.float32)


def _features(gray: npt.NDArray[np.uint8], kernel: npt.NDArray[np.float64]) -> np.ndarray:
    normal = (gray / 255 - 0.5) / 0.25
    windows = np.lib.stride_tricks.sliding_window_view(normal, (7, 7))[::2, ::2]
    return np.tensordot(windows, kernel.sum(axis=1), ([2, 3], [1, 2])).clip(0, 6).mean(axis=(0, 1))


@pytest.fixture(scope="session")
def core() -> onnx.ModelProto:
    """Convolution, clip, mean, classifier."""
    kernel, matrix, bias = weights()
    values = {
        "kernel": kernel,
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "huge": np.array(HUGE, np.float32),
        "matrix": matrix / np.float32(HUGE),
        "bias": bias,
    }
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["normalized", "kernel"], ["waves"], strides=[2, 2]),
            helper.make_node("Clip", ["waves", "low", "high"], ["positive"]),
            helper.make_node("ReduceMean", ["positive", "axes"], ["means"], keepdims=0),
            helper.make_node("Mul", ["means", "huge"], ["large"]),
            helper.make_node("Gemm", ["large", "matrix", "bias"], ["logits"]),
        ],
        "core",
        [helper.make_tensor_value_info("normalized", floats, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", floats, ["batch", 7])],
        [
            *(onnx.numpy_helper.from_array(value, name) for name, value in values.items()),
            onnx.numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def quantised(core: onnx.ModelProto) -> onnx.ModelProto:
    """The core in INT8 with Q/DQ nodes."""
    rng = np.random.default_rng(2)
    pictures = [picture(number % 7, rng) for number in range(56)]
    batches = iter(
        [
            {"normalized": ((p / 255 - 0.5) / 0.25 * np.ones((1, 3, 1, 1))).astype("f4")}
            for p in pictures
        ]
    )

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(core, source)  # given the model itself, it would move its weights out of it
        quantization.quantize_static(
            source,
            target,
            Reader(),
            per_channel=True,
            reduce_range=True,  # else sums of products overflow on processors without VNNI
            op_types_to_quantize=["Conv", "Clip"],
        )
        return onnx.load(target)


@pytest.fixture(scope="session")
def make_int8() -> Callable[..., onnx.ModelProto]:
    """``quantised``."""
    return quantised


@pytest.fixture(scope="session")
def halved(core: onnx.ModelProto) -> onnx.ModelProto:
    """The core in half precision, whatever that does to its values."""
    half = copy_of(core)
    helper, numbers = onnx.helper, onnx.numpy_helper
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                value = numbers.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numbers.from_array(value, tensor.name))
    first, last = half.graph.node[0], half.graph.node[-1]
    first.input[0], last.output[0] = "half.in", "half.out"
    begin = helper.make_node("Cast", ["normalized"], ["half.in"], to=onnx.TensorProto.FLOAT16)
    end = helper.make_node("Cast", ["half.out"], ["logits"], to=onnx.TensorProto.FLOAT)
    nodes = [begin, *half.graph.node, end]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


@dataclass(frozen=True)
class Workbench:
    """Model directories to break, and the baseline of the sound one."""

    folder: Path
    core: onnx.ModelProto
    int8: onnx.ModelProto
    data: Path

    def directory(self, name: str, *, edit: Edit | None = None, **cores: onnx.ModelProto) -> Path:
        """Write a model directory as an exporter would that knows of no fault.

        ``edit`` changes the finished fp32 artifact; ``cores`` replace those of ``fp32``, ``fp16``
        and ``int8``. Hashes and golden crops are those of what is written.
        """
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        entries = []
        for precision, core in {"fp32": self.core, **cores}.items():
            model = attach_contract(core, SPEC.with_changes(precision=precision))
            if edit and precision == "fp32":
                edit(model)
            file = "model.onnx" if precision == "fp32" else f"model.{precision}.onnx"
            data = model.SerializeToString()
            (folder / file).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entries.append(ArtifactEntry(file, digest, len(data), "onnx", precision))
        with Predictor(folder / "model.onnx", backend="onnxruntime") as fer:
            raw = synthetic_crops(3, seed=5)
            answers = fer.predict_batch(raw)
            tensors = preprocess_all(raw, SPEC.input)
        golden = tuple(
            GoldenCrop.of(crop, tensor, answer.probabilities)
            for crop, tensor, answer in zip(raw, tensors, answers, strict=True)
        )
        Manifest("gratings", "fp32", tuple(entries), golden).write(folder)
        return folder

    @property
    def baseline(self) -> Path:
        """Where the baseline of the sound model lies."""
        return self.folder / "baseline.json"

    def judge(self, model: Path, **options: object) -> list[Result]:
        """Run the suite on ONNX Runtime, with pictures unless ``data`` says otherwise."""
        given = {"data": self.data, "backends": ["onnxruntime"], **options}
        return Suite(model, self.baseline, **given).results()  # type: ignore[arg-type]

    def failures(self, model: Path, **options: object) -> set[str]:
        """Names of the checks that failed."""
        return {result.name for result in self.judge(model, **options) if result.failed}


@pytest.fixture(scope="session", autouse=True)
def timed() -> Iterator[dict[str, PairedLatency]]:
    """Latencies as on a quiet machine: what ``"now"`` says, an equal time unless a test sets it."""
    told = {"now": PairedLatency(1.0, (0.99, 1.01))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_bench.regression.subject.measure_pair", lambda *_: told["now"])
        yield told


@pytest.fixture(scope="session")
def workbench(core: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """With the baseline of a sound model: fp32 and INT8."""
    folder = tmp_path_factory.mktemp("workbench")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "gratings.zip", "w") as archive:
        for label, name in enumerate(LABELS):
            for number in range(PER_CLASS):
                encoded = cv2.imencode(".png", picture(label, rng))[1]
                archive.writestr(f"test/{name}/PublicTest_{number:04d}.png", encoded.tobytes())
    made = Workbench(folder, core, quantised(core), folder / "gratings.zip")
    sound = made.directory("sound", int8=made.int8)
    assert not made.failures(sound, update=True)
    return made


@pytest.fixture(scope="session")
def sound(workbench: Workbench) -> Path:
    """The model directory whose baseline was recorded."""
    return workbench.folder / "sound"
