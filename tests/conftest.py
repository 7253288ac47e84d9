"""What tests of several packages share: small models and data sets, made here, and where to
find what is not in the repository.
"""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge import LABELS
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.images.synthetic import synthetic_crops

# else a test may import their telemetry
with suppress(ImportError):
    import fer_edge.backends.onnxruntime_engine
with suppress(ImportError):
    import fer_edge.backends.openvino_runtime  # noqa: F401

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

LONGEST = (
    "tests/fer_edge/page/test_browser.py",
    "tests/fer_export/test_pipeline.py",
    "tests/packaging/test_wheel.py",
    "tests/fer_bench/regression",
    "tests/test_end_to_end.py",
    "tests/fer_train/test_campaign.py",
    "tests/fer_train/test_parallel.py",
    "tests/fer_export",
    "tests/fer_train",
    "tests/fer_edge/images/test_resizing_accuracy.py",
    "tests/fer_edge/live",
    "tests/faults",
)
"""They start first, in this order, so that no process is alone with one of them in the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` runs what takes longer than a minute, too."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_configure(config: pytest.Config) -> None:
    """Reach no other machine from here on, nor let Python processes that tests start do so."""
    config.option.loadscopereorder = False  # pytest-xdist would start files of many tests first
    from offline import sitecustomize

    guard, others = str(Path(sitecustomize.__file__).parent), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([guard, others] if others else [guard])


def pytest_runtest_setup() -> None:
    """Let Ctrl-C reach each test, whatever an earlier one or a library of it left behind.

    Where the tests run in the background, it would not reach any.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, and skip the long tests unless they are asked for."""

    def place(item: pytest.Item) -> int:
        found = (number for number, name in enumerate(LONGEST) if item.nodeid.startswith(name))
        return next(found, len(LONGEST))

    items.sort(key=place)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: run with --long or make check"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty data folder of fer_edge: tests neither see nor change the user's."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_EDGE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def fer2013_archive() -> Path:
    """The real FER2013, from ``FER2013`` or ``../shared/data``."""
    path = Path(os.environ.get("FER2013") or SHARED / "data" / "fer2013.zip")
    if not path.exists():
        pytest.skip(f"no FER2013 at {path}; give its path in FER2013")
    return path


@pytest.fixture(scope="session")
def portrait() -> Path:
    """A photo with one face: the astronaut that scikit-image carries."""
    data = pytest.importorskip("skimage.data", reason="no scikit-image, whose portrait is used")
    return Path(data.__file__).parent / "astronaut.png"


MakeData = Callable[[Path, int, int], Path]


@pytest.fixture(scope="session")
def make_fer2013() -> MakeData:
    """Write a zip in Kaggle's layout: drawings, ``train`` and ``test`` of them per class."""

    def make(path: Path, train: int, test: int) -> Path:
        drawings = iter(synthetic_crops(len(LABELS) * (train + test)))
        with zipfile.ZipFile(path, "w") as archive:
            for place, name in enumerate(LABELS):
                for prefix, half, count in (
                    ("Training", "train", train),
                    ("PublicTest", "test", test),
                ):
                    for number in range(place * count, (place + 1) * count):
                        picture = cv2.resize(next(drawings)[:, :, 0], (48, 48))
                        _, encoded = cv2.imencode(".png", picture)
                        member = f"{half}/{name}/{prefix}_{number:05d}.png"
                        archive.writestr(member, encoded.tobytes())
        return path

    return make


@pytest.fixture(scope="session")
def tiny_fer2013(make_fer2013: MakeData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of drawings: 4 training and 3 public-test pictures per class."""
    return make_fer2013(tmp_path_factory.mktemp("data") / "drawings.zip", 4, 3)


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """A gray 48 x 48 model with a temperature of its own."""
    return ModelSpec(NetworkSpec("tiny"), InputSpec(48, 48), temperature=1.5)


@pytest.fixture(scope="session")
def make_artifact() -> Callable[[Path, ModelSpec], Path]:
    """Write an ONNX artifact of ours whose core is one random linear layer."""
    onnx = pytest.importorskip("onnx", reason="no onnx to make an artifact with")
    from fer_export.contract_nodes import attach_contract

    def make(path: Path, spec: ModelSpec) -> Path:
        rng = np.random.default_rng(0)
        pixels = int(np.prod(spec.input.shape))
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        weights = {
            "weight": rng.normal(0, 0.05, (pixels, len(LABELS))).astype(np.float32),
            "bias": rng.normal(0, 1, len(LABELS)).astype(np.float32),
        }
        height, width, channels = spec.input.shape
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["normalized"], ["flat"], "flatten"),
                helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], "classifier"),
            ],
            "core",
            [
                helper.make_tensor_value_info(
                    "normalized", floats, ["batch", channels, height, width]
                )
            ],
            [helper.make_tensor_value_info("logits", floats, ["batch", len(LABELS)])],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        core = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        onnx.save(attach_contract(core, spec), path)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_artifact(
    make_artifact: Callable[[Path, ModelSpec], Path],
    tiny_spec: ModelSpec,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An ONNX artifact of a model that is small and of no use."""
    return make_artifact(tmp_path_factory.mktemp("artifact") / "model.onnx", tiny_spec)
