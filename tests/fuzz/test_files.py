"""Any table, archive, folder, calibration set or checkpoint: what it says, or an error of ours."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fer_calib import calibration
from fer_calib.calibration import CalibrationSet
from fer_edge import LABELS, ArtifactError, DataError, ModelSpec, fer2013
from fer_edge.fer2013 import LabelledCrops
from fer_edge.spec import InputSpec, NetworkSpec

FUZZ = settings(settings.get_profile("fuzz"))


@st.composite
def table(draw: st.DrawFn, headers: st.SearchStrategy[str], rows: st.SearchStrategy[str]) -> bytes:
    """A CSV file with a header and up to four rows, sometimes with bytes that are no text."""
    lines = [draw(headers), *draw(st.lists(rows, max_size=4))]
    rest = draw(st.one_of(st.just(b""), st.binary(max_size=9)))
    return "\n".join(lines).encode("utf-8", "surrogatepass") + rest


ROW = st.one_of(
    st.builds(
        "{},{},{}".format,
        st.sampled_from(["0", "6", "7", "-1", "x", "", "٣"]),
        st.sampled_from([" ".join(["7"] * 2304), "1 2", "", "256", '"' + "9 " * 2304 + '"']),
        st.sampled_from(["Training", "PublicTest", "PrivateTest", "", "Test"]),
    ),
    st.text(max_size=20),
)
HEADERS = st.sampled_from(
    ["emotion,pixels,Usage", "emotion, Usage, pixels", "\ufeffemotion,pixels,Usage", "a,b", ""]
)


@FUZZ
@given(table(HEADERS, ROW), st.sampled_from(fer2013.SPLITS))
def test_any_table_is_fer2013_or_refused(
    survive: Any, folder: Path, content: bytes, split: str
) -> None:
    (folder / "fer2013.csv").write_bytes(content)
    found = survive(fer2013.load, folder / "fer2013.csv", split)
    assert isinstance(found, (LabelledCrops, DataError))


def _archive() -> bytes:
    stream = io.BytesIO()
    picture = cv2.imencode(".png", np.full((48, 48), 9, np.uint8))[1].tobytes()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in LABELS:
            archive.writestr(f"train/{name}/Training_1.png", picture)
            archive.writestr(f"test/{name}/PublicTest_1.png", picture)
    return stream.getvalue()


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with a few bytes changed, removed or inserted, or cut off."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(len(changed) - 1, 0)))
            end = at + draw(st.sampled_from([0, 1, 1, 4, 60]))
            changed[at:end] = draw(st.binary(max_size=8))
        if draw(st.integers(0, 5)) == 0:
            del changed[draw(st.integers(0, len(changed))) :]
        return bytes(changed)

    return build()


ARCHIVE = _archive()


@FUZZ
@given(damaged(ARCHIVE), st.sampled_from(fer2013.SPLITS))
def test_any_archive_is_fer2013_or_refused(
    survive: Any, folder: Path, data: bytes, split: str
) -> None:
    (folder / "fer2013.zip").write_bytes(data)
    found = survive(fer2013.load, folder / "fer2013.zip", split)
    assert isinstance(found, (LabelledCrops, DataError))


FOLDERS = st.sampled_from(
    [
        "test/happy",
        "train/sad",
        "test/cheerful",
        "test",
        ".",
        "a/test/fear",
        "test/Angry",
        "__MACOSX",
    ]
)
NAMES = st.sampled_from(
    [
        "PublicTest_1.png",
        "PrivateTest_2.jpg",
        "Training_1.png",
        "fer2013.csv",
        ".x.png",
        "\udcff.png",
    ]
)


@FUZZ
@given(data=st.data(), split=st.sampled_from(fer2013.SPLITS))
def test_any_folder_is_fer2013_or_refused(
    survive: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, split: str
) -> None:
    root = tmp_path_factory.mktemp("fer2013")
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as archive:
        archive.extractall(root)
        picture = archive.read(archive.namelist()[0])
    for _ in range(data.draw(st.integers(0, 3))):
        place = root / data.draw(FOLDERS) / data.draw(NAMES)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.draw(st.one_of(damaged(picture), table(HEADERS, ROW))))
    if data.draw(st.booleans()):
        shutil.rmtree(root / data.draw(st.sampled_from(["test/happy", "train", "test"])))
    found = survive(fer2013.load, root, split)
    assert isinstance(found, (LabelledCrops, DataError))
    shutil.rmtree(root)


def test_a_picture_in_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in LABELS:
            archive.writestr(f"test/{name}/PublicTest_1.png", bytes(64 << 20))
    with pytest.raises(DataError, match="far more than a 48 x 48 picture"):
        fer2013.load(path, "test")


@pytest.fixture(scope="module")
def calibration_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound calibration set."""
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    crops = LabelledCrops(images, np.arange(7), tuple(f"crop {n}" for n in range(7)))
    path = tmp_path_factory.mktemp("calibration") / "calib.npz"
    CalibrationSet(crops).save(path)
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_calibration_file_is_read_or_refused(
    survive: Any, folder: Path, calibration_file: bytes, data: st.DataObject
) -> None:
    (folder / "calib.npz").write_bytes(data.draw(damaged(calibration_file)))
    found = survive(calibration.load, folder / "calib.npz")
    assert isinstance(found, (CalibrationSet, DataError))


ARRAYS = hnp.arrays(
    st.sampled_from(
        [np.dtype(kind) for kind in ("u1", "i8", "f4", "U3", "S2", "?", "c8", "M8[s]")]
    ),
    st.sampled_from([(), (0,), (1,), (2,), (2, 48, 48), (0, 48, 48), (2, 48), (1, 48, 48)]),
)


@FUZZ
@given(st.lists(ARRAYS, min_size=4, max_size=4), st.integers(0, 4))
def test_any_arrays_are_a_calibration_set_or_refused(
    survive: Any, folder: Path, arrays: list[np.ndarray], count: int
) -> None:
    names = ("images", "labels", "names", "sha256")[:count]
    np.savez(folder / "calib.npz", **dict(zip(names, arrays, strict=False)))  # type: ignore[arg-type]
    found = survive(calibration.load, folder / "calib.npz")
    assert isinstance(found, (CalibrationSet, DataError))


def test_a_calibration_file_that_claims_terabytes_is_refused(survive: Any, tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 48, 48)}
    )
    with zipfile.ZipFile(tmp_path / "calib.npz", "w") as archive:
        for name in ("images", "labels", "names", "sha256"):
            archive.writestr(f"{name}.npy", header.getvalue())
    assert isinstance(survive(calibration.load, tmp_path / "calib.npz"), DataError)


def test_a_calibration_file_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "calib.npz", images=np.zeros((2000, 48, 48), np.uint8))
    assert (tmp_path / "calib.npz").stat().st_size < 100_000
    monkeypatch.setattr(calibration, "MAX_UNPACKED", 4_000_000)
    with pytest.raises(DataError, match="unpacks to more than 4,000,000 bytes"):
        calibration.load(tmp_path / "calib.npz")


class _Payload:
    """Unpickling this would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def test_a_pickle_in_a_calibration_file_is_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", images=np.array([_Payload(tmp_path / "ran")], object))
    with pytest.raises(DataError):
        calibration.load(tmp_path / "calib.npz")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_where_safetensors_belongs_is_not_run(tmp_path: Path) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    path = tmp_path / "best.safetensors"
    path.write_bytes(pickle.dumps(_Payload(tmp_path / "ran")))
    for read in (checkpoint.read_spec, checkpoint.load):
        with pytest.raises(ArtifactError, match="safetensors"):
            read(path)
    assert not (tmp_path / "ran").exists()


@FUZZ
@given(data=st.data())
def test_any_checkpoint_is_read_or_refused(
    survive: Any, folder: Path, checkpoint_file: bytes, data: st.DataObject
) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    path = folder / "best.safetensors"
    path.write_bytes(data.draw(st.one_of(damaged(checkpoint_file), st.binary(max_size=60))))
    found = survive(checkpoint.read_spec, path)
    assert isinstance(found, (ModelSpec, ArtifactError))


@pytest.fixture(scope="module")
def checkpoint_file() -> bytes:
    """Safetensors with a spec, and two tensors."""
    spec = ModelSpec(NetworkSpec("resnet18"), InputSpec(48, 48)).to_json()
    header = {
        "__metadata__": {"fer_edge": spec},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(12)


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound checkpoint of a network that is built in no time."""
    pytest.importorskip("timm", reason="no timm to build a network with")
    from fer_edge import checkpoint, network

    spec = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48))
    path = tmp_path_factory.mktemp("small") / "best.safetensors"
    checkpoint.save(path, network.build(spec).state_dict(), spec)
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_any_weights_are_loaded_or_refused(
    survive: Any, folder: Path, small_checkpoint: bytes, data: st.DataObject
) -> None:
    """Damage to the header counts: anything is a weight."""
    from fer_edge import checkpoint

    end = 8 + int.from_bytes(small_checkpoint[:8], "little")
    header = data.draw(damaged(small_checkpoint[8:end]))
    length = len(header) if data.draw(st.booleans()) else end - 8
    path = folder / "best.safetensors"
    path.write_bytes(struct.pack("<Q", length) + header + small_checkpoint[end:])
    for read in (checkpoint.load, lambda file: checkpoint.load_bytes(file.read_bytes(), file)):
        found = survive(read, path)
        assert isinstance(found, (tuple, ArtifactError))


ARCHITECTURES = st.sampled_from(
    [
        *("test_efficientnet", "test_vit", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
        *("resnetv2_152x4_bit", "fer_vit_tiny", "hf-hub:a/b", "local-dir:/", "test_vit.hf-hub:a"),
        "",
    ]
)
SETTINGS = st.dictionaries(
    st.sampled_from(
        [
            *("depth", "embed_dim", "num_heads", "img_size", "patch_size", "window_size"),
            *("block", "norm_layer", "act_layer", "features_only", "pretrained", "device"),
            *("pretrained_cfg", "checkpoint_path", "in_chans", "pruned", "mlp_ratio", "x", ""),
        ]
    ),
    st.sampled_from([0, 1, 2, 3, 8, 48, 192, 1024, 4096, -1, 10**6, 10**30]),
    max_size=4,
)
SPECS = st.fixed_dictionaries(
    {"architecture": ARCHITECTURES},
    optional={
        "arguments": SETTINGS,
        "stem_stride": st.sampled_from([1, 2, 50, 10**30]),
        "activation": st.sampled_from(["relu6", "x"]),
        "batch_norm_epsilon": st.sampled_from([1e-3, 1e300]),
    },
)
SIDES = st.sampled_from([1, 47, 48, 224, 1024])
DTYPES = st.sampled_from(
    [
        *("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "C64"),
        *("F8_E4M3", "F8_E8M0", "F6_E2M3", "F4"),
    ]
)


@st.composite
def sealed(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with another spec, or with tensors of other types and shapes, true to its format."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    spec = json.loads(header["__metadata__"]["fer_edge"])
    if draw(st.booleans()):
        spec["network"] = draw(SPECS)
    if draw(st.booleans()):
        spec["input"] |= {"height": draw(SIDES), "width": draw(SIDES)}
    names = sorted(header.keys() - {"__metadata__"})
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        tensor = header[name]
        bits = 8 * (tensor["data_offsets"][1] - tensor["data_offsets"][0])
        tensor["dtype"] = kind = draw(DTYPES)
        width = {"F4": 4, "F6_E2M3": 6, "BOOL": 8, "C64": 64}.get(kind)
        width = width or int(kind.lstrip("BFIU").split("_")[0])
        tensor["shape"] = [bits // width] if bits % width == 0 else [0]
    header["__metadata__"]["fer_edge"] = json.dumps(spec)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[end:]


@FUZZ
@given(data=st.data())
def test_any_spec_is_built_from_what_the_file_holds_or_refused(
    survive: Any, folder: Path, small_checkpoint: bytes, data: st.DataObject
) -> None:
    from fer_edge import checkpoint

    path = folder / "best.safetensors"
    path.write_bytes(data.draw(sealed(small_checkpoint)))
    for read in (checkpoint.load, lambda file: checkpoint.load_bytes(file.read_bytes(), file)):
        found = survive(read, path)
        assert isinstance(found, (tuple, ArtifactError))


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 3072, "depth": 8}),
        ("vit_tiny_patch16_224", {"depth": 4096}),
        ("vit_tiny_patch16_224", {"img_size": 4096, "patch_size": 1}),
        ("resnetv2_152x4_bit", {}),
    ],
)
def test_a_spec_that_asks_for_a_giant_costs_no_more_than_its_file(
    survive: Any, tmp_path: Path, architecture: str, arguments: dict[str, int]
) -> None:
    checkpoint = pytest.importorskip("fer_edge.checkpoint", reason="no torch to load it with")
    spec = ModelSpec(NetworkSpec(architecture, arguments=arguments), InputSpec(48, 48))
    header = {
        "__metadata__": {"fer_edge": spec.to_json()},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "best.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert isinstance(survive(checkpoint.load, path), ArtifactError)


VOTES = "file,anger,disgust,fear,happiness,sadness,surprise,neutral,contempt,unknown,NF"
VOTE_HEADERS = st.sampled_from([VOTES, VOTES.replace("file", "name"), "", "\ufeff" + VOTES])
VOTE_ROWS = st.one_of(
    st.builds(
        lambda name, votes: ",".join([name, *votes]),
        st.sampled_from(["Training_1.png", "", "a/b.png", "\0"]),
        st.lists(
            st.sampled_from(["0", "5", "-1", "nan", "inf", "1e400", "x", "", "٣"]), max_size=11
        ),
    ),
    st.text(max_size=20),
)


@FUZZ
@given(table(VOTE_HEADERS, VOTE_ROWS))
def test_any_votes_are_read_or_refused(survive: Any, folder: Path, content: bytes) -> None:
    targets = pytest.importorskip("fer_train.targets", reason="no package to train with")
    (folder / "votes.csv").write_bytes(content)
    found = survive(targets.read_votes, folder / "votes.csv")
    assert isinstance(found, (dict, DataError))
    if isinstance(found, dict):
        for shares in found.values():
            assert np.isfinite(shares).all()
            assert shares.sum() == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all inputs of a test."""
    return tmp_path_factory.mktemp("fuzz")
