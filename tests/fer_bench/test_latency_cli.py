"""fer-bench latency and peers as commands, on a model that is quick to open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_bench.candidates import Candidate
from fer_bench.cli import main
from fer_bench.latency_results import LatencyRun
from fer_bench.launching import RoundSample
from fer_bench.results import read_result
from fer_bench.scenarios import Settings
from fer_edge import Predictor

QUICK = ["--rounds", "2", "--seconds", "0.04", "--count", "10"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.json"


def test_a_model_is_measured_beside_the_bare_engine(
    tiny_artifact: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["latency", str(tiny_artifact), "--backend", "onnxruntime", "--bare", *QUICK]
    assert main([*arguments, "--threads", "1", "--json", str(out)]) == 0
    run = read_result(out, LatencyRun)
    ours, bare = run.results
    with Predictor(tiny_artifact, backend="onnxruntime") as fer:
        assert ours.sha256 == bare.sha256 == fer.info.sha256
        assert ours.provider == fer.info.provider
    assert (ours.kind, bare.kind) == ("model", "bare")
    assert (ours.precision, bare.precision, ours.threads, bare.threads) == ("fp32", "fp32", 1, 1)
    assert ours.size_bytes == tiny_artifact.stat().st_size
    assert (ours.count >= 9, len(ours.rounds)) == (True, 2)
    assert 0 < ours.p50_ms <= ours.p99_ms
    assert set(ours.stages_ms) == {"preprocess", "inference", "postprocess"}
    assert ours.cold_ms > 50  # an interpreter and its imports
    assert ours.rss_mb is not None
    assert len(run.ratios) == 1
    assert (run.rounds, run.interrupted) == (2, False)
    shown = capsys.readouterr().out.splitlines()
    assert " ".join(shown[0].split()) == "model runs on p50 ms [95 %] p99 ms crops/s"
    assert max(map(len, shown[:3])) <= 100
    assert "/model.onnx" in shown[1]
    assert "onnxruntime, fp32" in shown[1]


def test_each_scenario_gives_its_figure(tiny_artifact: Path, out: Path) -> None:
    arguments = ["latency", str(tiny_artifact), "--rounds", "1", "--seconds", "0.02"]
    for scenario in ("multi-stream", "offline", "server"):
        arguments += ["--scenario", scenario]
    server = ["--rate", "20", "--server-seconds", "0.2", "--server-count", "5"]
    assert main([*arguments, *server, "--json", str(out)]) == 0
    multi, offline, server_row = read_result(out, LatencyRun).results
    assert (multi.query, multi.batch) == (8, 8)
    assert (offline.query, offline.batch) == (32, 32)
    assert offline.throughput_per_s > 0
    assert (server_row.rate_per_s, server_row.count >= 5) == (20.0, True)


def test_a_model_that_does_not_load_is_a_row_and_exit_code_1(
    tiny_artifact: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(tiny_artifact.read_bytes()[:500])
    arguments = ["latency", str(damaged), str(tiny_artifact), *QUICK, "--backend", "onnxruntime"]
    assert main([*arguments, "--json", str(out)]) == 1
    bad, good = read_result(out, LatencyRun).results
    assert "damaged.onnx" in bad.error
    assert (bad.p50_ms, good.error) == (None, None)
    assert bad.error in capsys.readouterr().out


def test_a_rate_that_is_too_high_is_a_clear_error(
    tiny_artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["latency", str(tiny_artifact), "--scenario", "server", "--rate", "1e9"]
    assert main(arguments) == 2
    assert "rate should be 0.001 to 100,000, not 1000000000.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone.onnx"], "there is no model at gone.onnx"),
        (["default", "--peer", "deepface"], "unknown peer 'deepface'"),
        (["default", "--bare"], "name a --backend"),
        (["default", "--rounds", "0"], "rounds should be"),
        (["default", "--backend", "tflite"], "unknown backend tflite"),
    ],
)
def test_bad_requests_are_exit_code_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_naming_nothing_measures_all_that_the_packaged_model_can_run(
    make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(candidates: Sequence[Candidate], settings: Settings) -> LatencyRun:
        asked.extend(candidates)
        run: LatencyRun = make_run({"m": 1.0}, rounds=3)
        return run

    monkeypatch.setattr("fer_bench.cli.latency.measure_latency", measure)
    assert main(["latency"]) == 0
    assert {c.model for c in asked} == {"default"}
    assert {("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= {
        (c.backend, c.precision) for c in asked
    }


def test_a_noisy_machine_is_told_and_strict_makes_it_an_error(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"m": 1.0}, rounds=3)
    noise = replace(run.noise, quiet=False, findings=("other processes took 40%",))
    for found, codes in ((run, (0, 0)), (replace(run, noise=noise), (0, 1))):
        monkeypatch.setattr("fer_bench.cli.latency.measure_latency", lambda *_, it=found: it)
        assert (main(["latency", "default"]), main(["latency", "default", "--strict"])) == codes
        told = "other processes took 40%" in capsys.readouterr().err
        assert told is (found is not run)


def test_ctrl_c_keeps_what_is_complete_and_says_so(
    tiny_artifact: Path,
    out: Path,
    make_sample: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples = iter([make_sample([1.0] * 5)] * 4)

    def launch(*_: object) -> RoundSample:
        for piece in samples:
            return piece  # type: ignore[no-any-return]
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_bench.measure_latency.measure_round", launch)
    assert main(["latency", str(tiny_artifact), "--json", str(out)]) == 130
    assert "interrupted; the 4 complete rounds are kept" in capsys.readouterr().err
    run = read_result(out, LatencyRun)
    assert (run.interrupted, run.rounds, run.results[0].count) == (True, 4, 20)


def test_peers_are_listed_with_the_way_to_install_them(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peers", "--json", str(out)]) == 0
    listed: list[dict[str, Any]] = json.loads(out.read_text())["peers"]
    assert {"fer", "vit-b16-torch", "bare-openvino"} <= {entry["name"] for entry in listed}
    fer = next(entry for entry in listed if entry["name"] == "fer")
    assert "--no-deps fer" in fer["install"][0]
    assert fer["title"] in capsys.readouterr().out
    assert main(["peers", "list", "fer"]) == 2


def test_a_peer_that_is_not_installed_is_a_row(
    tiny_artifact: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_bench.peers import Peer

    monkeypatch.setattr(Peer, "python", None)
    arguments = ["latency", str(tiny_artifact), "--peer", "fer", *QUICK, "--json", str(out)]
    assert main(arguments) == 1
    ours, peer = read_result(out, LatencyRun).results
    assert ours.error is None
    assert "fer-bench peers install fer" in peer.error


def test_a_damaged_model_alone_is_a_row_and_exit_code_2(tmp_path: Path, out: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no protobuf at all")
    words = ["latency", str(damaged), *QUICK, "--backend", "onnxruntime", "--json", str(out)]
    assert main(words) == 2
    (row,) = read_result(out, LatencyRun).results
    assert (row.p50_ms, row.exit_code) == (None, 2)
