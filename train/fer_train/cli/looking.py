"""``fer-train data``: what a data set holds, before anything is trained on it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import (
    DATA_HELP,
    Commands,
    add_command,
    add_data_choices,
    add_validation_options,
    data_of,
    write_result,
)

SCHEMA = "fer-train-data/1"
SUMMARY = (
    "show what a data set holds: pictures per class and half, sizes, copies, what is unreadable"
)
_SHOWN = 20


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "data", SUMMARY, _look)
    parser.add_argument("data", metavar="DATA", type=Path, help=DATA_HELP)
    add_data_choices(parser)
    add_validation_options(parser, seed=True)
    parser.add_argument(
        "--sheet", metavar="PNG", type=Path, help="draw some pictures of each class into it"
    )


def _look(options: Namespace) -> int:
    from fer_train.inventory import take_inventory

    found = take_inventory(data_of(options), options.sheet)
    labels = sorted({label for counts in found.counts.values() for label in counts})
    width = max([len(label) for label in labels] + [5])
    print(" " * width + "".join(f"{split:>14}" for split in found.counts))
    rows = {name: [counts.get(name, 0) for counts in found.counts.values()] for name in labels}
    rows["all"] = [sum(counts.values()) for counts in found.counts.values()]
    for name, numbers in rows.items():
        print(f"{name:<{width}}" + "".join(f"{number:>14,}" for number in numbers))
    print(f"sizes: {_counted(found.sizes)}")
    print(f"colours: {_counted(found.colours)}")
    print(
        f"copies of training pictures in other halves: {found.copies:,}, nearly the same: "
        f"{found.near_copies:,}"
    )
    for note in found.notes:
        print(f"note: {note}")
    print(f"unreadable: {len(found.unreadable):,}")
    for told in found.unreadable[:_SHOWN]:
        print(f"  {told}")
    if len(found.unreadable) > _SHOWN:
        print(f"  and {len(found.unreadable) - _SHOWN:,} more; --json lists all")
    if options.sheet is not None:
        print(options.sheet)
    write_result(options, {"schema": SCHEMA, **encode(found)})
    return 0


def _counted(counts: Mapping[str, int]) -> str:
    items = list(counts.items())
    told = ", ".join(f"{name} ({count:,})" for name, count in items[:_SHOWN]) or "none"
    return told if len(items) <= _SHOWN else f"{told} and {len(items) - _SHOWN:,} others"
