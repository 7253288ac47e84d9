"""A training as one call: what it writes, in which order, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_training import SMALL

from fer_edge.system.files import sha256_of
from fer_train.assessment import read_report
from fer_train.loop import BEST
from fer_train.pipeline import REPORT, train_model

pytestmark = pytest.mark.usefixtures("no_pictures")

RECIPE = replace(SMALL, epochs=1)

VOTES = """\
file,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
Training_00000.png,4,6,0,0,0,0,0,0,0,0
"""


def test_a_run_that_was_cut_off_at_its_pictures_has_no_report_yet(
    tiny_fer2013: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fer_train.pipeline.draw_errors", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train_model(RECIPE, tiny_fer2013, tmp_path)
    assert (tmp_path / BEST).exists()
    assert not (tmp_path / REPORT).exists()
    assert train_model(RECIPE, tiny_fer2013, tmp_path).report == read_report(tmp_path / REPORT)


def test_the_report_tells_which_votes_were_given(tiny_fer2013: Path, tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text(VOTES)
    for given, told in ((votes, f"votes.csv, sha256 {sha256_of(votes)[:12]}"), (None, None)):
        report = train_model(RECIPE, tiny_fer2013, tmp_path / str(told), votes=given).report
        assert report is not None
        assert report.history is not None
        assert report.history.votes == told
