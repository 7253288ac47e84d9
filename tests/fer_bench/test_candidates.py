"""Every combination that was asked for, and nothing that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_bench.candidates import bare_candidates, candidates_for, choices
from fer_bench.peers import choose_peers
from fer_edge import ConfigurationError
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.system.cores import default_threads, usable_cores


def test_every_combination_is_a_candidate(tiny_artifact: Path) -> None:
    found = candidates_for(
        [str(tiny_artifact)],
        backends=["onnxruntime"],
        precisions=["fp32", None],
        inference_precisions=[None, "bf16"],
        threads=[1, 2],
        batches=[1, 4],
        scenarios=["single-stream", "offline"],
    )
    assert len(found) == len(set(found)) == 32
    one = found[-1]
    assert (one.scenario, one.batch, one.threads, one.inference_precision) == (
        "offline",
        4,
        2,
        "bf16",
    )
    assert one.program.parameters["goal"] == "throughput"
    assert found[0].program.parameters == {
        "model": str(tiny_artifact),
        "backend": "onnxruntime",
        "device": "auto",
        "precision": "fp32",
        "inference_precision": None,
        "threads": 1,
        "goal": "latency",
    }


def test_all_backends_are_those_that_open_the_file(tiny_artifact: Path) -> None:
    found = choices(str(tiny_artifact), ["all"], [None])
    assert ("onnxruntime", None) in found
    assert not {"torch", "tensorrt"} & {backend for backend, _ in found}


def test_all_precisions_are_those_of_the_model() -> None:
    found = choices("default", ["onnxruntime"], ["all"])
    assert ("onnxruntime", "fp32") in found
    assert ("onnxruntime", "fp16") not in found


def test_what_is_asked_for_by_name_stays_in(tiny_artifact: Path) -> None:
    # it fails with its reason when it is opened, and is a row
    assert choices(str(tiny_artifact), ["tensorrt"], ["int8"]) == [("tensorrt", "int8")]


@pytest.mark.parametrize("precisions", [[None], ["all"]])
def test_a_backend_that_there_is_not_lists_those_that_there_are(
    precisions: list[str | None],
) -> None:
    with pytest.raises(ConfigurationError, match="unknown backend bogus; there are auto, all, on"):
        choices("default", ["bogus"], precisions)


def test_what_fits_no_engine_or_is_damaged_stays_in(tmp_path: Path) -> None:
    other, damaged = tmp_path / "notes.txt", tmp_path / "damaged"
    other.write_text("no model")
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")
    assert ("onnxruntime", None) in choices(str(other), ["all"], [None])
    assert ("onnxruntime", None) in choices(str(damaged), ["all"], ["all"])
    bare = bare_candidates(candidates_for([str(damaged)], backends=["onnxruntime"]))
    assert [c.kind for c in bare] == ["model"]


def test_an_engine_that_is_broken_stays_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr("fer_edge.backends.backend_class", broken)
    assert ("openvino", None) in choices("default", ["all"], [None])


def test_bare_loops_on_a_gpu_are_refused() -> None:
    found = candidates_for(["default"], backends=["onnxruntime"], device="cuda")
    with pytest.raises(ConfigurationError, match="the bare loops run on the CPU, not on cuda"):
        bare_candidates(found)


def test_a_batch_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="batch should be 1 to 1024, not 0"):
        candidates_for(["default"], batches=[0])


def test_peers_follow_the_models(tiny_artifact: Path) -> None:
    peers = choose_peers(["fer"])
    found = candidates_for([str(tiny_artifact)], threads=[1, 2], peers=peers)
    assert [(c.model, c.kind, c.threads) for c in found] == [
        (str(tiny_artifact), "model", 1),
        ("fer", "peer", 1),
        (str(tiny_artifact), "model", 2),
        ("fer", "peer", 2),
    ]


def test_the_bare_engine_stands_behind_its_model(tiny_artifact: Path) -> None:
    found = candidates_for(
        [str(tiny_artifact)],
        backends=["onnxruntime"],
        threads=[None, 3],
        scenarios=["single-stream", "offline"],
    )
    found = bare_candidates(found)
    assert [c.kind for c in found] == ["model", "bare"] * 4
    bare = [c for c in found if c.kind == "bare"]
    assert {c.artifact for c in bare} == {tiny_artifact}
    # as many threads as our backend takes by itself
    assert [c.threads for c in bare] == [default_threads(), 3, usable_cores(), 3]
    assert bare[2].program.parameters["goal"] == "throughput"


@pytest.mark.parametrize("name", ["x.h5", "manifest.json"])
def test_a_file_that_is_no_artifact_is_refused_before_anything_is_measured(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigurationError) as caught:
        candidates_for([DEFAULT_MODEL, str(tmp_path / name)])
    assert str(caught.value).count(str(tmp_path / name)) == 1
