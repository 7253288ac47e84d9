"""Finding faces."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from forked import in_a_child

from fer_edge.errors import ArtifactError, ConfigurationError, EngineError, InputError
from fer_edge.faces.detection import Face, FaceDetector
from fer_edge.faces.detectors import Detection, Framing
from fer_edge.faces.yunet import YUNET_FILE, YUNET_SHA256
from fer_edge.system.files import sha256_of

Frame = npt.NDArray[np.uint8]

ROOT = Path(__file__).parents[3]
# the eyes and the mouth of the portrait, (x, y), read off the picture
FEATURES = ((203, 106), (243, 108), (224, 148))

needs_haar = pytest.mark.skipif(
    not hasattr(cv2, "CascadeClassifier"), reason=f"OpenCV {cv2.__version__} has no Haar cascade"
)


@pytest.fixture(params=["yunet", pytest.param("haar", marks=needs_haar)])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return detector_named(request.param)


@pytest.fixture(scope="module")
def portrait() -> Frame:
    data = pytest.importorskip("skimage.data", reason="scikit-image has the portrait")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def detector_named(name: str, **settings: Any) -> FaceDetector:
    return FaceDetector(name, **settings)


def resized(frame: Frame, width: int, height: int) -> Frame:
    return np.asarray(cv2.resize(frame, (width, height)), np.uint8)


def overlap(one: Face, other: Face, scale: float = 1.0) -> float:
    """Return the intersection over union of two boxes, the other's divided by ``scale``."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one.box, (side / scale for side in other.box)
    shared = max(0, min(ax + aw, bx + bw) - max(ax, bx)) * max(
        0, min(ay + ah, by + bh) - max(ay, by)
    )
    return shared / (aw * ah + bw * bh - shared)


class TestDetect:
    def test_finds_the_face_of_a_portrait(self, detector: FaceDetector, portrait: Frame) -> None:
        (face,) = detector.detect(portrait)
        x, y, width, height = face.box
        assert width == height
        assert all(x < a < x + width and y < b < y + height for a, b in FEATURES)
        assert 90 <= width <= 130

    @needs_haar
    def test_both_detectors_frame_a_face_alike(self, portrait: Frame) -> None:
        (haar,), (yunet,) = (detector_named(n).detect(portrait) for n in ("haar", "yunet"))
        assert overlap(haar, yunet) > 0.7

    def test_gray_and_color_give_the_same_face(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        (color,) = detector.detect(portrait)
        (gray,) = detector.detect(np.asarray(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), np.uint8))
        assert overlap(color, gray) > 0.8

    def test_takes_a_view_that_is_not_contiguous(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        mirrored = portrait[:, ::-1]
        assert detector.detect(mirrored) == detector.detect(mirrored.copy())

    def test_the_largest_face_comes_first(self, detector: FaceDetector, portrait: Frame) -> None:
        large = resized(portrait[0:250, 100:350], 500, 500)
        small = np.zeros((500, 250, 3), np.uint8)
        small[:250] = portrait[0:250, 100:350]
        faces = detector.detect(np.hstack([small, large]))
        assert len(faces) == 2
        assert faces[0].box[0] > 250 > faces[1].box[0]
        assert faces[0].box[2] == pytest.approx(2 * faces[1].box[2], rel=0.2)

    def test_boxes_of_a_huge_frame_are_in_its_own_pixels(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        (face,) = detector.detect(portrait)
        (large,) = detector.detect(resized(portrait, 2048, 2048))
        assert overlap(face, large, scale=4) > 0.75

    def test_a_close_up_is_found_although_it_exceeds_what_yunet_was_made_for(
        self, portrait: Frame
    ) -> None:
        close_up = resized(portrait[40:200, 140:300], 1600, 1600)
        (face,) = FaceDetector(YUNET_FILE).detect(close_up)
        assert face.box[2] > 1000

    def test_a_face_that_the_border_cuts_has_its_box_within_the_frame(
        self, portrait: Frame
    ) -> None:
        frame = portrait[80:400, 190:500]
        (face, *_) = FaceDetector(YUNET_FILE, min_score=0.3).detect(frame)
        x, y, width, height = face.box
        assert (x, y) == (0, 0)
        assert x + width <= frame.shape[1]
        assert y + height <= frame.shape[0]

    @pytest.mark.parametrize(
        "shape", [(480, 640, 3), (480, 640), (1, 1), (1, 500), (3000, 3), (10, 10), (32, 320, 3)]
    )
    def test_nothing_is_found_where_nothing_is(
        self, detector: FaceDetector, shape: tuple[int, ...]
    ) -> None:
        # a few times: what OpenCV makes of tiny frames has depended on what memory held before
        for level in (0, 128, 255):
            assert detector.detect(np.full(shape, level, np.uint8)) == []

    def test_a_frame_does_not_depend_on_the_one_before(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        first = detector.detect(portrait)
        detector.detect(portrait[:100, :300])
        assert detector.detect(portrait) == first

    def test_faces_below_the_least_size_are_left_out(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        (face,) = detector.detect(portrait)
        size = face.box[2]
        below, above = (detector_named(detector.name, min_size=size + n) for n in (-20, 20))
        (found,) = below.detect(portrait)
        assert overlap(face, found) > 0.9
        assert above.detect(portrait) == []

    @needs_haar
    def test_in_a_smaller_copy_smaller_faces_are_looked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[tuple[int, ...], float]] = []

        def find(frame: Frame, min_side: float, min_score: float) -> list[Any]:
            asked.append((frame.shape, min_side))
            return []

        detector = detector_named("yunet", min_size=30, max_side=100)
        monkeypatch.setattr(detector._detector, "find", find)
        detector.detect(np.zeros((100, 200), np.uint8))
        assert asked == [((50, 100), 15)]

    def test_faces_below_the_least_score_are_left_out(
        self, detector: FaceDetector, portrait: Frame
    ) -> None:
        (face,) = detector.detect(portrait)
        above = detector_named(detector.name, min_score=face.score * 1.01)
        assert above.detect(portrait) == []

    @needs_haar
    def test_a_face_of_the_least_size_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [
            Detection((0, 0, side, side), (side / 2, side / 2), 1.0, Framing(1, 0, 0))
            for side in (29, 30)
        ]
        detector = detector_named("yunet", min_size=30)
        monkeypatch.setattr(detector._detector, "find", lambda *_: found)
        assert detector.detect(np.zeros((60, 60), np.uint8)) == [Face((0, 0, 30, 30), 1.0)]

    @needs_haar
    def test_a_face_of_the_least_score_stays(self, portrait: Frame) -> None:
        (face,) = detector_named("haar").detect(portrait)
        assert detector_named("haar", min_score=face.score).detect(portrait) == [face]

    def test_threads_share_a_detector(self, detector: FaceDetector, portrait: Frame) -> None:
        frames = [portrait, portrait[:300], portrait[:, 50:400], portrait[20:420, 30:]]
        alone = [detector.detect(frame) for frame in frames]
        start = threading.Barrier(len(frames))

        def detect_together(frame: Frame) -> list[list[Face]]:
            start.wait()
            return [detector.detect(frame) for _ in range(5)]

        with ThreadPoolExecutor(len(frames)) as pool:
            together = list(pool.map(detect_together, frames))
        assert together == [[faces] * 5 for faces in alone]

    @pytest.mark.parametrize(
        ("frame", "came"),
        [
            (np.zeros((8, 8), np.float32), "float32"),
            (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
            (np.zeros((8,), np.uint8), r"\(8,\)"),
            (np.zeros((1, 8, 8, 3), np.uint8), r"\(1, 8, 8, 3\)"),
            (np.zeros((0, 8, 3), np.uint8), "empty"),
            ([[0, 0], [0, 0]], "list"),
            (None, "not None; cv2.imread"),
        ],
    )
    def test_a_bad_frame_is_an_error_that_quotes_it(
        self, detector: FaceDetector, frame: Any, came: str
    ) -> None:
        with pytest.raises(InputError, match=came):
            detector.detect(frame)


class TestChoice:
    def test_the_packaged_yunet_is_taken_by_default(self) -> None:
        assert FaceDetector().name == "yunet"

    def test_the_packaged_yunet_has_its_hash_and_its_licence(self) -> None:
        assert sha256_of(YUNET_FILE) == YUNET_SHA256
        licence = YUNET_FILE.with_name("LICENSE.yunet").read_text(encoding="utf-8")
        assert licence.startswith("MIT License")
        assert "Shiqi Yu" in licence

    def test_a_damaged_package_is_an_error_not_a_fallback(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "yunet.onnx").write_bytes(b"half of it")
        monkeypatch.setattr("fer_edge.faces.yunet.YUNET_FILE", tmp_path / "yunet.onnx")
        with pytest.raises(ArtifactError, match=r"is damaged: its sha256 is .* pip install"):
            FaceDetector()

    def test_a_given_file_is_taken(self) -> None:
        assert FaceDetector(str(YUNET_FILE)).name == "yunet"

    def test_a_given_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match=r"no YuNet at .*nowhere\.onnx"):
            FaceDetector(tmp_path / "nowhere.onnx")

    @pytest.mark.parametrize("content", [b"onnx", YUNET_FILE.read_bytes()[:-1000]])
    def test_a_file_that_is_no_network_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "face.onnx"
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="damaged or is not a YuNet"):
            FaceDetector(path)

    def test_another_network_is_an_error(self, tmp_path: Path) -> None:
        onnx = pytest.importorskip("onnx", reason="onnx makes a network that is no YuNet")
        make, kind = onnx.helper, onnx.TensorProto.FLOAT
        ends = [make.make_tensor_value_info(name, kind, [1, 3, 64, 64]) for name in "xy"]
        node = make.make_node("Relu", ["x"], ["y"])
        graph = make.make_graph([node], "relu", ends[:1], ends[1:])
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / "relu.onnx")
        with pytest.raises(ArtifactError, match="damaged or is not a YuNet"):
            FaceDetector(tmp_path / "relu.onnx")

    def test_the_default_needs_no_cascade(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
        assert FaceDetector().name == "yunet"

    def test_an_opencv_without_cascades_says_what_to_take_instead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
        with pytest.raises(EngineError, match=r"has no Haar cascades.* to take YuNet"):
            FaceDetector("haar")

    def test_a_cascade_without_its_file_is_not_there_either(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("cv2.data.haarcascades", str(tmp_path), raising=False)
        monkeypatch.setattr("fer_edge.faces.detectors._SYSTEM_CASCADES", ())
        with pytest.raises(EngineError, match="has no Haar cascades"):
            FaceDetector("haar")

    @pytest.mark.parametrize(
        "settings",
        [
            {"min_size": 0},
            {"min_size": "a"},
            {"min_size": math.inf},
            {"max_side": 0},
            {"max_side": math.nan},
            {"threads": 0},
            {"min_score": math.nan},
            {"min_score": "x"},
        ],
    )
    def test_settings_out_of_range_are_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(settings))):
            FaceDetector("yunet", **settings)


class TestFace:
    @pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)])
    def test_refuses_a_box_that_lies_in_no_frame(self, box: tuple[int, int, int, int]) -> None:
        with pytest.raises(ValueError, match="within the frame"):
            Face(box, 1.0)


def test_its_use_in_a_child_of_fork_is_an_error(detector: FaceDetector) -> None:
    outcome = in_a_child(lambda: detector.detect(np.zeros((64, 64, 3), np.uint8)))
    assert outcome.startswith("EngineError: this FaceDetector was made before the process forked")


@pytest.mark.parametrize("model", [None, 3, b"yunet", np.zeros((9, 9, 3), np.uint8)])
def test_what_names_no_detector_is_told_what_does(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="'haar' or the path of a YuNet file, not"):
        FaceDetector(model)


@pytest.mark.parametrize("model", ["retinaface", "https://example.com/yunet.onnx"])
def test_an_unknown_detector_lists_the_known_ones(model: str) -> None:
    with pytest.raises(ArtifactError, match=f"no YuNet at '{model}'; .* 'yunet', 'haar' or"):
        FaceDetector(model)
