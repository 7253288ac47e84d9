"""Dataclasses to plain data and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.errors import ArtifactError, ConfigurationError


@dataclass(frozen=True)
class Inner:
    size: int
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size should be 0 or more, not {self.size}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    parts: tuple[Inner, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    good: bool = True


FULL = Outer("x", Inner(1, 0.25), (Inner(2), Inner(3)), {"a": 1}, "note", good=False)


def plain(**changes: Any) -> dict[str, Any]:
    return {**encode(FULL), **changes}


def test_a_record_survives_json() -> None:
    assert decode(Outer, json.loads(json.dumps(encode(FULL))), "x") == FULL


def test_what_has_a_default_may_be_absent() -> None:
    assert decode(Outer, {"name": "x", "inner": {"size": 1}}, "x") == Outer("x", Inner(1))


def test_a_whole_number_is_taken_for_a_fraction() -> None:
    decoded = decode(Inner, {"size": 1, "share": 1}, "x")
    assert type(decoded.share) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "x should be of type dict, not None"),
        ([], r"x should be of type dict, not \[\]"),
        ({}, "x lacks the fields inner, name"),
        (plain(surplus=1), "x has unknown fields 'surplus'; known are name, inner"),
        (plain(name=5), "x.name should be of type str, not 5"),
        (plain(name=None), "x.name should be of type str, not None"),
        (plain(good=1), "x.good should be of type bool, not 1"),
        (plain(note=5), "x.note should be of type str, not 5"),
        (plain(inner={"size": True}), "x.inner.size should be of type int, not True"),
        (plain(inner={"size": 1.0}), "x.inner.size should be of type int, not 1.0"),
        (plain(inner={"size": -1}), "x.inner: size should be 0 or more, not -1"),
        (plain(inner={"size": 1, "share": "1"}), "x.inner.share should be of type float"),
        (plain(inner={"size": 1, "share": False}), "x.inner.share should be of type float"),
        (plain(parts={}), "x.parts should be of type list"),
        (plain(parts=[{"size": 1}, {}]), r"x.parts\[1\] lacks the fields size"),
        (plain(counts=[]), "x.counts should be of type dict"),
        (plain(counts={"a": "b"}), "x.counts.a should be of type int, not 'b'"),
    ],
)
def test_a_defect_is_told_with_its_place(value: object, message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^{message}"):
        decode(Outer, value, "x")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_fraction_is_finite(number: float) -> None:
    with pytest.raises(ArtifactError, match=r"x.share should be a finite number"):
        decode(Inner, {"size": 1, "share": number}, "x")


def test_a_whole_number_too_large_for_a_fraction_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"x\.share should be a finite number, not 1000"):
        decode(Inner, {"size": 1, "share": 10**400}, "x")


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(ConfigurationError):
        decode(Outer, {}, "x", ConfigurationError)


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ArtifactError) as caught:
        decode(Outer, plain(name=["x" * 10_000]), "x")
    assert len(str(caught.value)) < 200


def test_an_unknown_name_cannot_control_the_terminal() -> None:
    with pytest.raises(ArtifactError) as caught:
        decode(Outer, plain(**{"\033[2J": 1}), "x")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": [Infinity]}',
        "-Infinity",
        b"\xff\xfe\x00",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^x is not valid JSON: "):
        parse_json(text, "x")


def test_json_may_come_as_bytes() -> None:
    assert parse_json('{"a": "ä"}'.encode(), "x") == {"a": "ä"}


@dataclass(frozen=True)
class Measured:
    interval: tuple[float, float]


@pytest.mark.parametrize("interval", [[], [0.5], [0.1, 0.2, 0.3]])
def test_a_tuple_of_two_has_two_items(interval: list[float]) -> None:
    assert decode(Measured, {"interval": [0.1, 0.2]}, "it", ArtifactError).interval == (0.1, 0.2)
    with pytest.raises(ArtifactError, match=r"it\.interval should have 2 items, not "):
        decode(Measured, {"interval": interval}, "it", ArtifactError)
