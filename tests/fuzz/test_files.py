"""Any table, archive, folder, calibration set or checkpoint: what it says, or an error of ours."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from damaged_files import Payload, damaged_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fer_calib import calibration
from fer_calib.calibration import CalibrationSet
from fer_edge import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops

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


ARCHIVE = _archive()


@FUZZ
@given(damaged_bytes(ARCHIVE), st.sampled_from(fer2013.SPLITS))
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
        place.write_bytes(data.draw(st.one_of(damaged_bytes(picture), table(HEADERS, ROW))))
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
    (folder / "calib.npz").write_bytes(data.draw(damaged_bytes(calibration_file)))
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


@FUZZ
@given(st.lists(st.one_of(st.binary(max_size=12), st.just(b"\x93NUMPY\x01\0")), max_size=4))
def test_any_members_are_a_calibration_set_or_refused(
    survive: Any, folder: Path, members: list[bytes]
) -> None:
    with zipfile.ZipFile(folder / "calib.npz", "w") as archive:
        for name, member in zip(("images", "labels", "names", "sha256"), members, strict=False):
            archive.writestr(f"{name}.npy", member)
    assert isinstance(survive(calibration.load, folder / "calib.npz"), DataError)


@FUZZ
@given(
    st.one_of(
        st.text(max_size=9),
        st.builds(lambda part, count: part * count, st.sampled_from("x/."), st.integers(1, 6000)),
    )
)
def test_any_path_is_that_of_data_or_refused(survive: Any, folder: Path, path: str) -> None:
    place = folder / "nothing" / path.lstrip("/")
    assert isinstance(survive(fer2013.load, place, "train"), DataError)
    assert isinstance(survive(calibration.load, place), DataError)


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


def test_a_pickle_in_a_calibration_file_is_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", images=np.array([Payload(tmp_path / "ran")], object))
    with pytest.raises(DataError):
        calibration.load(tmp_path / "calib.npz")
    assert not (tmp_path / "ran").exists()


VOTES = "file,anger,disgust,fear,happiness,sadness,surprise,neutral,contempt,unknown,NF"
VOTE_HEADERS = st.sampled_from([VOTES, VOTES.replace("file", "name"), "", "\ufeff" + VOTES])
VOTE_ROWS = st.one_of(
    st.builds(
        lambda name, votes: ",".join([name, *votes]),
        st.sampled_from(["Training_1.png", "", "a/b.png", "\0"]),
        st.lists(
            st.sampled_from(["0", "5", "-1", "nan", "inf", "1e400", "3e38", "x", "", "٣"]),
            max_size=11,
        ),
    ),
    st.text(max_size=20),
)


@FUZZ
@given(table(VOTE_HEADERS, VOTE_ROWS))
def test_any_votes_are_read_or_refused(survive: Any, folder: Path, content: bytes) -> None:
    votes = pytest.importorskip("fer_train.targets", reason="no package to train with")
    (folder / "votes.csv").write_bytes(content)
    found = survive(votes.read_votes, folder / "votes.csv")
    assert isinstance(found, (votes.Votes, DataError))
    if isinstance(found, votes.Votes):
        for shares in found.shares.values():
            assert np.isfinite(shares).all()
            assert shares.sum() == pytest.approx(1, abs=1e-5)
