"""Names that become names of files stay in their folder."""

from __future__ import annotations

import pytest

from fer_train.naming import LONGEST, is_plain, require_plain

LEADING_OUT = [
    "", ".", "..", ".hidden", "-option", "../x", "a/b", "/etc/x", "a\\b", "C:x", "x\0", "x\n", "ä",
    "a b", "٣", "x" * (LONGEST + 1),
]  # fmt: skip


@pytest.mark.parametrize("name", ["m", "mobilenet-df2ab15bfa6c64a1", "resnet50.a1_in1k", "3"])
def test_a_plain_name_is_taken(name: str) -> None:
    require_plain("it", name)
    assert is_plain(name)


@pytest.mark.parametrize("name", LEADING_OUT)
def test_any_other_is_refused(name: str) -> None:
    assert not is_plain(name)
    with pytest.raises(ValueError, match="it should be at most 128 letters"):
        require_plain("it", name)
