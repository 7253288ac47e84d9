"""Results side by side, the picture's dots, and what changed since a baseline."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
from made_results import measured
from matplotlib.axes import Axes

from fer_bench.cli import main
from fer_bench.comparison import (
    Changes,
    Collected,
    accuracy_changes,
    collect,
    comparison_csv,
    dots,
    latency_changes,
    machine_changes,
    pareto_front,
)
from fer_bench.measure_accuracy import AccuracyFailure, AccuracyRun
from fer_bench.plot import draw_plot
from fer_edge import ConfigurationError
from fer_edge.artifacts.record import encode
from fer_edge.system.files import write_json


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1.0, 0.6), (2.0, 0.7), (3.0, 0.65)], [True, True, False]),
        ([(1.0, 0.6), (1.0, 0.7)], [False, True]),
        ([(1.0, 0.6), (1.0, 0.6)], [True, True]),
        ([(1.0, None), (5.0, 0.5)], [False, True]),
        ([], []),
    ],
)
def test_the_front_holds_what_nothing_beats(
    points: list[tuple[float, float | None]], front: list[bool]
) -> None:
    assert pareto_front(points) == front


def test_a_dot_is_the_fastest_row_with_the_accuracy_of_its_file(make_run: Any) -> None:
    run = make_run({"m": 1.0})
    (row,) = run.results
    slower = replace(row, threads=2, p50_ms=row.p50_ms * 3)
    batch = replace(row, batch=8, p50_ms=0.1)
    bare = replace(row, kind="bare", p50_ms=0.1)
    found = Collected([replace(run, results=(slower, row, batch, bare))], [measured("m", 0.7)])
    (dot,) = dots(found)
    assert dot.row == row
    assert dot.accuracy == measured("m", 0.7).accuracy
    assert dot.on_front


@pytest.mark.parametrize(
    "other", [{"sha256": "b" * 64}, {"backend": "openvino"}, {"inference_precision": "bf16"}]
)
def test_accuracy_of_another_file_engine_or_precision_is_not_its_own(
    make_run: Any, other: dict[str, str]
) -> None:
    run = make_run({"m": 1.0})
    (dot,) = dots(Collected([run], [measured("m", 0.7, **other)]))
    assert (dot.accuracy, dot.on_front) == (None, False)


def test_a_planted_slowdown_is_found_and_noise_is_not(make_run: Any) -> None:
    old = make_run({"a": 1.0, "b": 2.0, "c": 3.0}, seed=1)
    new = make_run({"a": 1.0, "b": 2.3, "c": 2.5}, seed=2)
    changes = {c.name.split(",")[0]: c for c in latency_changes(old, new)}
    assert changes["b"].worse
    assert changes["b"].change.ratio == pytest.approx(1.15, rel=0.03)
    assert not changes["a"].change.beyond_noise
    assert changes["c"].change.beyond_noise  # faster: a change, not for the worse
    assert not changes["c"].worse
    assert Changes(tuple(changes.values()), ()).worse
    assert not Changes((changes["a"], changes["c"]), ()).worse


def test_the_level_holds_for_all_rows_together(make_run: Any) -> None:
    old, new = make_run({"a": 1.0}, seed=1), make_run({"a": 1.0}, seed=2)
    many = [replace(run, results=run.results * 9) for run in (old, new)]
    renamed = [
        replace(run, results=tuple(replace(r, threads=i) for i, r in enumerate(run.results)))
        for run in many
    ]
    alone, together = latency_changes(old, new)[0], latency_changes(*renamed)[0]
    assert together.change.interval[1] > alone.change.interval[1]
    assert together.change.interval[0] < alone.change.interval[0]


def test_offline_less_throughput_is_worse(make_run: Any) -> None:
    def offline(run: Any) -> Any:
        return replace(run, results=tuple(replace(r, scenario="offline") for r in run.results))

    old, new = offline(make_run({"a": 1.0}, seed=1)), offline(make_run({"a": 2.0}, seed=2))
    (change,) = latency_changes(old, new)
    assert (change.what, change.worse) == ("crops per s", True)
    (back,) = latency_changes(new, old)
    assert not back.worse
    assert back.change.beyond_noise


def test_candidates_of_one_run_alone_are_left_out(make_run: Any) -> None:
    assert [c.name.split(",")[0] for c in latency_changes(
        make_run({"a": 1.0, "old": 1.0}), make_run({"a": 1.0, "new": 1.0})
    )] == ["a"]  # fmt: skip


def test_accuracy_is_compared_picture_by_picture() -> None:
    old, same, worse = measured("m", 0.8), measured("m", 0.8), measured("m", 0.6, seed=2)
    (test,) = accuracy_changes([old], [same])
    assert (test.p_value, test.difference) == (1.0, 0.0)
    (test,) = accuracy_changes([old], [worse])
    assert test.difference == pytest.approx(worse.accuracy - old.accuracy)
    assert test.p_value < 1e-5
    assert Changes((), (test,)).worse


def test_accuracy_on_other_pictures_is_not_compared() -> None:
    old = measured("m", 0.8)
    assert accuracy_changes([old], [replace(old, data_sha256="other")]) == []
    with pytest.raises(ConfigurationError, match="are damaged"):
        accuracy_changes([old], [replace(old, right="00")])


def test_another_machine_is_told(make_run: Any) -> None:
    run = make_run({"a": 1.0}, rounds=3)
    other = replace(run, environment=replace(run.environment, python="CPython 3.99"))
    (line,) = machine_changes(run, other)
    assert line.startswith("python: ")
    assert line.endswith("CPython 3.99")


def test_the_csv_has_a_line_per_row(make_run: Any) -> None:
    run = make_run({"a": 1.0, "b": 2.0}, rounds=3)
    result = measured("a", 0.7)
    rows = list(csv.DictReader(io.StringIO(comparison_csv(Collected([run], [result])))))
    assert [row["model"] for row in rows] == ["a", "b"]
    assert float(rows[0]["p50_ms"]) == run.results[0].p50_ms
    assert float(rows[0]["accuracy"]) == result.accuracy
    assert float(rows[0]["inference_ms"]) == 0.7
    assert "rounds" not in rows[0]


# ---- the command


@pytest.fixture
def files(make_run: Any, tmp_path: Path) -> dict[str, Path]:
    """Results in files: a run, a slower one of the same candidates, and accuracy."""
    runs = {
        "old": make_run({"a": 1.0, "b": 2.0}, seed=1),
        "same": make_run({"a": 1.0, "b": 2.0}, seed=2),
        "slow": make_run({"a": 1.5, "b": 2.0}, seed=3),
        "other": make_run({"z": 1.0}, seed=3),
        "accuracy": AccuracyRun(results=(measured("a", 0.7),)),
    }
    paths = {name: tmp_path / f"{name}.json" for name in runs}
    for name, run in runs.items():
        write_json(paths[name], encode(run))
    return paths


def test_a_table_a_picture_and_a_csv_come_of_several_files(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {name: tmp_path / f"out.{name}" for name in ("csv", "png", "markdown", "json")}
    options = [part for name, path in outputs.items() for part in (f"--{name}", str(path))]
    assert main(["compare", str(files["old"]), str(files["accuracy"]), *options]) == 0
    shown = capsys.readouterr().out
    accuracy = f"{measured('a', 0.7).accuracy:.2%}"
    lines = shown.splitlines()
    assert " ".join(lines[0].split()) == "model runs on p50 ms [95 %] crops/s accuracy"
    assert lines[1].startswith("a *  ")
    assert lines[1].endswith(accuracy)
    assert "| **a** | onnxruntime | fp32 | 1 | 1 | single-stream |" in (
        outputs["markdown"].read_text()
    )
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")
    assert len(outputs["csv"].read_text().splitlines()) == 3
    value = json.loads(outputs["json"].read_text())
    assert value["schema"] == "fer-bench-compare/1"
    assert [dot["on_front"] for dot in value["dots"]] == [True, False]


def test_a_slowdown_is_exit_code_1_where_it_counts(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    against = ["--baseline", str(files["old"])]
    assert main(["compare", str(files["slow"]), *against]) == 0
    assert "**slower**" in capsys.readouterr().out
    assert main(["compare", str(files["slow"]), *against, "--strict"]) == 1
    assert main(["compare", str(files["same"]), *against, "--strict"]) == 0
    assert "**slower**" not in capsys.readouterr().out.split("verdict")[-1]


def test_what_fails_where_it_ran_before_is_for_the_worse(
    files: dict[str, Path], make_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"a": 1.0, "b": 2.0}, seed=2)
    failed = replace(run.results[0], error="it is damaged", p50_ms=None, precision=None)
    changed = replace(run, results=(failed, run.results[1]), ratios=())
    write_json(files["same"], encode(changed))
    against = ["--baseline", str(files["old"]), "--strict"]
    assert main(["compare", str(files["same"]), *against]) == 1
    assert "measured in the baseline, and now: it is damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [("strange", "schema 'fer-bench-latency/0'"), ("other", "no candidate in common")],
)
def test_a_baseline_of_another_schema_or_candidate_is_a_clear_error(
    files: dict[str, Path], baseline: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files["strange"] = files["old"].with_name("strange.json")
    files["strange"].write_text('{"schema": "fer-bench-latency/0", "results": []}')
    assert main(["compare", str(files["old"]), "--baseline", str(files[baseline])]) == 2
    assert reason in capsys.readouterr().err


def test_without_accuracies_latency_is_drawn_with_its_intervals(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run({"a": 1.0, "b": 2.0})
    drawn: list[tuple[float, float, float]] = []
    errorbar = Axes.errorbar

    def recorded(axes: Axes, x: float, y: float, **settings: Any) -> Any:
        ((low,), (high,)) = settings["xerr"]
        drawn.append((x, x - low, x + high))
        return errorbar(axes, x, y, **settings)

    monkeypatch.setattr(Axes, "errorbar", recorded)
    draw_plot(dots(Collected([run])), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert drawn == [
        pytest.approx((row.p50_ms, *row.p50_ci95)) for row in run.results if row.p50_ci95
    ]
    assert len(drawn) == 2


def test_a_warning_that_the_machine_was_busy_is_kept(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"a": 1.0})
    noisy = replace(run, noise=replace(run.noise, quiet=False, findings=("others took 60%",)))
    write_json(tmp_path / "noisy.json", encode(noisy))
    files = {name: tmp_path / f"out.{name}" for name in ("json", "markdown")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert main(["compare", str(tmp_path / "noisy.json"), *options]) == 0
    assert "this machine was not quiet" in capsys.readouterr().err
    assert all("others took 60%" in path.read_text() for path in files.values())


def test_what_no_table_shows_is_told_below(
    make_run: Any, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"a": 1.0})
    noted = replace(run.results[0], notes=("few queries",))
    cut = replace(run, results=(noted,), interrupted=True, rounds=4)
    results = (measured("b", 0.7, backend="torch"),)
    failures = (AccuracyFailure("c", "it is damaged"),)
    write_json(files["same"], encode(cut))
    write_json(files["accuracy"], encode(AccuracyRun(results=results, failures=failures)))
    markdown = tmp_path / "out.md"
    given = [str(files["same"]), str(files["accuracy"]), "--markdown", str(markdown)]
    assert main(["compare", *given]) == 0
    for text in (capsys.readouterr().out, markdown.read_text()):
        for line in (
            "- accuracy of c: it is damaged",
            f"- b, torch, fp32: {results[0].accuracy:.2%} on public-test; no latency",
            "- a, onnxruntime, fp32: few queries",
            "- a run was interrupted after 4 rounds",
        ):
            assert line in text


class WithoutMatplotlib(MetaPathFinder):
    """An environment in which matplotlib is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.split(".", maxsplit=1)[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_matplotlib_the_table_and_the_csv_are_there(
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [WithoutMatplotlib(), *sys.meta_path])
    csv_file = tmp_path / "out.csv"
    options = ["--csv", str(csv_file), "--png", str(tmp_path / "x.png")]
    assert main(["compare", str(files["old"]), *options]) == 3
    printed = capsys.readouterr()
    assert printed.out.startswith("model  runs on")
    assert "fer-edge[bench]" in printed.err
    assert len(csv_file.read_text().splitlines()) == 3
    assert not (tmp_path / "x.png").exists()


def test_nothing_is_drawn_of_accuracy_alone(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png = tmp_path / "x.png"
    assert main(["compare", str(files["accuracy"]), "--png", str(png)]) == 2
    printed = capsys.readouterr()
    assert "no single-stream latency" in printed.err
    assert "| a | onnxruntime | fp32 |" in printed.out
    assert main(["compare", str(files["accuracy"])]) == 0
    assert capsys.readouterr().out == printed.out


def test_files_are_told_apart_by_their_schema(files: dict[str, Path]) -> None:
    found = collect([files["old"], files["accuracy"]])
    assert (len(found.latency), len(found.accuracy), len(found.runs)) == (2, 1, 1)
    assert found.accuracy[0] == measured("a", 0.7)
