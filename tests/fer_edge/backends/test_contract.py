"""The contract that every graph is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fer_edge import ArtifactError, ConfigurationError, ModelSpec
from fer_edge.artifacts.artifact import Artifact
from fer_edge.backends.contract import Port, contract_spec, padded, static_batch

GOOD_IN = [Port("crop", "uint8", ("batch", 48, 48, 1))]
GOOD_OUT = [Port(name, "float32", (None, 7)) for name in ("logits", "probabilities")]


@pytest.fixture
def bare(artifact_of: Callable[..., Artifact]) -> Artifact:
    return artifact_of(b"any")


def test_a_graph_that_keeps_it_gives_its_spec(bare: Artifact, tiny_spec: ModelSpec) -> None:
    assert contract_spec(tiny_spec.to_json(), bare, GOOD_IN, GOOD_OUT) == tiny_spec


def test_the_order_of_outputs_is_no_matter(bare: Artifact, tiny_spec: ModelSpec) -> None:
    assert contract_spec(tiny_spec.to_json(), bare, GOOD_IN, GOOD_OUT[::-1]) == tiny_spec


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([], GOOD_OUT),
        ([*GOOD_IN, Port("more", "uint8", (1,))], GOOD_OUT),
        ([replace(GOOD_IN[0], name="image")], GOOD_OUT),
        ([replace(GOOD_IN[0], dtype="float32")], GOOD_OUT),
        ([replace(GOOD_IN[0], shape=("batch", 1, 48, 48))], GOOD_OUT),
        ([replace(GOOD_IN[0], shape=("batch", "h", "w", 1))], GOOD_OUT),
        ([replace(GOOD_IN[0], shape=())], GOOD_OUT),
        (GOOD_IN, GOOD_OUT[:1]),
        (GOOD_IN, [GOOD_OUT[0], replace(GOOD_OUT[1], shape=(None, 8))]),
        (GOOD_IN, [GOOD_OUT[0], replace(GOOD_OUT[1], dtype="f16")]),
        ([replace(GOOD_IN[0], shape=(4, 48, 48, 1))], [replace(p, shape=(2, 7)) for p in GOOD_OUT]),
    ],
)
def test_a_graph_that_does_not_is_refused(
    bare: Artifact, tiny_spec: ModelSpec, inputs: list[Port], outputs: list[Port]
) -> None:
    with pytest.raises(ArtifactError, match=r"does not fit its own spec: .*expected crop uint8"):
        contract_spec(tiny_spec.to_json(), bare, inputs, outputs)


def test_a_callers_spec_is_for_what_carries_none(bare: Artifact, tiny_spec: ModelSpec) -> None:
    given = replace(bare, spec=tiny_spec)
    assert contract_spec(None, given, GOOD_IN, GOOD_OUT) == tiny_spec
    assert contract_spec(tiny_spec.to_json(), given, GOOD_IN, GOOD_OUT) == tiny_spec


def test_a_callers_spec_never_replaces_the_artifacts(bare: Artifact, tiny_spec: ModelSpec) -> None:
    other = replace(bare, spec=tiny_spec.with_changes(temperature=9.0))
    with pytest.raises(ConfigurationError, match=r"carries a spec of its own, .* leave spec out"):
        contract_spec(tiny_spec.to_json(), other, GOOD_IN, GOOD_OUT)


def test_a_callers_spec_is_held_against_the_graph(bare: Artifact, tiny_spec: ModelSpec) -> None:
    wrong = replace(bare, spec=tiny_spec)
    with pytest.raises(ArtifactError, match="does not fit the spec that was given"):
        contract_spec(None, wrong, [Port("crop", "uint8", (None, 64, 64, 1))], GOOD_OUT)


def test_the_batch_of_a_graph_is_fixed_or_not() -> None:
    assert static_batch(GOOD_IN) is None
    assert static_batch([Port("crop", "uint8", (8, 48, 48, 1))]) == 8


def test_a_smaller_batch_is_filled_up() -> None:
    batch = np.ones((2, 4, 4, 1), np.uint8)
    filled = padded(batch, 3)
    assert filled.shape == (3, 4, 4, 1)
    assert np.array_equal(filled[:2], batch)
    assert padded(batch, 2) is batch
