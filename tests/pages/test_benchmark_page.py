"""docs/benchmarks.md, from results that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_results import measured

from fer_bench.measure_accuracy import AccuracyRun
from fer_edge import LABELS, ConfigurationError
from fer_edge.artifacts.record import encode
from fer_edge.system.files import write_json
from pages.__main__ import main
from pages.benchmark_page import BLOCK, Page
from pages.blocks import markers


@pytest.fixture
def page(tmp_path: Path) -> Page:
    opening, closing = markers(BLOCK)
    for name in ("benchmarks.md", "README.md"):
        (tmp_path / name).write_text(f"# Title\n\n{opening}\nbefore\n{closing}\n\nThe end.\n")
    return Page(tmp_path / "benchmarks.md", tmp_path / "README.md", tmp_path / "benchmarks.png")


def test_the_page_and_the_readme_are_written_from_results(
    page: Page, make_run: Any, tmp_path: Path
) -> None:
    run = make_run({"fast": 1.0, "slow": 4.0})
    bare = replace(run.results[1], kind="bare")
    run = replace(run, results=(run.results[0], bare))
    accuracy = AccuracyRun(
        results=(measured("fast", 0.7), measured("other", 0.6, seed=3, sha256="b" * 64))
    )
    page.write(run, accuracy)
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.startswith("# Title")
    assert text.endswith("The end.\n")
    assert "before" not in text
    assert "![Accuracy against latency](benchmarks.png)" in text
    assert f"{accuracy.results[0].accuracy:.2%}" in text
    inverse = 1 / run.ratios[0].p50_ratio
    assert f"{inverse:.3g} [" in text  # the slow one, as a multiple of ours
    assert f"| {run.ratios[0].p50_ratio:.3g} [" in text  # ours over the bare engine
    readme = (tmp_path / "README.md").read_text()
    assert f"{accuracy.results[0].accuracy:.2%}" in readme
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert all(label not in text for label in LABELS)


def test_a_run_of_failures_still_makes_a_page(page: Page, make_run: Any, tmp_path: Path) -> None:
    run = make_run({"a": 1.0}, rounds=3)
    failed = replace(run.results[0], error="it is damaged", p50_ms=None)
    page.write(replace(run, results=(failed,), ratios=()), None)
    assert "a, single-stream: it is damaged" in (tmp_path / "benchmarks.md").read_text()


def test_a_page_without_the_markers_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("# Title\n")
    with pytest.raises(ConfigurationError, match="benchmarks -->"):
        Page(tmp_path / "benchmarks.md", None, tmp_path / "x.png")


def test_peers_with_random_weights_stay_out_of_the_readme(
    page: Page, make_run: Any, tmp_path: Path
) -> None:
    run = make_run({"ours": 1.0, "fer": 2.0, "untrained": 3.0}, rounds=3)
    ours, fer, untrained = run.results
    peers = (replace(fer, kind="peer"), replace(untrained, kind="peer"))
    page.write(replace(run, results=(ours, *peers)), None)
    assert "| untrained |" in (tmp_path / "benchmarks.md").read_text()
    readme = (tmp_path / "README.md").read_text()
    assert "| fer |" in readme
    assert "untrained" not in readme


def test_the_command_writes_a_page_from_results_that_are_there(
    page: Page, make_run: Any, tmp_path: Path
) -> None:
    latency, accuracy = tmp_path / "latency.json", tmp_path / "accuracy.json"
    write_json(latency, encode(make_run({"a": 1.0, "b": 2.0})))
    write_json(accuracy, encode(AccuracyRun(results=(measured("a", 0.7),))))
    arguments = ["benchmarks", "--latency", str(latency), "--accuracy", str(accuracy)]
    arguments += ["--page", str(page.page), "--picture", str(page.picture)]
    assert main([*arguments, "--readme", str(page.readme)]) == 0
    assert "| a | onnxruntime | fp32 |" in (tmp_path / "README.md").read_text()
