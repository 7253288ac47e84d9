"""What a check found: a table, and the pictures whose answer changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_bench.tables import aligned_table


class NotCompared(Exception):  # noqa: N818 - not an error: the check does not apply
    """There is nothing to compare with; the message says why, and what to do."""


@dataclass(frozen=True)
class Row:
    """One comparison, its numbers as text; ``decides`` is False for a row that only informs."""

    what: str
    recorded: str
    now: str
    bound: str
    holds: bool
    decides: bool = True


def at_most(what: str, now: float, bound: float, form: str = ".2g", recorded: str = "") -> Row:
    """A row that holds while ``now`` is a number that does not exceed ``bound``."""
    return Row(what, recorded, f"{now:{form}}", f"≤ {bound:{form}}", bool(now <= bound))


def at_least(what: str, now: float, bound: float, form: str = ".1%", recorded: str = "") -> Row:
    """A row that holds while ``now`` is a number that does not fall below ``bound``."""
    return Row(what, recorded, f"{now:{form}}", f"≥ {bound:{form}}", bool(now >= bound))


def note(what: str, now: str) -> Row:
    """A row for information; it never fails."""
    return Row(what, "", now, "", holds=True, decides=False)


def spoken(probabilities: npt.NDArray[np.floating], labels: tuple[str, ...]) -> str:
    """The most probable of ``labels`` and its probability."""
    return f"{labels[int(probabilities.argmax())]} {float(probabilities.max()):.0%}"


@dataclass(frozen=True, eq=False)
class ChangedPicture:
    """A picture that got another answer: uint8 ``(H, W)`` or BGR, its name, and a caption.

    ``worse`` is True if the earlier answer was right, or the reference's.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    caption: str
    worse: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """Rows of the table; a check holds if all of them do.

    If no row decides, nothing was compared and nothing is guarded, so a failing row is added.
    """

    rows: tuple[Row, ...]
    changed: tuple[ChangedPicture, ...] = ()

    def __post_init__(self) -> None:
        if not any(row.decides for row in self.rows):
            nothing = Row("comparisons", "", "0", "≥ 1", holds=False)
            object.__setattr__(self, "rows", (*self.rows, nothing))

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(row.holds for row in self.rows)


def table(rows: tuple[Row, ...]) -> str:
    """Lay rows out as text; those that do not hold are marked."""
    cells = [(r.what, r.recorded, r.now, r.bound, "" if r.holds else "FAILS") for r in rows]
    return aligned_table(("", "recorded", "now", "bound", ""), cells, text_columns=1)
