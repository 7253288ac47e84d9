"""FaceAnalyzer: the faces of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import create_autospec

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import (
    ClosedError,
    Face,
    FaceAnalyzer,
    FaceDetector,
    InputError,
    Predictor,
    annotate,
    cut_face,
    read_image,
)

Frame = npt.NDArray[np.uint8]


@pytest.fixture
def predictor(model_directory: Path) -> Iterator[Predictor]:
    with Predictor(model_directory) as predictor:
        yield predictor


@pytest.fixture
def two_faces(portrait: Path) -> Frame:
    one = read_image(portrait)[0:256, 96:352]
    return np.hstack([one, np.asarray(cv2.resize(one, (512, 512)), np.uint8)[:256], one[:, ::-1]])


def test_each_face_has_its_box_and_what_the_predictor_says_of_its_crop(
    predictor: Predictor, two_faces: Frame
) -> None:
    found = FaceAnalyzer(predictor).analyze(two_faces)
    assert len(found) >= 2
    assert [face.box for face in found] == [f.box for f in FaceDetector().detect(two_faces)]
    for face in found:
        alone = predictor.predict(cut_face(two_faces, face.box))
        assert face.emotion is alone.emotion
        assert face.confidence == pytest.approx(alone.confidence, abs=1e-6)
        np.testing.assert_allclose(face.prediction.probabilities, alone.probabilities, atol=1e-6)


def test_a_path_and_its_pixels_give_the_same(predictor: Predictor, portrait: Path) -> None:
    analyzer = FaceAnalyzer(predictor)
    (by_path,), (by_pixels,) = (analyzer.analyze(p) for p in (portrait, read_image(portrait)))
    assert by_path.box == by_pixels.box
    assert by_path.score == by_pixels.score
    assert by_path.confidence == by_pixels.confidence


def test_the_faces_of_a_picture_are_one_call_of_the_engine(
    predictor: Predictor, two_faces: Frame
) -> None:
    watched = create_autospec(predictor, spec_set=True, instance=True)
    watched.info, watched.color = predictor.info, "bgr"
    watched.predict_batch.side_effect = predictor.predict_batch
    found = FaceAnalyzer(watched).analyze(two_faces)
    assert watched.predict_batch.call_count == 1
    assert len(watched.predict_batch.call_args.args[0]) == len(found)


def test_a_predictor_of_rgb_crops_gives_the_same_of_a_bgr_frame(
    predictor: Predictor, model_directory: Path, portrait: Path
) -> None:
    (expected,) = FaceAnalyzer(predictor).analyze(portrait)
    with Predictor(model_directory, color="rgb") as rgb:
        (face,) = FaceAnalyzer(rgb).analyze(portrait)
    assert face.confidence == pytest.approx(expected.confidence, abs=1e-6)


def test_a_gray_frame_will_do(predictor: Predictor, portrait: Path) -> None:
    gray = np.asarray(cv2.cvtColor(read_image(portrait), cv2.COLOR_BGR2GRAY), np.uint8)
    (face,) = FaceAnalyzer(predictor).analyze(gray)
    assert annotate(gray, [face]).shape == (*gray.shape, 3)


def test_no_face_is_no_result(predictor: Predictor) -> None:
    assert FaceAnalyzer(predictor).analyze(np.zeros((64, 64, 3), np.uint8)) == []


def test_the_packaged_model_and_detector_are_the_default(portrait: Path) -> None:
    with FaceAnalyzer() as faces:
        (face,) = faces.analyze(portrait)
    assert face.emotion == "happy"
    with pytest.raises(ClosedError):
        faces.predictor.predict(np.zeros((48, 48), np.uint8))


def test_what_was_given_stays_open(predictor: Predictor) -> None:
    with FaceAnalyzer(predictor):
        pass
    assert predictor.predict(np.zeros((48, 48), np.uint8)).confidence > 0


def test_a_closed_analyzer_says_so_whatever_the_picture_holds(predictor: Predictor) -> None:
    analyzer = FaceAnalyzer(predictor)
    analyzer.close()
    analyzer.close()
    with pytest.raises(ClosedError, match="FaceAnalyzer is closed"):
        analyzer.analyze(np.zeros((64, 64, 3), np.uint8))


def test_bad_pictures_are_input_errors(predictor: Predictor, tmp_path: Path) -> None:
    analyzer = FaceAnalyzer(predictor)
    for bad in (tmp_path, tmp_path / "gone.jpg", np.zeros((0, 5), np.uint8), np.zeros((9, 9))):
        with pytest.raises(InputError):
            analyzer.analyze(bad)  # type: ignore[arg-type]


def test_an_engine_of_few_crops_a_call_takes_a_crowd(
    predictor: Predictor, two_faces: Frame, tiny_artifact: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to fix a batch with")
    model = onnx.load(tiny_artifact)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    detector = create_autospec(FaceDetector, spec_set=True, instance=True)
    boxes = [(0, 0, 100, 100), (50, 50, 80, 80), (100, 0, 90, 90), (10, 90, 70, 70), (0, 9, 60, 60)]
    detector.detect.return_value = [Face(box, 0.9) for box in boxes]
    with Predictor(tmp_path / "two.onnx") as narrow:
        found = FaceAnalyzer(narrow, detector).analyze(two_faces)
    expected = FaceAnalyzer(predictor, detector).analyze(two_faces)
    assert [face.box for face in found] == boxes
    assert [face.emotion for face in found] == [face.emotion for face in expected]
