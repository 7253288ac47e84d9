"""What an attacker or a bad disk makes of files, for property tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

__all__ = ["Payload", "damaged_bytes", "damaged_graph"]


@st.composite
def damaged_graph(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes changed, most of them where a graph is described, or cut off."""
    changed = bytearray(data)
    names = _last_letters(data)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.one_of(names, st.integers(0, len(changed) - 1)))
        changed[at : at + draw(st.sampled_from([0, 1, 1, 2]))] = draw(st.binary(max_size=2))
    if draw(st.integers(0, 5)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)


@functools.cache
def _last_letters(data: bytes) -> st.SearchStrategy[int]:
    return st.sampled_from([at for at in range(len(data)) if data[at : at + 1].isalpha()][-2000:])


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with a few bytes changed, removed or inserted, or cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        end = at + draw(st.sampled_from([0, 1, 1, 4, 60]))
        changed[at:end] = draw(st.binary(max_size=8))
    if draw(st.integers(0, 5)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)


class Payload:
    """Unpickling this would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)
