"""Any JSON or TOML that is read into a record: what it says, or an error of ours."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fuzzed_json import changed_json
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_bench.latency_results import LatencyRun
from fer_bench.measure_accuracy import AccuracyRun
from fer_bench.results import read_result
from fer_bench.soak.run import SoakRun
from fer_edge import ArtifactError, ConfigurationError, ModelSpec
from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Companion, GoldenCrop, Manifest
from fer_edge.artifacts.plan import Gpu, PlanLayer, PlanSidecar
from fer_edge.artifacts.record import encode, parse_json
from fer_edge.artifacts.spec import InputSpec, NetworkSpec
from fer_edge.backends.tuning_record import Candidate, Timing, Tuning, read_tuning, this_machine

FUZZ = settings(settings.get_profile("fuzz"))


def _sealed(text: str) -> bytes:
    """Give a document the digest that it should have: an attacker can."""
    try:
        value = json.loads(text)
        value["digest"] = ""
        canonical = json.dumps(value, sort_keys=True).encode()
        value["digest"] = hashlib.sha256(canonical).hexdigest()
        return (json.dumps(value, indent=2) + "\n").encode()
    except (ValueError, TypeError, RecursionError, OverflowError):
        return text.encode("utf-8", "surrogatepass")


HASH = "a" * 64
PLAIN_MANIFEST = encode(
    Manifest(
        "model",
        "fp32",
        (ArtifactEntry("m.xml", HASH, 3, "t", "fp32", (Companion("m.bin", HASH, 3),)),),
        (GoldenCrop("AAAA", (1, 4), "AAAA", (4, 1), (0.5,) * 7),),
    ).sealed()
)
PLAIN_SPEC = encode(ModelSpec(NetworkSpec("x", arguments={"a": 1}), InputSpec(48, 48)))


@FUZZ
@given(changed_json(PLAIN_MANIFEST), st.booleans())
def test_any_manifest_is_read_or_refused(
    survive: Any, folder: Path, text: str, sealed: bool
) -> None:
    content = _sealed(text) if sealed else text.encode("utf-8", "surrogatepass")
    (folder / MANIFEST).write_bytes(content)
    found = survive(Manifest.read, folder)
    if isinstance(found, Manifest):
        for file in (f for entry in found.artifacts for f in (entry, *entry.companions)):
            inside = (folder / file.file).resolve()
            assert inside.is_relative_to(folder.resolve()), file.file
        for crop in found.golden:
            survive(crop.arrays)
    else:
        assert isinstance(found, ArtifactError)


@FUZZ
@given(st.one_of(changed_json(PLAIN_SPEC), st.text(max_size=40), st.binary(max_size=40)))
def test_any_spec_is_read_or_refused(survive: Any, text: str | bytes) -> None:
    found = survive(ModelSpec.from_json, text)
    if isinstance(found, ModelSpec):
        assert ModelSpec.from_json(found.to_json()) == found
    else:
        assert isinstance(found, ArtifactError)


@FUZZ
@given(st.one_of(st.binary(max_size=60), st.text('[]{}",:0123456789e-.ntf\\u ', max_size=60)))
def test_any_text_is_json_or_refused(survive: Any, text: str | bytes) -> None:
    survive(parse_json, text, "the file")


@pytest.mark.parametrize("text", ["[" * 10**6, "9" * 10**6, '"' + "\\" * 10**6, '{"a":' * 10**5])
def test_json_made_to_exhaust_is_refused(survive: Any, text: str) -> None:
    assert isinstance(survive(parse_json, text, "the file"), ArtifactError)


SIDECAR = PlanSidecar(
    ModelSpec(NetworkSpec("x"), InputSpec(48, 48)),
    HASH,
    "10.3.0",
    Gpu("Orin", "8.7", 16),
    1,
    4,
    8,
    "fp16",
    {"fp16": 1.0},
    (PlanLayer("conv", "CaskConvolution", "fp16", matrix=True),),
)


@FUZZ
@given(changed_json(encode(SIDECAR)), st.sampled_from(["10.3.0", "", "11.x.0"]))
def test_any_sidecar_of_a_plan_is_read_or_refused(survive: Any, text: str, version: str) -> None:
    found = survive(PlanSidecar.from_json, text, "the sidecar")
    assert isinstance(found, (PlanSidecar, ArtifactError))
    if isinstance(found, PlanSidecar):
        survive(found.misfits, version, SIDECAR.gpu)


CANDIDATES = (Candidate("onnxruntime", HASH, "1.20.0"), Candidate("openvino", HASH, "2025.0"))
TIMINGS = tuple(
    Timing(one.backend, count, 1.5, "CPU", "fp32") for one in CANDIDATES for count in (1, 2)
)


@pytest.fixture
def kept_tuning() -> tuple[Path, Any]:
    """Where a tuning of these candidates is looked for, and a sound one, as it stands there."""
    path = Tuning("m", "fp32", "cpu", this_machine(), "2026-01-01", CANDIDATES, TIMINGS).write()
    return path, json.loads(path.read_bytes())


@FUZZ
@given(data=st.data())
def test_any_tuning_is_read_or_refused(
    survive: Any, kept_tuning: tuple[Path, Any], data: st.DataObject
) -> None:
    path, sound = kept_tuning
    text = data.draw(st.one_of(changed_json(sound), st.text(max_size=9)))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = survive(read_tuning, CANDIDATES, "cpu")
    assert isinstance(found, (Tuning, ArtifactError))
    if isinstance(found, Tuning):
        survive(found.best)
        survive(found.best, 2)


PLAIN_HISTORY = {
    "recipe": "x.toml",
    "epochs": 1,
    "seconds": 1.0,
    "hardware": ["x"],
    "initial": None,
    "teachers": ["x"],
    "teachers_accuracy": None,
    "ended": "2026-01-01",
}


def plain(kind: Any) -> Any:
    """Plain data of a type, with every field that it has."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: plain(hints[field.name]) for field in dataclasses.fields(kind)}
    if origin in (types.UnionType, typing.Union):
        return plain(arguments[0])
    if origin is tuple:
        return [plain(inner) for inner in arguments if inner is not Ellipsis]
    if origin in (dict, Mapping):
        return {"happy": plain(arguments[1])}
    return {str: "x", int: 1, float: 1.0, bool: True}[kind]


RESULTS = (LatencyRun, AccuracyRun, SoakRun)


@pytest.mark.parametrize("kind", RESULTS)
def test_a_plain_result_is_read(kind: Any, folder: Path) -> None:
    """Else the tests below would change what is refused anyway."""
    (folder / "result.json").write_text(json.dumps({**plain(kind), "schema": kind.schema}))
    assert isinstance(read_result(folder / "result.json", kind), kind)


@pytest.mark.parametrize("kind", RESULTS)
@FUZZ
@given(data=st.data())
def test_any_result_is_read_or_refused(
    survive: Any, folder: Path, data: st.DataObject, kind: Any
) -> None:
    value = {**plain(kind), "schema": kind.schema}
    text = data.draw(st.one_of(changed_json(value), st.text(max_size=9)))
    (folder / "result.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = survive(read_result, folder / "result.json", kind)
    assert isinstance(found, (kind, ConfigurationError))


RECIPE = (
    'model = "vit"',
    "epochs = 2",
    "learning_rate = 1e-3",
    "[augmentation]",
    "shift = 0.1",
)
SETTINGS = st.sampled_from(
    [
        "model", "network", "input", "augmentation", "epochs", "batch_size", "optimizer",
        "gradient_clip", "seed", "input.height", "network.arguments", "[input]", "[x]",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        "0", "-1", "1e999", "nan", "inf", "true", '""', '"no such model"', "[]", "{}", "[[1]]",
        "2026-01-01", "2026-13-41", "07:32:00", "9" * 400, "0x" + "f" * 40, '"\\ud800"', "",
    ]
)  # fmt: skip
LINES = st.one_of(
    st.sampled_from(RECIPE),
    st.builds("{} = {}".format, SETTINGS, VALUES),
    st.text(max_size=12),
    st.builds(
        lambda mark, count: "a = " + mark * count, st.sampled_from("[{"), st.integers(1, 3000)
    ),
)


@FUZZ
@given(st.lists(LINES, max_size=6), st.one_of(st.just(b""), st.binary(max_size=9)))
def test_any_recipe_is_read_or_refused(
    survive: Any, folder: Path, lines: list[str], rest: bytes
) -> None:
    presets = pytest.importorskip("fer_train.presets", reason="no package to train with")
    pytest.importorskip("timm", reason="no timm that knows models")  # imported when it is asked
    path = folder / "recipe.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + rest)
    found = survive(presets.load_recipe, path)
    assert isinstance(found, (presets.Recipe, ConfigurationError))


TRAINED_EPOCH = {
    "epoch": 1,
    "train_loss": 2.0,
    "train_accuracy": 0.5,
    "learning_rate": 1e-3,
    "images_per_s": 100.0,
    "public_test_accuracy": None,
    "public_test_nll": None,
    "seconds": 12.5,
    "hardware": "a CPU",
}


@FUZZ
@given(st.lists(st.one_of(changed_json(TRAINED_EPOCH), st.text(max_size=9)), max_size=3))
def test_any_journal_is_read_or_refused(survive: Any, folder: Path, lines: list[str]) -> None:
    journal = pytest.importorskip("fer_train.journal", reason="no package to train with")
    path = folder / journal.METRICS
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    assert isinstance(survive(journal.read_journal, path), (tuple, ArtifactError))


NAMES = st.sampled_from(["../../x", "/etc/x", "..", "", ".x", "a/b", "x\0", "y" * 300, "run-1"])


@FUZZ
@given(data=st.data())
def test_any_report_is_kept_in_its_folder_or_refused(
    survive: Any,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    results = pytest.importorskip("release.results", reason="no package to train with")
    place = tmp_path_factory.mktemp("results")
    run, kept, page = place / "run", place / "below" / "kept", place / "page" / "page.md"
    run.mkdir()
    value = json.loads((root / "train" / "weights" / "mobilenet.json").read_text())
    if data.draw(st.booleans()):
        value["training_run"] = data.draw(NAMES)
    if data.draw(st.booleans()):
        value["history"] = {**PLAIN_HISTORY, "recipe": data.draw(st.text(max_size=9))}
    (run / "report.json").write_bytes(data.draw(changed_json(value)).encode("utf-8", "replace"))
    lines = data.draw(st.lists(changed_json(TRAINED_EPOCH), max_size=2))
    (run / "metrics.jsonl").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    found = survive(results.write_results, [run], kept=kept, page=page)
    assert isinstance(found, (tuple, ArtifactError))
    written = {file for file in place.rglob("*") if file.is_file() and file.parent != run}
    expected = (
        {page, *(kept / f"{report.training_run}.json" for report in found)}
        if isinstance(found, tuple)
        else set()
    )
    assert written == expected
    assert all(file.parent in {kept, page.parent} for file in written)
    shutil.rmtree(place)
