"""The Ray example of docs/serving.md: what is run, on which pictures, and how it is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fer_edge import FaceAnalyzer
from fer_edge.errors import ConfigurationError, GateError
from pages.blocks import MeasuredBlock

bulk = pytest.importorskip("pages.bulk", reason="no scikit-image, which has the portrait")


def test_the_page_has_the_example_and_the_place_for_its_figure(root: Path) -> None:
    page = root / "docs" / "serving.md"
    compile(bulk.example(page), "docs/serving.md", "exec")
    MeasuredBlock(page, "bulk")


def test_a_page_without_the_example_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python notest\nimport os\n```\n")
    with pytest.raises(ConfigurationError, match="0 blocks that import ray"):
        bulk.example(page)


def test_each_picture_has_one_face(tmp_path: Path) -> None:
    bulk.write_pictures(tmp_path / "pictures", 3)
    with FaceAnalyzer() as faces:
        found = [len(faces.analyze(path)) for path in (tmp_path / "pictures").iterdir()]
    assert found == [1, 1, 1]


@pytest.mark.parametrize("emotions", [[["happy"]], [["happy"], []], [["happy"], ["sad", "sad"]]])
def test_answers_that_lack_a_face_fail(tmp_path: Path, emotions: list[list[str]]) -> None:
    lines = [json.dumps({"path": str(n), "emotions": it}) for n, it in enumerate(emotions)]
    (tmp_path / "part.json").write_text("\n".join(lines))
    with pytest.raises(GateError, match="one face in each of 2 pictures"):
        bulk.check_answers(tmp_path, 2)


def test_answers_with_one_face_each_pass(tmp_path: Path) -> None:
    for number in range(2):
        row = {"path": str(number), "emotions": ["happy"]}
        (tmp_path / f"{number}.json").write_text(json.dumps(row) + "\n")
    bulk.check_answers(tmp_path, 2)
