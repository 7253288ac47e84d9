"""Several trainings in a row: resumable as one, later ones taught by earlier ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from own_process import start_training

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.assessment import read_report
from fer_train.campaign import load_plan
from fer_train.cli import main
from fer_train.deadline import OUT_OF_TIME
from fer_train.loop import BEST, LAST

Write = Callable[[Path, str, int], Path]

pytestmark = pytest.mark.usefixtures("no_pictures")

PLAN = """\
[[stages]]
name = "first"
recipe = "small.toml"

[[stages]]
name = "second"
recipe = "small.toml"
change = { seed = 1, augmentation = { flip = 0.0 } }

[[stages]]
name = "student"
recipe = "small.toml"
initial = "first"
teachers = ["first", "second"]
"""


@pytest.fixture(scope="module")
def plan(write_recipe: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    write_recipe(folder / "small.toml", "", 1)
    (folder / "plan.toml").write_text(PLAN)
    return folder / "plan.toml"


@pytest.fixture(scope="module")
def command(plan: Path, tiny_fer2013: Path) -> list[str]:
    return ["campaign", "--plan", str(plan), "--data", str(tiny_fer2013), "--out"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert main([*command, str(out), "--json", str(out / "told.json")]) == 0
    return out


def test_every_stage_is_a_run_of_its_own(whole: Path) -> None:
    told = json.loads((whole / "told.json").read_text())
    assert (told["schema"], told["finished"]) == ("fer-train-campaign/1", True)
    reports = told["reports"]
    assert list(reports) == ["first", "second", "student"]
    for name, report in reports.items():
        assert report == json.loads((whole / name / "report.json").read_text())
    assert reports["second"]["recipe"]["seed"] == 1
    assert reports["second"]["recipe"]["augmentation"]["flip"] == 0


def test_a_student_tells_who_taught_it_and_how_good_they_are_together(whole: Path) -> None:
    taught = [read_report(whole / name / "report.json") for name in ("first", "second")]
    history = read_report(whole / "student" / "report.json").history
    assert history is not None
    assert history.teachers == tuple(report.training_run for report in taught)
    assert history.teachers_accuracy is not None
    assert 0 <= history.teachers_accuracy <= 1
    assert history.initial is not None
    assert history.initial.startswith(BEST)


@pytest.mark.long
def test_in_turns_and_killed_between_it_comes_to_the_same_weights(
    whole: Path, command: list[str], tmp_path: Path
) -> None:
    out, codes = tmp_path / "cut", []
    for _ in range(2):
        codes.append(main([*command, str(out), "--minutes", "0"]))
    child = start_training([*command, str(out)])
    while not (out / "second" / LAST).exists():
        assert child.is_alive()
        time.sleep(0.002)
    child.kill()
    child.join()
    finished = (out / "first" / "report.json").read_bytes()
    while not codes or codes[-1] == OUT_OF_TIME:
        codes.append(main([*command, str(out), "--minutes", "0"]))
        assert len(codes) < 99
    assert (codes[0], codes[-1]) == (OUT_OF_TIME, 0)
    assert (out / "first" / "report.json").read_bytes() == finished, "a finished stage ran again"
    for stage in ("first", "second", "student"):
        for file in (BEST, LAST):
            one, other = whole / stage / file, out / stage / file
            assert one.read_bytes() == other.read_bytes(), (stage, file)


def test_teachers_answer_once_for_all_stages_that_they_teach_alike(
    write_recipe: Write, tiny_fer2013: Path, tmp_path: Path
) -> None:
    twice = PLAN + "views = 2\n" + PLAN[PLAN.rindex("[[stages]]") :].replace("student", "other")
    write_recipe(tmp_path / "small.toml", "", 1)
    (tmp_path / "plan.toml").write_text(twice + "views = 2\n")
    out = tmp_path / "out"
    command = ["campaign", "--plan", str(tmp_path / "plan.toml"), "--data", str(tiny_fer2013)]
    command += ["--out", str(out)]
    assert main([*command, "--minutes", "0"]) == OUT_OF_TIME
    assert main(command) == 0
    (answers,) = out.glob("taught-*.safetensors")
    before = answers.stat().st_mtime_ns
    for name in ("student", "other"):
        history = read_report(out / name / "report.json").history
        assert history is not None
        assert len(history.teachers) == 2
    report = (out / "other" / "report.json").read_bytes()
    assert main(command) == 0
    assert (out / "other" / "report.json").read_bytes() == report, "a finished stage ran again"
    assert answers.stat().st_mtime_ns == before


def test_a_stage_that_the_plan_changed_is_not_taken_for_done(
    whole: Path, plan: Path, tiny_fer2013: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (whole / "first" / "report.json").read_bytes()
    changed = tmp_path / "plan.toml"
    (tmp_path / "small.toml").write_text((plan.parent / "small.toml").read_text())
    changed.write_text(
        PLAN.replace(
            'recipe = "small.toml"\n', 'recipe = "small.toml"\nchange = { epochs = 5 }\n', 1
        )
    )
    command = ["campaign", "--plan", str(changed), "--data", str(tiny_fer2013)]
    assert main([*command, "--out", str(whole)]) == 2
    assert "another recipe or other data" in capsys.readouterr().err
    assert (whole / "first" / "report.json").read_bytes() == before


# --- plans


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"should hold \[\[stages\]\] and nothing else"),
        ("stages = 3", r"should hold \[\[stages\]\]"),
        ("stages = [3]", "stage 1 of .*lacks the fields name, recipe"),
        ('[[stages]]\nname = "x"', "lacks the fields recipe"),
        ("seed = 3\n" + PLAN, "nothing else"),
        (PLAN + "seeds = 3", "stage 3 .* unknown fields 'seeds'"),
        (PLAN.replace('"second"', '"first"', 1), "stage 2 .*'first' should be a new name"),
        (PLAN.replace('name = "first"', 'name = "../first"'), "'../first' should be a new name"),
        (PLAN.replace('["first", "second"]', '["third"]'), "'third' is neither .*first, second"),
        (PLAN.replace('["first", "second"]', '"first"'), "teachers should be of type list"),
        (PLAN.replace('"small.toml"', '"none.toml"', 1), "cannot read the recipe .*none.toml"),
        (PLAN.replace("seed = 1", "sed = 1"), "stage 2 .* unknown fields 'sed'"),
        (PLAN.replace("{ seed = 1, augmentation = { flip = 0.0 } }", "7"), "change should be a"),
        ("[[stages]", "cannot read the plan"),
        (f"stages = {'1' * 5000}", "cannot read the plan"),
    ],
)
def test_a_plan_that_does_not_fit_together_is_told(
    text: str, message: str, plan: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text((plan.parent / "small.toml").read_text())
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_plan(tmp_path / "plan.toml")


def test_weights_beside_the_plan_may_teach(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text((plan.parent / "small.toml").read_text())
    (tmp_path / "known.safetensors").touch()
    (tmp_path / "plan.toml").write_text(
        PLAN.replace('["first", "second"]', '["known.safetensors"]')
    )
    student = load_plan(tmp_path / "plan.toml")[-1]
    assert student.teachers == (str(tmp_path / "known.safetensors"),)


@pytest.mark.parametrize("name", ["cpu", "h100", "two-cores"])
def test_the_plans_of_the_repository_fit_together(name: str, root: Path) -> None:
    for stage in load_plan(root / "train" / "campaigns" / f"{name}.toml"):
        spec = ModelSpec(stage.recipe.network, stage.recipe.input)
        with torch.device("meta"):
            build(spec, drop_path=stage.recipe.drop_path)


def test_a_damaged_report_of_a_stage_is_told(
    whole: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = whole / "first" / "report.json"
    before = path.read_bytes()
    path.write_bytes(before[:100])
    try:
        with pytest.raises(ArtifactError, match=r"report\.json is not valid JSON"):
            read_report(path)
        assert main([*command, str(whole)]) == 2
    finally:
        path.write_bytes(before)
    assert "report.json is not valid JSON" in capsys.readouterr().err
    assert checkpoint.read_spec(whole / "first" / BEST)
