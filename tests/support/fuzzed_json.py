"""Documents as hypothesis draws them: any JSON, and JSON of ours with something changed."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

__all__ = ["JSON", "changed_json"]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["../x", "/etc/passwd", "x\0", "fp32", "int8", "\ud800", "a" * 300, 10**400]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, value: Any) -> str:
    """A document in which something was replaced, removed or added, or its text was damaged."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 2))):
        place, key = None, None
        inner = changed
        while isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 4)):
            place = inner
            key = draw(
                st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner)))
            )
            inner = inner[key]
        if place is None:
            continue
        if draw(st.booleans()):
            place[key] = draw(JSON)
        elif isinstance(place, dict):
            del place[key]
            place[draw(st.text(max_size=6))] = draw(JSON)
        else:
            place.append(draw(JSON))
    text = json.dumps(changed)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 9)) :]
    return text
