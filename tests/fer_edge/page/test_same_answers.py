"""The browser's answers against the library's on two hundred faces of FER2013."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import FaceAnalyzer, FaceDetector, Predictor
from fer_edge.evaluation.fer2013 import load

OpenPage = Callable[..., Any]
Image = npt.NDArray[np.uint8]

FACES = 200
SIDE = 320  # of the search, as the page does it for a camera
BATCH = 25

_OPEN = """async ([base]) => {
  const {LocalEngine} = await import(base + 'engine/local.js');
  const config = await (await fetch(base + 'page.json')).json();
  const model = config.models.find(({precision}) => precision === 'fp32');
  globalThis.engine = await LocalEngine.open(config, model);
}"""

_RUN = """async ([pictures, side]) => {
  const answers = [];
  for (const text of pictures) {
    const bytes = Uint8Array.from(atob(text), (it) => it.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}),
      {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
    answers.push(side ? (await engine.analyze(image, side)).faces : await engine.classify(image));
  }
  return answers;
}"""


@pytest.fixture(scope="module")
def crops(fer2013_archive: Path) -> list[Image]:
    """Faces of the half for selection, 48 x 48 gray, drawn with a seed."""
    images = load(fer2013_archive, "public-test").images
    chosen = np.random.default_rng(8).choice(len(images), FACES, replace=False)
    return [images[index] for index in chosen]


def ask(open_page: OpenPage, address: str, pictures: list[Image], side: int | None) -> list[Any]:
    """What the browser answers for pictures; without a side each is one face already."""
    page = open_page(accept=False)
    page.evaluate(_OPEN, [address])
    answers: list[Any] = []
    for start in range(0, len(pictures), BATCH):
        files = [
            base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
            for picture in pictures[start : start + BATCH]
        ]
        answers += page.evaluate(_RUN, [files, side])
    return answers


@pytest.mark.long
def test_a_crop_has_the_same_probabilities(
    crops: list[Image], open_page: OpenPage, site_address: str
) -> None:
    given = np.array(ask(open_page, site_address, crops, None))
    with Predictor(backend="onnxruntime", precision="fp32") as predictor:
        expected = [answer.probabilities for answer in predictor.predict_batch(crops)]
    np.testing.assert_allclose(given, expected, atol=1e-4)


@pytest.mark.long
def test_a_face_in_a_frame_has_the_same_label(
    crops: list[Image], site: Path, open_page: OpenPage, site_address: str
) -> None:
    frames = []
    for crop in crops:
        frame = np.full((480, 640, 3), crop.mean(), np.uint8)
        large = cv2.resize(crop, (216, 216), interpolation=cv2.INTER_CUBIC)
        frame[130:346, 210:426] = cv2.cvtColor(large, cv2.COLOR_GRAY2BGR)
        frames.append(frame)

    given = ask(open_page, site_address, frames, SIDE)

    labels = json.loads((site / "page.json").read_text())["models"][0]["labels"]
    same = both = 0
    with Predictor(backend="onnxruntime", precision="fp32") as predictor:
        analyzer = FaceAnalyzer(predictor, FaceDetector(max_side=SIDE))
        for frame, seen in zip(frames, given, strict=True):
            found = analyzer.analyze(frame)
            if found and seen:
                both += 1
                label = labels[int(np.argmax(seen[0]["probabilities"]))]
                same += label == found[0].prediction.label
    assert both >= 0.9 * FACES
    assert same >= 0.99 * both, f"{same} of {both}"
