"""Only better weights take the place of those that are packaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from small_training import write_noise

from fer_edge import LABELS
from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system import files
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.assessment import Report, assess, read_report
from fer_train.data import prepare
from fer_train.journal import Epoch
from fer_train.presets import change, preset
from release.promote import main, promote

SPEC = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48))
EPOCH = Epoch(1, 2.0, 0.5, 1e-3, 100.0, 0.5, 1.5, 12.5, "a CPU")
COUNTS = (1, 1, 1, 12, 4, 1, 1)
"""Public-test pictures of each class; the fourth is happy, the fifth sad."""

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that always says happy is right more often than one that says sad."""
    path = tmp_path_factory.mktemp("data") / "noise.zip"
    return write_noise(path, lambda usage, label: 2 if usage == "Training" else COUNTS[label])


def always(answer: str, path: Path, spec: ModelSpec = SPEC, scale: float = 1.0) -> Path:
    """Write a checkpoint that gives the same answer to every picture."""
    torch.manual_seed(0)
    network = build(spec)
    with torch.no_grad():
        network.get_parameter("classifier.weight").zero_()
        network.get_parameter("classifier.bias").copy_(
            torch.tensor([scale * (label == answer) for label in LABELS])
        )
    path.parent.mkdir(exist_ok=True)
    checkpoint.save(path, network.state_dict(), spec)
    return path


@pytest.fixture(scope="module")
def report(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    spec = replace(SPEC, provenance=Provenance(training_run="any"))
    path = always("sad", tmp_path_factory.mktemp("any") / "best.safetensors", spec)
    recipe = change(preset("mobilenet"), {"model": "small"}, "test")
    return assess(path, recipe, prepare(data))[0]


@pytest.fixture
def run(report: Report, tmp_path: Path) -> MakeRun:
    """Make the folder of a run whose network always gives the same answer."""

    def make(name: str, answer: str, spec: ModelSpec = SPEC, scale: float = 1.0) -> Path:
        out, spec = tmp_path / name, replace(spec, provenance=Provenance(training_run=name))
        always(answer, out / "best.safetensors", spec, scale)
        (out / "metrics.jsonl").write_text(json.dumps(asdict(replace(EPOCH, hardware=name))) + "\n")
        told = encode(replace(report, training_run=name))
        (out / "report.json").write_text(json.dumps(told))
        return out

    return make


def contents(folder: Path) -> dict[str, bytes]:
    """What a reader finds, at any depth."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_first_weights_take_the_place(run: MakeRun, data: Path, tmp_path: Path) -> None:
    decided = promote(run("first", "sad"), data, tmp_path / "weights")
    assert decided.promoted
    assert decided.difference is None
    assert decided.accuracy == 4 / 21
    assert set(contents(tmp_path / "weights")) == {
        "small.safetensors",
        "small.json",
        "small.metrics.jsonl",
    }


def test_better_weights_replace_worse_ones_and_never_the_other_way(
    run: MakeRun, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    good, bad = run("good", "happy"), run("bad", "sad")
    options = ["--data", str(data), "--weights", str(weights)]
    assert main([str(bad), *options]) == 0
    assert main([str(good), *options, "--json", str(tmp_path / "told.json")]) == 0
    told = capsys.readouterr().out
    assert json.loads((tmp_path / "told.json").read_text())["schema"] == "fer-train-promotion/2"
    assert "12 pictures are right only now, 4 only before, of 21; McNemar p = 0.077" in told
    kept = weights / "small.safetensors"
    assert f"fer-export --weights {kept} --out DIR --data {data}" in told
    assert checkpoint.read_spec(weights / "small.safetensors").provenance.training_run == "good"
    before = contents(weights)
    for again in (bad, good):
        assert main([str(again), *options, "--force"]) == 1
        assert "it is not better" in capsys.readouterr().err
    assert contents(weights) == before


def test_an_ill_conditioned_network_is_refused_even_if_it_is_forced(
    run: MakeRun, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    promote(run("bad", "sad"), data, weights)
    before, hot = contents(weights), run("hot", "happy", scale=100.0)
    for force in (False, True):
        decided = promote(hot, data, weights, force=force)
        assert not decided.promoted
        assert "ill-conditioned: logits up to 100" in decided.refusals[0]
        assert decided.objections == ()
    command = [str(hot), "--data", str(data), "--weights", str(weights), "--force"]
    assert main(command) == 1
    assert "small.safetensors stays: it is ill-conditioned" in capsys.readouterr().err
    assert contents(weights) == before


def test_another_input_contract_is_refused_unless_it_is_forced(
    run: MakeRun, data: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    promote(run("bad", "sad"), data, weights)
    wide = run("wide", "happy", replace(SPEC, input=InputSpec(64, 64)))
    decided = promote(wide, data, weights)
    assert not decided.promoted
    assert "input contract" in decided.objections[0]
    assert promote(wide, data, weights, force=True).promoted


def test_large_weights_are_kept_in_half_precision_and_measured_so(
    run: MakeRun, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("first", "sad")
    size = (first / "best.safetensors").stat().st_size
    monkeypatch.setattr("release.promote.LARGEST_BYTES", int(0.6 * size))
    decided = promote(first, data, tmp_path / "weights")
    stored = tmp_path / "weights" / "small.safetensors"
    assert (decided.promoted, decided.precision) == (True, "fp16")
    assert stored.stat().st_size == decided.size_bytes < 0.6 * size
    assert checkpoint.read_spec(stored).precision == "fp16"
    network, spec = checkpoint.load(stored)
    assert spec.precision == "fp32"
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    monkeypatch.setattr("release.promote.LARGEST_BYTES", int(0.1 * size))
    decided = promote(run("large", "happy"), data, tmp_path / "weights")
    assert "MB, more than" in decided.objections[0]


def test_a_folder_that_is_no_finished_run_is_told(run: MakeRun, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no report"):
        promote(tmp_path, data, tmp_path / "weights")
    mixed, other = run("mixed", "sad"), run("other", "happy")
    (mixed / "best.safetensors").write_bytes((other / "best.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match="is of other, and the report beside it of another"):
        promote(mixed, data, tmp_path / "weights")


def test_a_run_without_its_journal_leaves_the_old_weights(
    run: MakeRun, data: Path, tmp_path: Path
) -> None:
    weights, good = tmp_path / "weights", run("good", "happy")
    promote(run("bad", "sad"), data, weights)
    before = contents(weights)
    (good / "metrics.jsonl").unlink()
    with pytest.raises(ArtifactError, match=r"there is no journal at .*metrics\.jsonl"):
        promote(good, data, weights)
    (good / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl line 1 is not valid JSON"):
        promote(good, data, weights)
    assert contents(weights) == before


class Stopped(BaseException):
    """Stands for whatever ends a process."""


def stopped_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> list[int]:
    """Let the given call of a function be the last thing that happens; count the calls."""
    real: Callable[..., object] = getattr(owner, name)
    calls: list[int] = []

    def count(*arguments: object, **settings: object) -> object:
        calls.append(len(calls))
        if len(calls) == call:
            raise Stopped
        return real(*arguments, **settings)

    monkeypatch.setattr(owner, name, count)
    return calls


STEPS = [(shutil, "copyfile"), (Path, "write_text"), (files, "_exchange")]


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=["copy", "write", "exchange"])
def test_wherever_a_promotion_stops_all_of_the_old_or_all_of_the_new_is_there(
    owner: object, step: str, run: MakeRun, data: Path, tmp_path: Path
) -> None:
    place = tmp_path / "packaged" / "weights"
    good = run("good", "happy")
    promote(run("bad", "sad"), data, place)
    (place / "other.safetensors").write_bytes(b"another model")
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("told")
    old = contents(place)
    measured = read_report(good / "report.json")
    for call in range(1, 30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("release.promote.assess", lambda *_, **__: (measured, None))
            calls = stopped_at(patch, owner, step, call)
            try:
                promote(good, data, place)
            except Stopped:
                pass
            else:
                break
        assert contents(place) == old
        assert [path.name for path in place.parent.iterdir()] == ["weights"]
    assert len(calls) == call - 1 > 0
    new = contents(place)
    assert {name for name in old if old[name] != new[name]} == {
        "small.safetensors",
        "small.json",
        "small.metrics.jsonl",
    }


@pytest.mark.parametrize("name", ["../escaped", "", "a/b", "/etc/escaped"])
def test_weights_cannot_be_put_outside_of_their_folder(
    name: str, run: MakeRun, data: Path, tmp_path: Path
) -> None:
    good = run("good", "happy")
    with pytest.raises(ConfigurationError, match="weights cannot be called"):
        promote(good, data, tmp_path / "weights", name=name)
    report = json.loads((good / "report.json").read_text())
    report["recipe"]["model"] = name
    (good / "report.json").write_text(json.dumps(report))
    with pytest.raises(ArtifactError, match="model should be at most 96 letters"):
        promote(good, data, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
