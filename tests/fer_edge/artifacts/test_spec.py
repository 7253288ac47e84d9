"""ModelSpec: what is accepted, and that it survives the way through an artifact."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance
from fer_edge.errors import ArtifactError

HASH = "0123456789abcdef" * 4
FULL = ModelSpec(
    NetworkSpec("mobilenetv4_conv_small", 1, 1e-3, "relu6", {"depth": 2}),
    InputSpec(64, 48, "rgb", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "linear", crop_margin=0.1),
    "int8",
    1.37,
    provenance=Provenance("run-1", HASH, HASH, HASH),
)


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(FULL.to_json()), **changes})


def test_a_spec_survives_json() -> None:
    assert ModelSpec.from_json(FULL.to_json()) == FULL


def test_the_same_spec_gives_the_same_text() -> None:
    again = ModelSpec.from_json(FULL.to_json().encode())
    assert again.to_json() == FULL.to_json()


def test_the_shape_is_height_width_channels() -> None:
    assert (FULL.input.shape, InputSpec(64, 48).shape) == ((64, 48, 3), (64, 48, 1))


def test_changes_are_checked_again() -> None:
    with pytest.raises(ValueError, match="temperature"):
        FULL.with_changes(temperature=0.0)


def test_changed_provenance_keeps_the_rest() -> None:
    other = FULL.with_provenance(parent_sha256=None)
    assert other.provenance == replace(FULL.provenance, parent_sha256=None)
    assert other.input == FULL.input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"height": 0}, "input height should be 1 to 1024, not 0"),
        ({"width": 1025}, "input width should be 1 to 1024, not 1025"),
        ({"color": "bgr"}, "input color should be gray or rgb, not 'bgr'"),
        ({"mean": (0.5, 0.5)}, "input mean should be 1 finite numbers"),
        ({"mean": (math.nan,)}, "input mean should be 1 finite numbers"),
        ({"std": ()}, "input std should be 1 finite numbers"),
        ({"std": (0.0,)}, "input std should be above 0"),
        ({"std": (math.inf,)}, "input std should be 1 finite numbers"),
        ({"interpolation": "cubic"}, "input interpolation should be area or linear"),
        ({"gray_coefficients": (0.2, 0.7, 0.1)}, "gray coefficients should be"),
        ({"crop_margin": -0.1}, "crop margin should be 0 to 1"),
        ({"crop_margin": math.nan}, "crop margin should be 0 to 1"),
    ],
)
def test_an_input_that_the_runtime_cannot_make_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        InputSpec(**{"height": 48, "width": 48, **settings})


def test_the_longest_side_of_an_input_is_1024() -> None:
    assert InputSpec(1024, 1).shape == (1024, 1, 1)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_mean_and_std_have_one_value_per_channel(color: str) -> None:
    channels = {"gray": 1, "rgb": 3}[color]
    assert InputSpec(8, 8, color, (0.5,) * channels, (0.5,) * channels).channels == channels


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stem_stride": 0}, "stem stride should be at least 1, not 0"),
        ({"batch_norm_epsilon": 0.0}, "batch norm epsilon should be a finite number above 0"),
        ({"batch_norm_epsilon": math.inf}, "batch norm epsilon should be a finite number"),
        ({"batch_norm_epsilon": math.nan}, "batch norm epsilon should be a finite number"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkSpec("x", **settings)


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "A" * 64])
@pytest.mark.parametrize("name", ["data_sha256", "calibration_sha256", "parent_sha256"])
def test_a_hash_is_64_hexadecimal_digits(name: str, digest: str) -> None:
    with pytest.raises(ValueError, match=f"{name} should be 64 hexadecimal digits"):
        Provenance(**{name: digest})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, r"schema 2.*reads up to 1.*pip install -U fer-edge"),
        ({"schema": 0}, "schema should be 1, not 0"),
        ({"schema": True}, "schema should be of type int, not True"),
        ({"schema": "1"}, "schema should be of type int"),
        ({"later": 1}, "unknown fields 'later'"),
        ({"labels": ["happy"]}, "labels should be 2 to 64 different names"),
        ({"labels": ["happy", "happy"]}, "labels should be 2 to 64 different names"),
        ({"labels": ["happy", ""]}, "labels should be 2 to 64 different names"),
        ({"labels": ["happy", "two\nlines"]}, "labels should be 2 to 64 different names"),
        ({"labels": [f"class {n}" for n in range(65)]}, "labels should be 2 to 64 different names"),
        ({"precision": "fp8"}, "precision should be fp32, fp16, int8, not 'fp8'"),
        ({"temperature": 0}, "temperature should be a finite number above 0"),
        ({"temperature": "1"}, "temperature should be of type float"),
        ({"temperature": 10**400}, "temperature should be a finite number"),
        ({"network": None}, "network should be of type dict"),
        ({"network": {"architecture": "x", "arguments": {"a": 1.5}}}, "a should be of type int"),
        ({"input": {"height": 48}}, "input lacks the fields width"),
        ({"provenance": {"data_sha256": "0"}}, "data_sha256 should be 64 hexadecimal digits"),
    ],
)
def test_a_spec_of_another_kind_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"(?s)the spec of m.onnx.*{message}"):
        ModelSpec.from_json(changed(**changes), where="the spec of m.onnx")


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '"spec"', FULL.to_json()[:-5]])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="the model spec"):
        ModelSpec.from_json(text)


def test_a_text_far_longer_than_any_spec_is_not_parsed() -> None:
    with pytest.raises(ArtifactError, match=r"the model spec has .* bytes; the most is 65,536"):
        ModelSpec.from_json(FULL.to_json() + " " * (64 << 10))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_temperature_that_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(ArtifactError):
        ModelSpec.from_json(FULL.to_json().replace("1.37", number))
