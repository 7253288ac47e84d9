"""What stands in a source, is not read and could be a half: it would be missed in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import chain
from pathlib import Path

from fer_edge.errors import DataError
from fer_edge.evaluation.halves import PRIVATE, TEST, TRAIN, half_named, halves_in
from fer_edge.evaluation.picture_files import (
    ARCHIVES,
    PICTURES,
    PROSE,
    SHORTCUTS,
    Listing,
    SourceFile,
    what_one_is,
)

_STAND_INS = {"", *SHORTCUTS}
"""Of files that stand for a folder: git's links on Windows are files, and so are shortcuts."""
_OF_OFFICE = "[Content_Types].xml"
"""A member of the zips that Word and Excel write."""
_SHOWN = 8


def refuse_hidden_halves(
    listing: Listing,
    others: Sequence[SourceFile],
    filled: Set[tuple[str, ...]],
    read: Mapping[str, tuple[str, ...]],
    source: Path,
) -> None:
    """Refuse what is not read and could be a half: it would be missed in silence.

    ``others`` are the files outside of class folders, ``filled`` the folders around pictures that
    are read. Beside a test half only its neighbours are looked at; without one, everything.
    """
    around = {root[:-1] for root in read.values()}
    known = {*read, TEST} if PRIVATE in read else set(read)
    has_test = not known <= {TRAIN}
    loose = [file for file in others if file.suffix in PICTURES]
    for file in loose:
        for depth in range(1, len(file.folders) + 1):
            beside = file.folders[:depth]
            if beside[:-1] in around and beside not in filled:
                advice = (
                    "put its pictures into class folders, or move it away"
                    if half_named(beside[-1])
                    else "if it is a half, call it test or val; else move it away"
                )
                halves = ", ".join(sorted(map("/".join, read.values())))
                raise DataError(
                    f"{source}: {beside[-1]} stands beside {halves}, has pictures, and is not "
                    f"read; {advice}"
                )
    if loose and not has_test:
        raise DataError(
            f"{source} has no test half, and pictures that are in no half, {loose[0].name} for "
            "one; put them into test/<class>/, or move them away"
        )
    for name in listing.folders:
        folders = tuple(name.split("/"))
        half = half_named(folders[-1])
        if half is None or folders in filled or (has_test and folders[:-1] not in around):
            continue
        inside = next((file.name for file in others if file.name.startswith(f"{name}/")), None)
        if inside is None or not known & {half, TEST}:
            but = f", but {inside}" if inside else ""
            raise DataError(
                f"{source}: {name} is there and has no pictures{but}; fill it, or remove it"
            )
    for file in others:
        is_beside = not read or file.folders in around
        if (is_beside and _stands_for_half(file)) or _may_hold_half(file, known):
            raise DataError(
                f"{source}: {file.name} could be a half, and is no folder; put its pictures into "
                "one, or move it away"
            )


def test_half_beside(listing: Listing, table: SourceFile) -> str | None:
    """The name of what is there with a table of pixels and could be its test half."""
    files = (
        file.name
        for file in listing.files
        if file.name != table.name and (file.suffix in PICTURES or _may_hold_half(file, set()))
    )
    folders = (
        name
        for name in listing.folders
        if half_named(name.rpartition("/")[2]) not in (None, TRAIN)
        and not table.name.startswith(f"{name}/")
    )
    return next(chain(files, folders), None)


def refuse_data_in_a_file(listing: Listing, source: Path) -> None:
    """Say where the pictures may be, for a source that has none."""
    if packed := [file.name for file in listing.files if file.suffix in ARCHIVES]:
        raise DataError(
            f"{source} holds {packed[0]}, which is packed itself; unpack that, and give it"
        )
    if tables := [file.name for file in listing.files if file.suffix == ".csv"]:
        raise DataError(
            f"{source} has no pictures, but {', '.join(tables[:_SHOWN])}; give such a table "
            "itself, out of any zip: FER2013's of pixels, or a list of pictures"
        )
    if any(file.name == _OF_OFFICE for file in listing.files):
        raise DataError(f"{source} is a spreadsheet or document; save its table as 'CSV UTF-8'")
    if told := what_one_is(listing.files):
        raise DataError(f"{source} has no pictures, but {told}")


def _stands_for_half(file: SourceFile) -> bool:
    return halves_in(file.last)[0] is not None and file.suffix in ARCHIVES | _STAND_INS


def _may_hold_half(file: SourceFile, known: Set[str]) -> bool:
    """Whether a file could hold a half that is not ``known``: data that is named as one is.

    With no half but train any archive or shortcut could.
    """
    halves = [half for half in halves_in(file.last) if half not in (None, TRAIN)]
    is_named = any(not known & {half, TEST} for half in halves) and file.suffix not in PROSE
    return is_named or (known <= {TRAIN} and file.suffix in ARCHIVES | SHORTCUTS)
