"""The one reader of CSV files: FER2013's tables, FER+'s votes and lists of pictures.

Columns are separated by commas, semicolons, tabs, vertical bars or spaces, as the first line has
it. A byte-order mark, spaces around values, also quoted ones, and empty lines are accepted
everywhere. Every line is bounded, so that a file cannot take more memory than its longest allowed
row.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from fer_edge.errors import DataError
from fer_edge.system.read_file import git_lfs_advice

MAX_LINE = 1 << 16
"""Characters of a line; FER2013's longest row has 9,200 (2304 numbers with spaces)."""

_SEPARATORS = ",;\t|"
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_PACKED = (b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_LISTED, _SHOWN = 12, 30
_PEEKED, _MARK = 64, 4


@dataclass(frozen=True)
class Table:
    """An opened table: the fields of its first line and the rows below it, all stripped.

    ``rows`` gives each row with the number of its line. Empty lines are left out, also before the
    first. ``source`` names the table in messages.
    """

    source: str
    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]

    def columns(self, *names: str) -> list[int]:
        """Positions of these columns, named in any case of letters.

        Raises DataError with the columns that there are.
        """
        lowered = [name.lower() for name in self.header]
        missing = [name for name in names if name.lower() not in lowered]
        if not missing:
            return [lowered.index(name.lower()) for name in names]
        if not self.header:
            raise DataError(f"{self.source} is empty; expected the columns {', '.join(names)}")
        said = ", ".join(f"{name:.{_SHOWN}}" for name in self.header[:_LISTED])
        raise DataError(
            f"{self.source} lacks the columns {', '.join(sorted(missing))}: its first line is "
            f"{said}; name them there"
        )


@contextmanager
def open_table(stream: IO[bytes], source: str, most: int) -> Iterator[Table]:
    """Read a table of at most ``most`` rows from ``stream``, which is closed at the end.

    Raises DataError, within the block too, for a file that is no text of UTF-8, no CSV, or beyond
    the bounds.
    """
    with stream:
        _refuse_other_text(stream, source)
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            try:
                lines = _bounded_lines(text, source, most)
                first = next((line for _, line in lines if line.strip()), "")
                used = _separator_of(first)
                header = tuple(_fields(first, used))
                rows = (
                    (number, fields) for number, line in lines if any(fields := _fields(line, used))
                )
                yield Table(source, header, rows)
            except (csv.Error, UnicodeDecodeError) as problem:
                raise DataError(
                    f"{source} is not a readable CSV file: {problem}. Save it as UTF-8 text"
                ) from problem


def _refuse_other_text(stream: IO[bytes], source: str) -> None:
    peek = getattr(stream, "peek", None)
    start = b"" if peek is None else peek(_PEEKED)[:_PEEKED]
    if advice := git_lfs_advice(start):
        raise DataError(f"{source} {advice}")
    if start.lstrip()[:1] == b"<":
        raise DataError(f"{source} is a web page; download the file itself")
    if start.startswith(_PACKED):
        raise DataError(
            f"{source} is packed or a spreadsheet; expected text: unpack it, or save it as "
            "'CSV UTF-8'"
        )
    if start.startswith(_UTF_16) or b"\0" in start[:_MARK]:
        encoding = "UTF-32" if start.startswith(_UTF_32) else "UTF-16"
        raise DataError(
            f"{source} is text in {encoding}; expected UTF-8. Save it as 'CSV UTF-8', or convert "
            f"it: iconv -f {encoding} -t UTF-8"
        )


def _separator_of(line: str) -> str:
    """The separator that occurs most often in the first line; spaces only if there is no other."""
    found = max(_SEPARATORS, key=lambda mark: (line.count(mark), mark == ","))
    return " " if not line.count(found) and " " in line.strip() else found


def _fields(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    found: list[str] = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [field.strip() for field in found]


def _bounded_lines(text: IO[str], source: str, most: int) -> Iterator[tuple[int, str]]:
    """Read line by line, because a quoted field over several lines would grow without a bound."""
    for number in range(1, most + 2):  # and the header
        line = text.readline(MAX_LINE + 1)
        if not line:
            return
        if len(line) > MAX_LINE:
            raise DataError(
                f"{source} line {number} is longer than {MAX_LINE:,} characters, and no row of "
                "such a table is; download it again"
            )
        yield number, line
    if text.readline(1):
        raise DataError(
            f"{source} has more than {most:,} rows, the most that are read at once; "
            "FER2013 has 35,887"
        )
