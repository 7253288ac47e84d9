"""What ``import fer_edge`` gives to its users."""

from __future__ import annotations

import ast
import re
import types
from pathlib import Path

import pytest

import fer_edge


def test_all_lists_what_the_package_gives() -> None:
    homes = vars(fer_edge)["_HOMES"]
    assert {*fer_edge.__all__} == {*homes, "__version__"}


def test_the_type_checker_sees_what_a_program_gets() -> None:
    tree = ast.parse(Path(fer_edge.__file__).read_text(encoding="utf-8"))
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "_TYPE_CHECKING"
    )
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"fer_edge.{home}" for name, home in vars(fer_edge)["_HOMES"].items()}


def test_every_name_is_there_and_listed() -> None:
    for name in fer_edge.__all__:
        assert getattr(fer_edge, name) is not None
        assert name in dir(fer_edge)
        assert name in vars(fer_edge), "it is kept after the first use"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fer_edge' has no attribute 'Predictr'"):
        fer_edge.Predictr  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_object_says_what_it_is() -> None:
    objects = (getattr(fer_edge, name) for name in fer_edge.__all__)
    silent = [o for o in objects if isinstance(o, type | types.FunctionType) and not o.__doc__]
    assert silent == []


def test_the_version_is_one() -> None:
    assert re.match(r"\d+", fer_edge.__version__)
