"""Sidecars of plans, what they say of other machines, and the plans that a machine trusts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.plan import (
    Gpu,
    PlanLayer,
    PlanSidecar,
    is_trusted,
    read_sidecar,
    require_trust,
    sidecar_path,
    trust_plan,
)
from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError

PLAN = b"a plan"
DIGEST = hashlib.sha256(PLAN).hexdigest()
ORIN = Gpu("Orin", "8.7", 16)


@pytest.fixture
def sidecar(tiny_spec: ModelSpec) -> PlanSidecar:
    return PlanSidecar(
        spec=tiny_spec,
        plan_sha256=DIGEST,
        tensorrt="10.3.0",
        gpu=ORIN,
        min_batch=1,
        opt_batch=4,
        max_batch=8,
        inference_precision="fp16",
        shares={"fp16": 0.75, "fp32": 0.25},
        layers=(PlanLayer("conv", "CaskConvolution", "fp16", matrix=True),),
    )


def artifact(text: bytes | None, spec: ModelSpec | None = None) -> Artifact:
    companions = {} if text is None else {"model.plan.json": text}
    return Artifact(Path("/m/model.plan"), "tensorrt", PLAN, DIGEST, companions, spec)


def test_a_sidecar_survives_its_file(sidecar: PlanSidecar, tmp_path: Path) -> None:
    plan = tmp_path / "model.fp16.plan"
    sidecar.write(plan)
    text = (tmp_path / "model.fp16.plan.json").read_bytes()
    assert sidecar_path(plan).read_bytes() == text
    assert PlanSidecar.from_json(text, "the sidecar") == sidecar


def test_the_sidecar_of_an_artifact_is_read(sidecar: PlanSidecar) -> None:
    assert read_sidecar(artifact(json.dumps(encode(sidecar)).encode())) == sidecar


def test_a_plan_without_a_sidecar_names_the_file_that_it_lacks() -> None:
    with pytest.raises(ArtifactError, match=r"model\.plan\.json.*copy both"):
        read_sidecar(artifact(None))


def test_a_plan_without_a_sidecar_does_with_the_callers_spec(tiny_spec: ModelSpec) -> None:
    assert read_sidecar(artifact(None, tiny_spec)) is None


def test_the_sidecar_of_another_plan_is_refused(sidecar: PlanSidecar) -> None:
    other = dataclasses.replace(sidecar, plan_sha256="0" * 64)
    with pytest.raises(ArtifactError, match="another plan's"):
        read_sidecar(artifact(json.dumps(encode(other)).encode()))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_a_damaged_sidecar_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"model\.plan\.json"):
        read_sidecar(artifact(text))


def test_a_sidecar_of_a_newer_release_asks_for_an_upgrade(sidecar: PlanSidecar) -> None:
    text = json.dumps({**encode(sidecar), "schema": 3}).encode()
    with pytest.raises(ArtifactError, match="Upgrade"):
        read_sidecar(artifact(text))


def test_batches_out_of_order_are_refused(sidecar: PlanSidecar) -> None:
    text = json.dumps({**encode(sidecar), "max_batch": 2}).encode()
    with pytest.raises(ArtifactError, match="1 <= min <= opt <= max"):
        read_sidecar(artifact(text))


def test_a_plan_fits_the_machine_that_built_it(sidecar: PlanSidecar) -> None:
    assert sidecar.misfits("10.3.0", ORIN) == []


@pytest.mark.parametrize(
    "gpu", [Gpu("Orin", "8.7", 8), Gpu("Orin", "8.9", 16), Gpu("Thor", "8.7", 16)]
)
def test_a_plan_does_not_fit_another_gpu(sidecar: PlanSidecar, gpu: Gpu) -> None:
    (reason,) = sidecar.misfits("10.3.0", gpu)
    assert str(ORIN) in reason
    assert str(gpu) in reason


def test_another_power_mode_of_the_same_gpu_is_named(sidecar: PlanSidecar) -> None:
    (same,) = sidecar.misfits("10.3.0", Gpu("Orin", "8.7", 8))
    assert "power mode" in same
    (other,) = sidecar.misfits("10.3.0", Gpu("Thor", "8.7", 8))
    assert "power mode" not in other


def test_hardware_that_nobody_knows_is_refused(sidecar: PlanSidecar) -> None:
    text = json.dumps({**encode(sidecar), "hardware": "any"}).encode()
    with pytest.raises(ArtifactError, match="this-gpu, same-compute-capability"):
        read_sidecar(artifact(text))


@pytest.mark.parametrize("version", ["10.3.1", "10.13.0", "11.4.0"])
def test_a_plan_does_not_fit_another_tensorrt(sidecar: PlanSidecar, version: str) -> None:
    (reason,) = sidecar.misfits(version, ORIN)
    assert "10.3.0" in reason
    assert version in reason


@pytest.mark.parametrize(
    ("version", "fits"),
    [("10.3.0", True), ("10.13.0", True), ("10.2.0", False), ("11.4.0", False), ("9.9", False)],
)
def test_a_version_compatible_plan_fits_later_minor_versions(
    sidecar: PlanSidecar, version: str, fits: bool
) -> None:
    portable = dataclasses.replace(sidecar, version_compatible=True)
    assert (portable.misfits(version, ORIN) == []) is fits


@pytest.mark.parametrize(
    ("capability", "fits"), [("8.0", True), ("8.9", True), ("10.0", True), ("7.5", False)]
)
def test_a_hardware_compatible_plan_fits_from_ampere_on(
    sidecar: PlanSidecar, capability: str, fits: bool
) -> None:
    portable = dataclasses.replace(sidecar, hardware="ampere-plus")
    assert (portable.misfits("10.3.0", Gpu("other", capability, 99)) == []) is fits


@pytest.mark.parametrize(("capability", "fits"), [("8.7", True), ("8.6", False)])
def test_a_plan_for_one_compute_capability_fits_every_gpu_of_it(
    sidecar: PlanSidecar, capability: str, fits: bool
) -> None:
    portable = dataclasses.replace(sidecar, hardware="same-compute-capability")
    assert (portable.misfits("10.3.0", Gpu("other", capability, 99)) == []) is fits


def test_a_plan_that_nobody_recorded_is_native_code_to_refuse() -> None:
    with pytest.raises(ArtifactError, match=r"native code.*trust=True"):
        require_trust(artifact(None), trust=False)


def test_a_plan_is_trusted_once_an_export_recorded_it(
    home: Path, sidecar: PlanSidecar, tmp_path: Path
) -> None:
    plan = tmp_path / "model.plan"
    sidecar.write(plan)
    trust_plan(DIGEST, plan)
    assert is_trusted(DIGEST)
    assert not is_trusted("0" * 64)
    require_trust(artifact(None), trust=False)
    text = sidecar_path(plan).read_bytes()
    require_trust(artifact(text), trust=False)
    with pytest.raises(ArtifactError, match="was changed since this machine built the plan"):
        require_trust(artifact(text.replace(b"10.3.0", b"11.4.0")), trust=False)
    assert [file.is_relative_to(home) for file in home.rglob("*.json")] == [True]


def test_a_caller_may_trust_a_plan_without_a_record(home: Path) -> None:
    require_trust(artifact(None), trust=True)
    assert not list(home.iterdir())
