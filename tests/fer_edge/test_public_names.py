"""What ``import fer_edge`` gives to its users."""

from __future__ import annotations

import re
import types

import fer_edge


def test_all_lists_what_the_package_exports() -> None:
    visible = {
        name
        for name, value in vars(fer_edge).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert {*fer_edge.__all__} == visible | {"__version__"}


def test_all_names_nothing_twice() -> None:
    assert len(fer_edge.__all__) == len(set(fer_edge.__all__))


def test_every_public_object_says_what_it_is() -> None:
    objects = (getattr(fer_edge, name) for name in fer_edge.__all__)
    silent = [o for o in objects if isinstance(o, type | types.FunctionType) and not o.__doc__]
    assert silent == []


def test_every_error_is_a_fer_edge_error() -> None:
    errors = [value for name, value in vars(fer_edge).items() if name.endswith("Error")]
    assert len(errors) > 1
    assert all(issubclass(error, fer_edge.FerEdgeError) for error in errors)


def test_the_version_is_one() -> None:
    assert re.match(r"\d+", fer_edge.__version__)
