"""List files: a line per picture with its path and its label, and, where known, split and box."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from fer_edge.errors import DataError
from fer_edge.evaluation.halves import TRAIN, half_named
from fer_edge.evaluation.layout import ALL_FOR_TRAINING, Entry, Survey
from fer_edge.evaluation.picture_files import open_file
from fer_edge.evaluation.tables import Table, open_table

MAX_LISTED = 2_000_000
"""Lines of a list; AffectNet has 450,000 labelled pictures."""

PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    *("image_name", "img", "img_path", "picture", "pth", "name", "subdirectory_filepath"),
)
"""What people call the column of a picture's path, in lower case."""

_LABELS = (
    *("label", "labels", "emotion", "expression", "class", "class_name", "category", "target"),
)
_SPLITS = ("split", "usage", "set", "subset", "partition", "fold")
_WORDS = re.compile(r"[^a-z]+")
_SIZED_BOXES = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("face_x", "face_y", "face_width", "face_height"),
    ("left", "top", "width", "height"),
)
_CORNER_BOXES = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
)
_PLAIN_COLUMNS = {2: (), 6: (2, 3, 4, 5)}
"""Numbers of columns without a header, and where the box stands."""

_Box = tuple[int, int, int, int]


def read_list(path: Path) -> Survey:
    """Read ``path,label`` and, with a header, a column of splits and four of boxes.

    Paths are relative to the list. Without a header the label may come first: the first picture
    tells. Without a column of splits the paths tell the halves, by a folder or by a name such as
    test_0001.jpg, and the rest is for training. A line that is there twice counts once. Raises
    DataError for a line that does not fit, for a picture with two labels or in two halves, and for
    pictures that are not there.
    """
    entries: dict[tuple[object, ...], Entry] = {}
    missing: list[str] = []
    with open_table(open_file(path), str(path), MAX_LISTED) as table:
        columns = _columns(table, path.parent)
        first = [] if columns.header else [(1, list(table.header))]
        rows = [*first, *table.rows]
        if columns.header and columns.split is None:
            columns = columns._replace(split=_column_of_halves(table, columns, rows))
        for number, row in rows:
            entry = _entry(path, row, columns, f"{path} line {number}")
            known = entries.setdefault((entry.name, entry.box), entry)
            if (known.key, known.half) != (entry.key, entry.half):
                raise DataError(
                    f"{path} line {number} has {entry.name} as {entry.key} of {entry.half}, and a "
                    f"line before it as {known.key} of {known.half}; keep one of them"
                )
            if known is entry and not os.path.isfile(path.parent / entry.name):
                missing.append(entry.name)
    if missing:
        raise DataError(
            f"{path} lists {len(missing)} pictures that are not there, {missing[0]} for one; paths "
            f"start from the list's own folder, {path.parent}"
        )
    notes = [ALL_FOR_TRAINING] if all(it.half == TRAIN for it in entries.values()) else []
    if len(rows) > len(entries):
        repeated = len(rows) - len(entries)
        notes.append(f"{repeated} lines of {path.name} repeat others and are left out")
    return Survey(tuple(entries.values()), tuple(notes), f"a list of {len(entries)} pictures")


class _Columns(NamedTuple):
    """Where path, label, split and box stand; ``header`` says whether the first line told it."""

    header: bool
    path: int
    label: int
    split: int | None = None
    box: Sequence[int] = ()
    box_has_corners: bool = False

    @property
    def least(self) -> int:
        """How many fields a row has at least."""
        return max(self.path, self.label, self.split or 0, *self.box) + 1


def _columns(table: Table, folder: Path) -> _Columns:
    names = [name.lower() for name in table.header]
    path, label = _first_of(names, PATH_COLUMNS), _first_of(names, _LABELS)
    if path is None and label is None and len(names) in _PLAIN_COLUMNS:
        paths = (folder / _with_slashes(folder, name) for name in table.header[:2])
        swapped = list(map(os.path.isfile, paths)) == [False, True]
        box = _PLAIN_COLUMNS[len(names)]
        return _Columns(header=False, path=int(swapped), label=int(not swapped), box=box)
    if path is None or label is None:
        said = ", ".join(f"{name:.30}" for name in table.header[:12]) or "empty"
        raise DataError(
            f"{table.source} is neither a list of pictures nor a table of FER2013: its first line "
            f"is {said}; expected path,label (with box: path,label,x,y,w,h), or "
            "emotion,pixels,Usage"
        )
    boxes = (box for box in (*_SIZED_BOXES, *_CORNER_BOXES) if set(box) <= set(names))
    box_names = next(boxes, ())
    return _Columns(
        header=True,
        path=path,
        label=label,
        split=_first_of(names, _SPLITS),
        box=[names.index(name) for name in box_names],
        box_has_corners=box_names in _CORNER_BOXES,
    )


def _column_of_halves(
    table: Table, columns: _Columns, rows: Sequence[tuple[int, list[str]]]
) -> int | None:
    """The column of another name that has a half in each line, and not train in all of them."""
    for column, name in enumerate(table.header):
        if column in (columns.path, columns.label, *columns.box):
            continue
        told = {row[column] for _, row in rows if len(row) > column}
        halves = set(map(half_named, told))
        has_others = bool(halves - {TRAIN, None})
        if has_others and None not in halves:
            return column
        if has_others or (None in halves and any(map(half_named, _WORDS.split(name.lower())))):
            raise DataError(
                f"{table.source} has the column {name}, which could tell the halves; expected "
                "train, val or test in each of its lines: write that, or leave the column out"
            )
    return None


def _first_of(names: Sequence[str], known: Iterable[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _with_slashes(folder: Path, name: str) -> str:
    """A path that Windows wrote, as this system writes it."""
    unchanged = "\\" not in name or os.path.exists(folder / name)
    return name if unchanged else name.replace("\\", "/")


def _entry(listing: Path, row: list[str], columns: _Columns, where: str) -> Entry:
    if len(row) < columns.least:
        raise DataError(f"{where} has {len(row)} fields; expected at least {columns.least}")
    name, key = row[columns.path], row[columns.label]
    if not name or not key:
        raise DataError(f"{where} lacks its {'label' if name else 'path'}")
    name = _with_slashes(listing.parent, name)
    if columns.split is None:
        *folders, last = PurePath(name).with_suffix("").parts
        around = map(half_named, (*reversed(folders), last))
        split = next((half for half in around if half), TRAIN)
    elif (half := half_named(row[columns.split])) is None:
        told = row[columns.split]
        raise DataError(f"{where} has the split {told!r:.40}; expected train, val or test")
    else:
        split = half
    opener = functools.partial(open_file, listing.parent / name)
    return Entry(name, key, split, opener, _box(row, columns, where) if columns.box else None)


def _box(row: list[str], columns: _Columns, where: str) -> _Box:
    told = [row[column] for column in columns.box]
    try:
        x, y, third, fourth = (round(float(value)) for value in told)
    except (ValueError, OverflowError) as problem:
        raise DataError(
            f"{where} has the box {' '.join(told)!r:.60}, not four numbers"
        ) from problem
    box = (x, y, third - x, fourth - y) if columns.box_has_corners else (x, y, third, fourth)
    if box[2] <= 0 or box[3] <= 0:
        raise DataError(f"{where} has the box {' '.join(told)!r:.60}, which is empty")
    return box
