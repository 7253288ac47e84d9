"""The page of results says what the reports say, and is written by nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_edge.artifacts.record import encode
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_train.assessment import NOT_RECORDED, History, Report, read_report
from release.results import main, results_page, write_results

HISTORY = History(
    recipe="small.toml",
    epochs=60,
    seconds=3 * 3600 + 125,
    hardware=("GPU A", "GPU B"),
    initial=None,
    teachers=("teacher-1", "teacher-2"),
    teachers_accuracy=0.7312,
    ended="2026-11-30",
    votes="votes.csv, sha256 0123456789ab",
)


@pytest.fixture(scope="module")
def old(root: Path) -> Path:
    """A report from before reports told how the training went."""
    return root / "train" / "weights" / "mobilenet.json"


@pytest.fixture
def report(old: Path) -> Report:
    return replace(read_report(old), history=HISTORY, training_run="small-1")


def save(path: Path, report: Report) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(encode(report)))
    return path


def row(page: str, run: str) -> dict[str, str]:
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    found, *variants = (line for line in lines if line[0] == f"`{run}`")
    assert len(variants) == 4
    return dict(zip(lines[0], found, strict=True))


def test_a_row_tells_recipe_seed_hardware_time_and_accuracy(report: Report, tmp_path: Path) -> None:
    page = results_page([report], tmp_path)
    cells = row(page, "small-1")
    accuracy = report.scores.accuracy
    assert cells["recipe"] == "small.toml"
    assert cells["seed"] == "0"
    assert cells["hardware"] == "GPU A; GPU B"
    assert cells["time"] == "3 h 02 min"
    assert cells["public-test"].startswith(f"**{accuracy:.2%}** [")
    assert cells["taught by"] == "teacher-1, teacher-2, together 73.12%"
    assert cells["targets"] == f"votes {report.recipe.votes:.0%}"
    assert cells["starts from"] == "nothing"
    assert cells["well-conditioned"] == "yes"


def test_each_way_to_measure_has_a_row_of_its_own(report: Report, tmp_path: Path) -> None:
    told = replace(report, flip_averaged=replace(report.scores, accuracy=0.5, macro_f1=0.25))
    page = results_page([told], tmp_path)
    alone = report.scores_without_copies
    assert alone is not None
    assert f"| one | without copies | {alone.n} | **{alone.accuracy:.2%}** [" in page
    (both,) = (line for line in page.splitlines() if "| two | all |" in line)
    assert f"| {report.scores.n} | **50.00%** [" in both
    assert both.split(" | ")[-2] == "0.250"


VOTES = "votes.csv, sha256 0123456789ab"


@pytest.mark.parametrize(
    ("history", "share", "column", "told"),
    [
        ({"epochs": 57}, 0.25, "epochs", "57 of 60"),
        ({"epochs": 60}, 0.25, "epochs", "60"),
        ({"teachers": (), "teachers_accuracy": None}, 0.25, "taught by", "nobody"),
        ({"votes": VOTES}, 0.25, "targets", "votes 25%"),
        ({"votes": VOTES}, 0.0, "targets", "labels"),
        ({"votes": None}, 0.25, "targets", "labels"),
        ({"votes": NOT_RECORDED}, 0.25, "targets", "not recorded"),
    ],
)
def test_a_row_tells_how_the_run_went(  # noqa: PLR0917
    history: dict[str, Any], share: float, column: str, told: str, report: Report, tmp_path: Path
) -> None:
    recipe = replace(report.recipe, votes=share, epochs=60)
    learnt = replace(report, recipe=recipe, history=replace(HISTORY, **history))
    assert row(results_page([learnt], tmp_path), "small-1")[column] == told


def test_an_ill_conditioned_run_stands_out(report: Report, tmp_path: Path) -> None:
    ill = replace(report, well_conditioned=False)
    assert row(results_page([ill], tmp_path), "small-1")["well-conditioned"] == "**no**"


def test_a_course_that_was_kept_before_votes_were_is_still_read(
    report: Report, tmp_path: Path
) -> None:
    path = save(tmp_path / "old.json", report)
    older = json.loads(path.read_text())
    del older["history"]["votes"]
    path.write_text(json.dumps(older))
    read = read_report(path)
    assert read.history == replace(HISTORY, votes=NOT_RECORDED)
    assert row(results_page([read], tmp_path), "small-1")["targets"] == "not recorded"


def test_a_report_of_another_schema_says_how_to_get_one_of_this(
    report: Report, tmp_path: Path
) -> None:
    path = save(tmp_path / "old.json", replace(report, schema="fer-train/1"))
    with pytest.raises(ArtifactError, match=r"\(fer-train/1, .*run the fer-train command"):
        read_report(path)


def test_runs_are_kept_and_the_best_comes_first(report: Report, tmp_path: Path) -> None:
    better = replace(report.scores, accuracy=0.9)
    save(tmp_path / "runs" / "a" / "report.json", report)
    save(
        tmp_path / "campaign" / "b" / "report.json",
        replace(report, training_run="b", scores=better),
    )
    kept, page = tmp_path / "kept", tmp_path / "results.md"
    where = ["--keep", str(kept), "--page", str(page)]
    assert main([str(tmp_path / "runs"), *where]) == 0
    assert main([str(tmp_path / "campaign"), *where]) == 0
    text = page.read_text()
    assert text.index("`b`") < text.index("`small-1`")
    assert {path.name for path in kept.iterdir()} == {"b.json", "small-1.json"}
    assert main([*where]) == 0
    assert page.read_text() == text


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "", "a/b", "x" * 300])
def test_a_report_cannot_be_kept_outside_of_the_folder(
    name: str, report: Report, tmp_path: Path
) -> None:
    value = {**encode(report), "training_run": name}
    path = tmp_path / "run" / "report.json"
    path.parent.mkdir()
    path.write_text(json.dumps(value))
    kept, page = tmp_path / "below" / "kept", tmp_path / "page.md"
    with pytest.raises(ArtifactError, match=r"training_run should be at most 128 letters"):
        write_results([path], kept=kept, page=page)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_report_cannot_break_its_row(report: Report, tmp_path: Path) -> None:
    told = replace(report, history=replace(HISTORY, recipe="a|b\n\n# c\ud800"))
    path, page = save(tmp_path / "report.json", told), tmp_path / "page.md"
    write_results([path], kept=tmp_path / "kept", page=page)
    assert row(page.read_text(), "small-1")["recipe"] == "a/b # c\\ud800"


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no report\.json in"):
        write_results([tmp_path], kept=tmp_path, page=tmp_path / "x.md")
    with pytest.raises(ArtifactError, match="there is no report at"):
        write_results([tmp_path / "none.json"], kept=tmp_path, page=tmp_path / "x.md")


def test_the_page_of_the_repository_is_what_the_command_writes(root: Path, tmp_path: Path) -> None:
    kept, page = root / "train" / "results", tmp_path / "results.md"
    reports = write_results([], kept=kept, page=page)
    assert reports
    written = page.read_text().replace(kept.as_posix(), "train/results")
    assert written == (root / "docs" / "results.md").read_text()
