"""Measuring how FER2013 frames a face."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.errors import ConfigurationError, DataError
from fer_edge.faces.detectors import Detection, Detector, Framing, Haar
from fer_edge.faces.yunet import Yunet
from pages.__main__ import main
from pages.blocks import markers
from pages.framing import Quartiles, measure, report, sample, scene, table

SHARED = Path(__file__).parents[3] / "shared"
FER2013 = Path(os.environ.get("FER2013") or SHARED / "data" / "fer2013.zip")


class Outline:
    """A detector that sees the picture's outline, grown to the scale of ``framing``."""

    name: ClassVar[str] = "outline"
    framing: ClassVar[Framing] = Framing(side=0.75, right=0.125, down=-0.0625)

    def __init__(self, *, every: int = 1, elsewhere: bool = False) -> None:
        self._every, self._elsewhere = every, elsewhere
        self._seen = 0

    def find(
        self, frame: npt.NDArray[np.uint8], min_side: float, min_score: float | None = None
    ) -> list[Detection]:
        assert frame.shape == (384, 384)
        assert min_side == 96
        self._seen += 1
        if self._seen % self._every:
            return []
        width = 192 / self.framing.side
        anchor = (192 + 0.125 * 192, 192 - 0.0625 * 192)
        if self._elsewhere:
            anchor = (30.0, 30.0)
        smaller = Detection((0.0, 0.0, width / 2, 10.0), anchor, 1.0, self.framing)
        return [smaller, Detection((0.0, 0.0, width, width), anchor, 1.0, self.framing)]


@pytest.fixture
def pictures() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)


@pytest.fixture
def data(tmp_path: Path, pictures: npt.NDArray[np.uint8]) -> Path:
    """FER2013's form with noise for pictures."""
    rows = [f"3,{' '.join(map(str, picture.ravel()))},PublicTest" for picture in pictures]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    return path


@pytest.mark.parametrize("surround", ["gray", "border"])
def test_reports_where_the_picture_lies_about_the_box(
    pictures: npt.NDArray[np.uint8], surround: str
) -> None:
    result = measure(pictures, Outline(), surround)
    assert (result.detector, result.surround) == ("outline", surround)
    assert result.side == Quartiles(0.75, 0.75, 0.75)
    assert result.right == Quartiles(0.125, 0.125, 0.125)
    assert result.down == Quartiles(-0.0625, -0.0625, -0.0625)


def test_constants_that_fit_give_the_picture_back(pictures: npt.NDArray[np.uint8]) -> None:
    assert measure(pictures, Outline(), "gray").overlap == Quartiles(1.0, 1.0, 1.0)


def test_counts_what_was_found(pictures: npt.NDArray[np.uint8]) -> None:
    result = measure(pictures, Outline(every=2), "gray")
    assert (result.found, result.count) == (4, 8)


def test_a_face_beside_the_picture_is_not_found(pictures: npt.NDArray[np.uint8]) -> None:
    result = measure(pictures, Outline(elsewhere=True), "gray")
    assert result.found == 0
    assert result.side is None


def test_the_surround_leaves_the_picture_as_it_is(pictures: npt.NDArray[np.uint8]) -> None:
    flat = np.full((48, 48), 100, np.uint8)
    np.testing.assert_array_equal(scene(flat, "gray"), np.full((384, 384), 100))
    gray, border = (scene(pictures[0], kind)[96:-96, 96:-96] for kind in ("gray", "border"))
    np.testing.assert_array_equal(gray, border)


def test_an_unknown_surround_is_refused(pictures: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigurationError, match="gray"):
        scene(pictures[0], "white")


def test_the_sample_depends_on_its_seed_alone(data: Path) -> None:
    first, again, other = (sample(data, 5, seed).images for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({picture.tobytes() for picture in first}) == 5


@pytest.mark.parametrize("count", [0, 9])
def test_no_more_pictures_are_drawn_than_there_are(data: Path, count: int) -> None:
    with pytest.raises(DataError, match="8 pictures"):
        sample(data, count, 0)


def test_every_detector_gets_a_row_per_surround(data: Path) -> None:
    results = report(data, {"outline": Outline(), "blind": Outline(every=99)}, count=8)
    rows = table(results).splitlines()
    assert rows[2].startswith("| outline | gray | 100.0% | 0.75 **0.75** 0.75 | +0.125")
    assert rows[4] == "| outline | gray | 0.0% | none | none | none | none |"


class TestCommand:
    @pytest.fixture(autouse=True)
    def _needs_haar(self) -> None:
        haar()

    def test_writes_between_the_markers_and_nowhere_else(self, data: Path, tmp_path: Path) -> None:
        page = tmp_path / "faces.md"
        page.write_text(f"before\n{markers('framing')[0]}\nold\n{markers('framing')[1]}\nafter\n")
        command = ["framing", "--data", str(data), "--count", "3"]
        assert main([*command, "--write", str(page)]) == 0
        text = page.read_text()
        assert text.startswith(f"before\n{markers('framing')[0]}\nMeasured on 3 pictures")
        assert text.endswith(f"{markers('framing')[1]}\nafter\n")
        assert "old" not in text
        assert "| haar | gray |" in text

    def test_json_can_be_read_by_anyone(self, data: Path, tmp_path: Path) -> None:
        file = tmp_path / "framing.json"
        command = ["framing", "--data", str(data), "--count", "3"]
        assert main([*command, "--json", str(file)]) == 0

        def refuse(constant: str) -> None:
            pytest.fail(f"{constant} is not JSON")

        document = json.loads(file.read_text(), parse_constant=refuse)
        assert document["schema"] == "fer-pages-framing/1"
        names = [(r["detector"], r["surround"]) for r in document["results"]]
        assert names == [(d, s) for d in ("haar", "yunet") for s in ("gray", "border")]


def test_a_page_without_markers_is_refused_before_the_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "faces.md"
    page.write_text("no markers")
    assert main(["framing", "--data", str(data), "--write", str(page)]) == 2
    assert markers("framing")[0] in capsys.readouterr().err
    assert page.read_text() == "no markers"


def haar() -> Detector:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip(f"OpenCV {cv2.__version__} has no Haar cascade")
    return Haar()


def yunet() -> Detector:
    return Yunet()


@pytest.mark.skipif(not FER2013.is_file(), reason=f"no FER2013 at {FER2013}; set FER2013")
@pytest.mark.parametrize("make", [haar, yunet])
def test_the_constants_in_use_are_fer2013_s_own_framing(make: type[Detector]) -> None:
    result = measure(sample(FER2013, 200, seed=7).images, make(), "gray")
    assert result.side
    assert result.right
    assert result.down
    assert result.overlap
    assert result.side.median == pytest.approx(result.framing.side, rel=0.04)
    assert result.right.median == pytest.approx(result.framing.right, abs=0.02)
    assert result.down.median == pytest.approx(result.framing.down, abs=0.02)
    assert result.overlap.median > 0.75
