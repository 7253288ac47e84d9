"""Which backend auto is: a fixed order, or what was measured on this device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_edge import ConfigurationError, MissingDependencyError
from fer_edge.artifacts.manifest import ArtifactEntry, Manifest
from fer_edge.artifacts.model import Model
from fer_edge.backends import AUTO_ORDER, BACKENDS, BackendOptions
from fer_edge.backends.choose_backend import Choice, candidates, choose_backend
from fer_edge.backends.table import BackendEntry
from fer_edge.backends.tuning_record import Timing, Tuning, this_machine, tuning_folder

SUFFIXES = {
    "onnxruntime": ".onnx",
    "openvino": ".xml",
    "tensorrt": ".plan",
    "torch": ".safetensors",
}

MakeModel = Callable[..., Path]


def chosen(model: Path, precision: str | None = None, **options: Any) -> Choice:
    """What auto is for a model."""
    return choose_backend("auto", Model.open(model), precision, BackendOptions(**options))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The backends that are installed: all of them, until a test takes one out."""
    names = set(BACKENDS)

    def missing(entry: BackendEntry) -> str | None:
        name = next(name for name, known in BACKENDS.items() if known == entry)
        return None if name in names else entry.package

    monkeypatch.setattr(BackendEntry, "missing", missing)
    monkeypatch.setattr(BackendEntry, "version", lambda entry: f"{entry.package} 1.0")
    return names


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """A model directory with an artifact of each of these formats, by backend."""

    def make(*formats: str, precision: str = "int8") -> Path:
        entries = []
        for name in formats:
            file, data = f"model{SUFFIXES[name]}", name.encode()
            (tmp_path / file).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            entries.append(ArtifactEntry(file, digest, len(data), name, precision))
        Manifest("x", precision, tuple(entries)).write(tmp_path)
        return tmp_path

    return make


# ---- the fixed order


@pytest.mark.parametrize("index", range(len(AUTO_ORDER)))
def test_the_first_of_the_order_that_has_an_artifact_of_its_own(
    make_model: MakeModel, index: int
) -> None:
    left = AUTO_ORDER[index:]
    choice = chosen(make_model(*reversed(left)))
    assert (choice.name, choice.threads) == (left[0], None)
    assert choice.reason.startswith(f"the first of {', '.join(AUTO_ORDER)} that is installed")


def test_what_is_not_installed_is_passed_over_and_named(
    make_model: MakeModel, installed: set[str]
) -> None:
    installed -= {"openvino", "tensorrt"}
    choice = chosen(make_model("openvino", "onnxruntime"))
    assert choice.name == "onnxruntime"
    assert "openvino lacks openvino" in choice.reason
    assert "tensorrt" not in choice.reason.partition("(")[2]


def test_an_onnx_is_openvinos_only_where_onnx_runtime_is_lacking(
    make_model: MakeModel, installed: set[str]
) -> None:
    model = make_model("onnxruntime")
    assert chosen(model).name == "onnxruntime"
    installed.discard("onnxruntime")
    assert chosen(model).name == "openvino"


def test_a_file_is_opened_by_the_backend_of_its_format(tmp_path: Path) -> None:
    for name, suffix in SUFFIXES.items():
        (tmp_path / f"model{suffix}").touch()
        assert chosen(tmp_path / f"model{suffix}").name == name


def test_an_artifact_made_for_another_backend_does_not_count(make_model: MakeModel) -> None:
    folder = make_model("openvino", "onnxruntime")
    manifest = Manifest.read(folder)
    ir, onnx = manifest.artifacts
    replace(manifest, artifacts=(replace(ir, backends=("else",)), onnx)).write(folder)
    assert chosen(folder).name == "onnxruntime"


def test_auto_never_chooses_the_precision(make_model: MakeModel) -> None:
    folder = make_model("openvino", "onnxruntime", precision="fp32")
    manifest = Manifest.read(folder)
    ir, onnx = manifest.artifacts
    replace(manifest, artifacts=(replace(ir, precision="int8"), onnx)).write(folder)
    assert chosen(folder).name == "onnxruntime"
    assert chosen(folder, precision="int8").name == "openvino"


@pytest.mark.parametrize(
    ("device", "name"), [("cpu", "openvino"), ("cuda", "tensorrt"), ("npu", "openvino")]
)
def test_only_backends_that_know_the_device_count(
    make_model: MakeModel, device: str, name: str
) -> None:
    assert chosen(make_model(*AUTO_ORDER), device=device).name == name


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_is_asked_for_is_taken(make_model: MakeModel, name: str) -> None:
    choice = choose_backend(name, Model.open(make_model()))
    assert (choice.name, choice.reason, choice.threads) == (name, "asked for", None)


def test_an_unknown_name_lists_the_known_ones(make_model: MakeModel) -> None:
    with pytest.raises(ConfigurationError, match="'trt'; there are auto, onnxruntime"):
        choose_backend("trt", Model.open(make_model()))


def test_what_no_installed_backend_opens_says_what_to_install(
    make_model: MakeModel, installed: set[str]
) -> None:
    installed.clear()
    with pytest.raises(MissingDependencyError, match=r"torch is not installed.*fer-edge\[torch\]"):
        chosen(make_model("torch"))


def test_a_precision_that_is_not_there_is_told_with_what_is(make_model: MakeModel) -> None:
    with pytest.raises(ConfigurationError, match=r"no fp16 artifact; it has openvino \(int8\)"):
        chosen(make_model("openvino"), precision="fp16")


def test_a_device_that_no_backend_knows_lists_those_that_there_are(make_model: MakeModel) -> None:
    with pytest.raises(ConfigurationError, match=r"on the device 'tpu'; tensorrt has cuda; open"):
        chosen(make_model(*AUTO_ORDER), device="tpu")


def test_a_device_of_other_backends_alone_is_told(make_model: MakeModel) -> None:
    with pytest.raises(ConfigurationError, match=r"on the device 'npu'; torch has cpu, cuda$"):
        chosen(make_model("torch"), device="npu")


# ---- what was measured


def keep_tuning(model: Path, *timings: tuple[str, int | None, float], device: str = "auto") -> Path:
    return Tuning(
        model=str(model),
        precision="int8",
        device=device,
        machine=this_machine(),
        measured="2026-11-22T10:00:00+00:00",
        candidates=candidates(Model.open(model), device=device),
        timings=tuple(Timing(name, n, ms, "CPU", "int8") for name, n, ms in timings),
    ).write()


def test_only_backends_that_know_the_device_are_candidates(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    names = {
        device: [one.backend for one in candidates(Model.open(model), device=device)]
        for device in ("cpu", "npu", "cuda")
    }
    assert names == {
        "cpu": ["onnxruntime", "openvino"],
        "npu": ["openvino"],
        "cuda": ["onnxruntime"],
    }


def test_what_was_measured_here_decides(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("openvino", 1, 0.9), ("onnxruntime", 2, 0.4), ("onnxruntime", 1, 0.6))
    choice = chosen(model)
    assert (choice.name, choice.threads) == ("onnxruntime", 2)
    assert choice.reason == (
        "the fastest of 3 ways that fer-edge doctor --tune measured here on 2026-11-22: 0.40 ms, "
        "threads=2"
    )


def test_fewer_threads_win_where_more_gain_nothing(make_model: MakeModel) -> None:
    model = make_model("onnxruntime")
    keep_tuning(model, ("onnxruntime", 4, 0.40), ("onnxruntime", 1, 0.41))
    assert chosen(model).threads == 1


def test_the_callers_threads_are_kept_to(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("openvino", 1, 0.9), ("onnxruntime", 1, 1.0), ("onnxruntime", 2, 0.4))
    assert chosen(model, threads=1).name == "openvino"
    assert chosen(model, threads=7).name == "onnxruntime"


def test_a_backend_that_is_asked_for_is_taken_whatever_was_measured(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("onnxruntime", 1, 0.1))
    assert choose_backend("openvino", Model.open(model)).name == "openvino"


def test_what_was_measured_under_other_options_does_not_count(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("onnxruntime", 1, 0.1))
    assert chosen(model, spinning=True).name == "openvino"
    assert chosen(model, inference_precision="fp32").name == "openvino"
    assert chosen(model, goal="throughput").name == "onnxruntime"


def changed_artifact(model: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    manifest = Manifest.read(model)
    first, *rest = manifest.artifacts
    replace(manifest, artifacts=(replace(first, sha256="0" * 64), *rest)).write(model)


def upgraded_engine(model: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr(BackendEntry, "version", lambda entry: f"{entry.package} 1.1")


def engine_removed(model: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    installed.discard("onnxruntime")


def other_machine(model: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr("fer_edge.backends.tuning_record.cpu_name", lambda: "another processor")


@pytest.mark.parametrize(
    "change", [changed_artifact, upgraded_engine, engine_removed, other_machine]
)
def test_it_counts_until_something_changes(
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
    installed: set[str],
    change: Callable[..., None],
) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("onnxruntime", 1, 0.1))
    assert chosen(model).name == "onnxruntime"
    change(model, monkeypatch, installed)
    choice = chosen(model)
    assert choice.name == "openvino"
    assert choice.reason.startswith("the first of ")


def test_it_counts_for_the_device_that_was_asked_for(make_model: MakeModel) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("onnxruntime", 1, 0.1), device="cpu")
    assert chosen(model, device="cpu").name == "onnxruntime"
    assert chosen(model).name == "openvino"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1}'])
def test_a_damaged_measurement_stops_nothing_and_is_shown(make_model: MakeModel, text: str) -> None:
    model = make_model("openvino", "onnxruntime")
    keep_tuning(model, ("onnxruntime", 1, 0.1)).write_text(text)
    choice = chosen(model)
    assert choice.name == "openvino"
    assert "measure again with fer-edge doctor --tune, or remove it" in choice.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tuning: tuning["timings"][0].update(backend="torch"), "torch was measured but is"),
        (lambda tuning: tuning["timings"][0].update(threads=-3), "threads should be 1 to 1024"),
        (lambda tuning: tuning["timings"][0].update(threads=10**30), "threads should be 1 to"),
        (lambda tuning: tuning["candidates"].pop(1), "it measured other artifacts or engines"),
    ],
)
def test_a_measurement_that_cannot_be_is_damaged(
    make_model: MakeModel, change: Callable[[Any], object], message: str
) -> None:
    model = make_model("openvino", "onnxruntime")
    path = keep_tuning(model, ("onnxruntime", 1, 0.1))
    tuning = json.loads(path.read_text())
    change(tuning)
    path.write_text(json.dumps(tuning))
    choice = chosen(model)
    assert choice.name == "openvino"
    assert message in choice.reason


@pytest.mark.usefixtures("home")
def test_single_files_are_measured_by_their_bytes(make_model: MakeModel) -> None:
    file = make_model("onnxruntime") / "model.onnx"
    keep_tuning(file, ("openvino", 1, 0.1))
    assert chosen(file).name == "openvino"
    file.write_bytes(b"another")
    assert chosen(file).name == "onnxruntime"


def test_measurements_lie_in_the_users_folder(make_model: MakeModel, home: Path) -> None:
    path = keep_tuning(make_model("onnxruntime"), ("onnxruntime", 1, 0.1))
    assert path.parent == tuning_folder() == home / "tuning"


@pytest.mark.parametrize("time", [0.0, -1.0])
def test_a_time_of_nothing_is_no_measurement(make_model: MakeModel, time: float) -> None:
    with pytest.raises(ValueError, match="above 0 ms"):
        keep_tuning(make_model("onnxruntime"), ("onnxruntime", 1, time))
