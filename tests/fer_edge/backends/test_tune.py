"""Measuring which backend is fastest here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge import ConfigurationError, EngineError, Predictor
from fer_edge.artifacts.artifact import OPENED_BY
from fer_edge.artifacts.model import Model
from fer_edge.backends import BACKENDS, BackendEntry, BackendOptions, EngineInfo
from fer_edge.backends.base import Backend
from fer_edge.backends.choose_backend import choose_backend
from fer_edge.backends.tune import thread_counts, tune


def add_backend(monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Backend]) -> None:
    """Put a backend that takes ONNX into the table; its engine is numpy."""
    entry = BackendEntry(f"fake_{name}", "Kind", "numpy", "", ("other", "onnx"))
    monkeypatch.setitem(BACKENDS, name, entry)
    monkeypatch.setitem(OPENED_BY, name, entry.formats)
    known = __import__("fer_edge.backends.tune", fromlist=["tuning"])
    real = known.backend_class
    monkeypatch.setattr(
        known, "backend_class", lambda asked: kind if asked == name else real(asked)
    )


@pytest.fixture
def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    for name in set(BACKENDS) - {"onnxruntime"}:
        monkeypatch.delitem(BACKENDS, name)
    monkeypatch.setattr("fer_edge.backends.choose_backend.AUTO_ORDER", ("onnxruntime",))


class Fake(Backend):
    """Answers at once, and counts how many of its kind are open."""

    open_now = 0
    most_open = 0
    threads: list[int | None] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, artifact: Any, options: BackendOptions) -> None:
        from fer_edge.backends.onnxruntime import OnnxRuntimeBackend

        real = OnnxRuntimeBackend(artifact, BackendOptions())
        self.spec = real.spec
        self.engine = EngineInfo("fake", "1", "there", "fp32", options.threads)
        type(self).threads.append(options.threads)
        type(self).open_now += 1
        type(self).most_open = max(self.most_open, self.open_now)

    def infer(self, batch: Any) -> Any:
        return np.zeros((1, 7), np.float32), np.full((1, 7), 1 / 7, np.float32)

    def close(self) -> None:
        type(self).open_now -= 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, only_onnxruntime: None) -> type[Fake]:
    """A backend named fake, faster than any."""

    class Mine(Fake):
        threads: list[int | None] = []  # noqa: RUF012

    add_backend(monkeypatch, "fake", Mine)
    return Mine


def test_every_backend_is_measured_with_every_count_of_threads(
    model_directory: Path, fake: type[Fake]
) -> None:
    found = tune(model_directory, threads=(1, 2), seconds=0.01)
    assert sorted((timing.backend, timing.threads) for timing in found.timings) == [
        ("fake", 1), ("fake", 2), ("onnxruntime", 1), ("onnxruntime", 2)
    ]  # fmt: skip
    times = [timing.p50_ms for timing in found.timings]
    assert times == sorted(times)
    assert (found.precision, found.failures) == ("fp32", ())


def test_rounds_are_interleaved_and_one_engine_is_open_at_a_time(
    model_directory: Path, fake: type[Fake]
) -> None:
    tune(model_directory, threads=(1, 2), seconds=0.01)
    assert fake.threads == [1, 2, 1, 2, 1, 2]
    assert (fake.open_now, fake.most_open) == (0, 1)


def test_auto_takes_the_fastest_from_then_on(model_directory: Path, fake: type[Fake]) -> None:
    assert choose_backend("auto", Model.open(model_directory)).name == "onnxruntime"
    tune(model_directory, threads=(1,), seconds=0.01)
    choice = choose_backend("auto", Model.open(model_directory))
    assert (choice.name, choice.threads) == ("fake", 1)
    assert "fer-edge doctor --tune measured here" in choice.reason


def test_nothing_is_measured_where_it_could_not_be_kept(
    model_directory: Path, fake: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FER_EDGE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="set FER_EDGE_HOME to a folder that can be"):
        tune(model_directory, seconds=0.01)
    assert fake.threads == []


@pytest.mark.usefixtures("only_onnxruntime")
def test_a_predictor_says_that_it_was_measured(model_directory: Path) -> None:
    tune(model_directory, threads=(1,), seconds=0.01)
    with Predictor(model_directory) as fer:
        assert "doctor --tune measured here" in fer.info.reason
        assert fer.info.threads == 1


@pytest.mark.usefixtures("only_onnxruntime")
def test_a_backend_that_fails_is_listed_and_does_not_win(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Fake):
        def __init__(self, artifact: Any, options: BackendOptions) -> None:
            raise OSError("libengine.so: no such file")

    add_backend(monkeypatch, "broken", Broken)
    found = tune(model_directory, threads=(1, 2), seconds=0.01)
    (failure,) = found.failures
    assert (failure.backend, failure.reason) == ("broken", "libengine.so: no such file")
    assert {timing.backend for timing in found.timings} == {"onnxruntime"}


@pytest.mark.usefixtures("only_onnxruntime")
def test_a_backend_whose_answers_are_none_does_not_win(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nonsense(Fake):
        def infer(self, batch: Any) -> Any:
            return np.zeros((1, 7), np.float32), np.full((1, 7), np.nan, np.float32)

    add_backend(monkeypatch, "nonsense", Nonsense)
    (failure,) = tune(model_directory, threads=(1,), seconds=0.01).failures
    assert "its probabilities add up to nan" in failure.reason


@pytest.mark.usefixtures("only_onnxruntime")
def test_where_all_fail_nothing_is_kept(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    def broken(name: str) -> type[Backend]:
        raise OSError(f"{name} is broken")

    monkeypatch.setattr("fer_edge.backends.tune.backend_class", broken)
    with pytest.raises(EngineError, match="no backend can be measured here: onnxruntime: onnx"):
        tune(model_directory, seconds=0.01)
    assert not list((home / "tuning").iterdir())


def test_what_no_backend_runs_is_told(model_directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="no int8 artifact"):
        tune(model_directory, precision="int8")


@pytest.mark.usefixtures("only_onnxruntime")
def test_what_is_kept_names_the_artifact_the_engine_and_the_machine(
    model_directory: Path, home: Path
) -> None:
    found = tune(model_directory, threads=(1,), seconds=0.01)
    (file,) = (home / "tuning").iterdir()
    kept = json.loads(file.read_text())
    assert kept["schema"] == 1
    assert kept["machine"] == found.machine
    (candidate,) = kept["candidates"]
    assert candidate["version"].startswith("onnxruntime")
    manifest = json.loads((model_directory / "manifest.json").read_text())
    assert candidate["sha256"] == manifest["artifacts"][0]["sha256"]


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (64, (1, 2, 4, 8))],
)
def test_counts_of_threads_go_as_far_as_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, counts: tuple[int, ...]
) -> None:
    monkeypatch.setattr("fer_edge.backends.tune.usable_cores", lambda: cores)
    assert thread_counts() == counts
