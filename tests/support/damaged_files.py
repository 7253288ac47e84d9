"""Files in which something was changed, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["damage"]


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes changed, most of them where a graph is described, or cut off."""
    changed = bytearray(data)
    names = [at for at in range(len(data)) if data[at : at + 1].isalpha()][-2000:]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.one_of(st.sampled_from(names), st.integers(0, len(changed) - 1)))
        changed[at : at + draw(st.sampled_from([0, 1, 1, 2]))] = draw(st.binary(max_size=2))
    if draw(st.integers(0, 5)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)
