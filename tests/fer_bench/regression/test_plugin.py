"""The plugin: its options, what it says at the end, and two runs as a team would start them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import cv2
import numpy as np
import onnx
import pytest
from changed_onnx import change, copy_of

from fer_bench.regression import plugin, pytest_run
from fer_bench.regression.latency_ratio import PairedLatency
from fer_bench.regression.outcome import ChangedPicture, Outcome, Row
from fer_bench.regression.pytest_run import SuiteHooks, report
from fer_bench.regression.suite import Result, Suite
from fer_edge.errors import FerEdgeError

PLUGIN = "fer_bench.regression.plugin"
BACKEND = ("--fer-backend", "onnxruntime")
BASELINE = Path(__file__).with_name("default.json")

ROOT = Path(__file__).parents[3]
SOURCES = os.pathsep.join(
    str(ROOT / folder) for folder in ("", "train", "calib", "export", "benchmarks")
)
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), SOURCES])}


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in ``folder``, this repository's own plugin settings left out."""
    without = ("-p", "no:cacheprovider", "-p", "no:schemathesis")  # it takes seconds to import
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, *without]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody else, with a test of its own."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    return folder


# ---- two runs


def test_a_baseline_is_recorded_and_then_held(team: Path, workbench: Any, sound: Path) -> None:
    options = (f"--fer-model={sound}", f"--fer-data={workbench.data}", *BACKEND)
    written = run(team, *options, "--fer-update-baseline")
    assert written.returncode == 0, written.stdout
    baseline = team / "fer_baselines" / "sound.json"
    assert f"wrote the baseline {baseline}" in written.stdout
    cells = json.loads(baseline.read_text())["cells"]
    assert list(cells) == ["model.int8.onnx[onnxruntime]", "model.onnx[onnxruntime]"]
    again = run(team, *options, "-v")
    assert again.returncode == 0, again.stdout
    assert "fer::model.int8.onnx[onnxruntime]::accuracy PASSED" in again.stdout
    assert "test_theirs.py::test_theirs PASSED" in again.stdout
    assert "fer::data PASSED" in again.stdout


def test_a_failure_shows_a_table_and_draws_what_changed(
    team: Path, workbench: Any, tmp_path: Path
) -> None:
    def prefer_happy(model: onnx.ModelProto) -> None:
        change(model, "bias", lambda values: values + np.eye(7)[3] * 2)

    broken = workbench.directory("broken", edit=prefer_happy)
    options = (f"--fer-model={broken}", f"--fer-data={workbench.data}", *BACKEND)
    out = tmp_path / "out"
    where = (f"--fer-baseline={workbench.baseline}", f"--fer-out={out}")
    done = run(team, *options, *where, "-k", "accuracy")
    assert done.returncode == 1
    assert "FAILED fer::model.onnx[onnxruntime]::accuracy" in done.stdout
    assert "accuracy on 280 pictures" in done.stdout
    assert "Traceback" not in done.stdout
    assert "pytest_run.py" not in done.stdout
    assert "test/sad/PublicTest_" in done.stdout
    (sheet,) = out.iterdir()
    assert sheet.name == "fer_model.onnx_onnxruntime_accuracy.png"
    assert f"drawn in {sheet}" in done.stdout
    drawn = cv2.imread(str(sheet))
    assert drawn.shape[1] == 1200


# ---- recording


def recording(model: Path, baseline: Path) -> Result:
    """Record a baseline; the one result."""
    (result,) = Suite(model, baseline, backends=["onnxruntime"], update=True).results()
    return result


def test_a_damaged_file_is_not_recorded(workbench: Any, tmp_path: Path) -> None:
    broken = workbench.directory("unrecordable", int8=workbench.int8)
    (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes() + b"\0")
    result = recording(broken, tmp_path / "b.json")
    assert result.failed
    assert result.reason.startswith("ArtifactError: ")
    assert not (tmp_path / "b.json").exists()


def test_a_fault_is_not_recorded_as_a_baseline(workbench: Any, tmp_path: Path) -> None:
    other = copy_of(workbench.int8)
    change(other, "bias", lambda values: values[::-1] * 4)
    result = recording(workbench.directory("faulty", int8=other), tmp_path / "b.json")
    assert result.failed
    assert "stays as it was: model.int8.onnx[onnxruntime]::golden does not hold" in result.reason
    assert "max |Δp|" in result.reason
    assert not (tmp_path / "b.json").exists()


def test_a_recording_that_fails_leaves_the_baseline_as_it_was(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise MemoryError("no room to measure in")

    monkeypatch.setattr("fer_bench.regression.subject.Subject.measured", fails)
    with pytest.raises(MemoryError, match="no room to measure in"):
        recording(sound, tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def test_a_baseline_that_cannot_be_written_is_told(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file, where a folder should be")
    last = recording(sound, tmp_path / "folder" / "b.json")
    assert last.failed
    assert f"cannot write the baseline {tmp_path / 'folder' / 'b.json'}: " in last.reason
    assert "give another --fer-baseline" in last.reason


# ---- what stands at the end


def summary(suite: Suite, *, listed: bool = False) -> tuple[str, int]:
    """What is told at the end of a run that took none of the steps, and its exit status."""
    hooks = SuiteHooks(suite)
    session = SimpleNamespace(
        config=SimpleNamespace(getoption=lambda _: listed), exitstatus=pytest.ExitCode.OK
    )
    hooks.pytest_sessionfinish(session)  # type: ignore[arg-type]
    terminal = create_autospec(pytest.TerminalReporter, instance=True, spec_set=True)
    hooks.pytest_terminal_summary(terminal)
    lines = [call.args[0] for call in terminal.write_line.call_args_list]
    return "\n".join(lines), session.exitstatus


def test_what_is_not_tested_here_stands_in_the_summary() -> None:
    text, code = summary(Suite("default", BASELINE, backends=["onnxruntime"]))
    assert "fer::model.int8.openvino.xml[openvino]::tested is left out: its backend" in text
    assert "fer::data is left out: the baseline has accuracies; without --fer-data" in text
    assert code == pytest.ExitCode.OK


def test_a_recording_that_wrote_nothing_fails_unless_it_was_only_listed(
    sound: Path, tmp_path: Path
) -> None:
    suite = Suite(sound, tmp_path / "b.json", backends=["onnxruntime"], update=True)
    text, code = summary(suite)
    assert (code, "no baseline was written" in text) == (pytest.ExitCode.TESTS_FAILED, True)
    text, code = summary(suite, listed=True)
    assert (code, "no baseline was written" in text) == (pytest.ExitCode.OK, False)


def test_a_latency_that_a_busy_machine_left_out_stands_in_the_summary(
    sound: Path, tmp_path: Path, timed: dict[str, PairedLatency], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timed, "now", PairedLatency(1.0, (0.9, 1.1), ("others run",)))
    suite = Suite(sound, tmp_path / "b.json", backends=["onnxruntime"], update=True)
    suite.results()
    text, code = summary(suite)
    assert "the latency of model.int8.onnx[onnxruntime] is not in it" in text
    assert code == pytest.ExitCode.OK


def test_a_report_names_some_of_the_pictures_and_counts_the_rest() -> None:
    one = ChangedPicture("a.png", np.zeros((48, 48), np.uint8), "happy 90%, now sad 60%", True)
    outcome = Outcome((Row("accuracy", "70%", "60%", "≥ 69%", holds=False),), (one,) * 25)
    text = report(Result("fer::m::accuracy", True, outcome), None)
    assert text.startswith("fer::m::accuracy\n")
    assert text.count("worse   a.png: happy 90%, now sad 60%") == 20
    assert "… and 5 more" in text
    assert text.endswith("(--fer-out DIR draws them)")


# ---- options


@pytest.mark.parametrize(
    ("chosen", "ini", "path"),
    [
        ("mine.json", "/team/pytest.ini", "mine.json"),
        (None, "/team/pytest.ini", "/team/fer_baselines/sound.json"),
        (None, None, "/here/fer_baselines/sound.json"),
    ],
    ids=["named", "beside the settings", "in the current folder"],
)
def test_where_a_baseline_is(chosen: str | None, ini: str | None, path: str) -> None:
    config = SimpleNamespace(
        getoption=lambda _: chosen,
        inipath=Path(ini) if ini else None,
        invocation_params=SimpleNamespace(dir=Path("/here")),
    )
    assert plugin.baseline_path(config, "sound.json") == Path(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fer-data", "x.zip"), "--fer-data needs --fer-model"),
        (("--fer-other-data",), "--fer-other-data needs --fer-model"),
        (("--fer-model", "nowhere"), "there is no model at nowhere"),
        (
            ("--fer-model", "SOUND", "--fer-baseline", "no.json"),
            "there is no baseline at no.json; record one with --fer-update-b",
        ),
    ],
)
def test_what_cannot_be_met_is_told_before_any_test_runs(
    arguments: tuple[str, ...],
    message: str,
    sound: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())  # pytest adds folders of conftest.py to it
    words = [str(sound) if word == "SOUND" else word for word in arguments]
    own = ["-c", os.devnull, "--rootdir", str(sound), str(sound)]
    assert pytest.main(["-p", PLUGIN, "-p", "no:cacheprovider", *own, *words]) == 4
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"other_data": True}, "other pictures are allowed, but none are given; add --fer-data"),
        ({"data": "nowhere.zip"}, "there is no FER2013 at nowhere.zip"),
        ({"split": "half"}, "unknown split 'half'; there are train"),
        ({"backends": ["tflite"]}, "unknown backend tflite; there are"),
    ],
)
def test_a_suite_refuses_what_it_cannot_do(settings: Any, message: str, sound: Path) -> None:
    with pytest.raises(FerEdgeError, match=message):
        Suite(sound, BASELINE, **settings)


def test_the_plugin_costs_nothing_where_it_is_not_asked_for() -> None:
    code = (
        f"import sys, pytest, {PLUGIN} as plugin\n"
        "given = {'numpy', 'cv2', 'onnxruntime', 'fer_edge'} & sys.modules.keys()\n"
        "plugin.pytest_configure(type('Config', (), {'addinivalue_line': lambda *_: None,\n"
        "    'option': type('Option', (), {})()})())\n"
        "assert not {'numpy', 'cv2', 'onnxruntime', 'fer_edge'} & sys.modules.keys(), given"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **ENVIRONMENT}, check=True)


@pytest.mark.parametrize("module", [plugin, pytest_run], ids=lambda module: module.__name__)
def test_an_old_pytest_can_load_it(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no stash, and no hooks but those of pluggy before 1.2."""

    def hookimpl(*, hookwrapper: bool = False, tryfirst: bool = False) -> Any:
        return lambda function: function

    monkeypatch.setattr(pytest, "hookimpl", hookimpl)
    for lacking in ("Stash", "StashKey"):
        monkeypatch.delattr(pytest, lacking)
    assert module.__file__ is not None
    runpy.run_path(module.__file__)
