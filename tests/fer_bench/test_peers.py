"""Peers: the table, the environments, and adapters that speak the protocol."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from fer_bench.launching import ask, measure_round
from fer_bench.peers import adapter_program, choose_peers, environment_folder, load_peers, prepare
from fer_bench.scenarios import Settings, request_for, trial
from fer_edge import ConfigurationError, Predictor

MINE = """
import numpy as np
from fer_bench.protocol import Adapter, serve

class Mine(Adapter):
    @classmethod
    def prepare(cls, folder, parameters):
        (folder / "graph").write_text(parameters["size"])
    def preprocess(self, crops):
        return np.stack(crops)
    def infer(self, batch):
        return batch.mean(axis=(1, 2))
    def postprocess(self, raw):
        return np.eye(7, dtype=np.float32)[raw.astype(int) % 7]
    def describe(self):
        return {"backend": "mine"}

serve(Mine)
"""


def write_table(folder: Path, needs: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(MINE)
    entry = {
        "title": "Mine",
        "adapter": "mine.py",
        "backend": "mine",
        "environment": "mine",
        "needs": needs,
        "install": [["numpy"]],
        "parameters": {"size": "7"},
    }
    (folder / "peers.json").write_text(json.dumps({"mine": entry}))


def test_every_peer_has_its_adapter_and_the_way_to_install_it() -> None:
    peers = load_peers()
    assert {"fer", "efficientnet-b0-onnxruntime", "vit-b16-onnxruntime", "vit-b16-torch"} <= set(
        peers
    )
    for peer in peers.values():
        assert Path(peer.adapter).is_file()
        assert peer.needs
        assert peer.bare or (peer.install and peer.environment)


def test_peers_are_chosen_by_name() -> None:
    assert choose_peers([]) == ()
    assert [peer.name for peer in choose_peers(["fer", "fer"])] == ["fer"]
    assert not any(peer.bare for peer in choose_peers(["all"]))
    for name in ("deepface", "bare-openvino"):
        with pytest.raises(ConfigurationError, match=f"unknown peer '{name}'; there are all, fer"):
            choose_peers([name])


def test_without_a_checkout_the_error_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="they come with fer_edge's repository"):
        load_peers(tmp_path)


def test_a_table_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text('{"mine": {"title": "x"}}')
    with pytest.raises(ConfigurationError, match="lacks the fields"):
        load_peers(tmp_path)


def test_one_that_is_not_installed_says_how(tmp_path: Path) -> None:
    write_table(tmp_path, ["numpy", "no_such_engine"])
    peer = load_peers(tmp_path)["mine"]
    assert peer.python is None
    with pytest.raises(ConfigurationError, match="fer-bench peers install mine"):
        adapter_program(peer, {})


def test_its_own_environment_goes_before_ours(tmp_path: Path) -> None:
    write_table(tmp_path, ["no_such_engine"])
    peer = load_peers(tmp_path)["mine"]
    own = environment_folder("mine")
    venv.create(own, with_pip=False, symlinks=True)
    assert peer.python == own / "bin" / "python"
    assert adapter_program(peer, {}).command[0] == str(own / "bin" / "python")


@pytest.mark.parametrize(("chosen", "given"), [(None, "1"), ("0", "0")])
def test_an_engine_as_it_comes_reports_nothing_unless_the_user_wants_it(
    chosen: str | None, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if chosen is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", chosen)
    program = adapter_program(load_peers()["bare-onnxruntime"], {})
    assert program.environment["ORT_DISABLE_TELEMETRY"] == given


def test_an_adapter_is_prepared_measured_and_asked(tmp_path: Path) -> None:
    write_table(tmp_path / "peers", ["numpy"])
    peer = load_peers(tmp_path / "peers")["mine"]
    prepare(peer)
    program = adapter_program(peer, {"threads": 1})
    assert program.command[0] == sys.executable
    assert (Path(program.parameters["folder"]) / "graph").read_text() == "7"
    crops, out = tmp_path / "crops.npy", tmp_path / "out.npy"
    images = np.stack([np.full((9, 9), value, np.uint8) for value in (3, 8, 6)])
    np.save(crops, images)
    asked = request_for("single-stream", None, Settings(rounds=1, seconds=0.02))
    request = trial(asked, None, 0)
    assert measure_round(program, str(crops), request, 60).describe == {"backend": "mine"}
    ask(program, {"work": "classify", "crops": str(crops), "out": str(out)}, 60)
    assert np.load(out).argmax(axis=1).tolist() == [3, 1, 6]


@pytest.mark.parametrize(
    ("name", "package"), [("bare-onnxruntime", "onnxruntime"), ("bare-openvino", "openvino")]
)
def test_a_bare_engine_gives_the_answers_of_the_predictor(
    name: str, package: str, tiny_artifact: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package, reason=f"no {package}, whose loop is measured")
    crops, out = tmp_path / "crops.npy", tmp_path / "out.npy"
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 48, 48, 3), np.uint8)  # of a size that is not resized
    np.save(crops, images)
    extra = {
        "threads": 1,
        "artifact": str(tiny_artifact),
        "inference_precision": None,
        "goal": "latency",
        "batch": len(images),
    }
    program = adapter_program(load_peers()[name], extra)
    reply = ask(program, {"work": "classify", "crops": str(crops), "out": str(out)}, 120)
    with Predictor(tiny_artifact) as fer:
        expected = np.stack([p.probabilities for p in fer.predict_batch(list(images))])
        assert reply["describe"]["sha256"] == fer.info.sha256
    assert np.abs(np.load(out) - expected).max() < 1e-5
