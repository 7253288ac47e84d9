"""What the commands around the runtime read: frames, earlier results, exports and repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from damaged_files import damaged_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fer_edge import FaceDetector, FerEdgeError, InputError

FUZZ = settings(settings.get_profile("fuzz"))


@pytest.fixture(scope="module", params=["yunet", "haar"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "haar" and not hasattr(cv2, "CascadeClassifier"):
        pytest.skip(f"OpenCV {cv2.__version__} has no Haar cascade")
    return FaceDetector(request.param)


@FUZZ
@given(
    frame=st.one_of(
        hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=50)),
        hnp.arrays(np.uint8, st.tuples(st.integers(0, 90), st.integers(0, 90), st.just(3))),
        hnp.arrays(np.float32, (20, 20)),
        st.none(),
        st.text(max_size=3),
    )
)
def test_faces_are_sought_in_any_frame_or_it_is_refused(
    survive: Any, detector: FaceDetector, frame: Any
) -> None:
    found = survive(detector.detect, frame)
    if isinstance(found, FerEdgeError):
        assert isinstance(found, InputError)
    else:
        assert all(face.score >= 0 for face in found)


@FUZZ
@given(data=st.data())
def test_an_export_starts_from_any_onnx_or_refuses_it(
    survive: Any, tiny_artifact: Path, tmp_path_factory: Any, data: st.DataObject
) -> None:
    source = pytest.importorskip("fer_export.source", reason="no torch to export with")
    path = tmp_path_factory.getbasetemp() / "core.onnx"
    path.write_bytes(data.draw(damaged_graph(tiny_artifact.read_bytes())))
    survive(source.from_onnx, path)
