"""The options that name what is measured, as latency and accuracy share them."""

from __future__ import annotations

from argparse import _ActionsContainer

from fer_bench.candidates import ALL
from fer_edge.artifacts.spec import PRECISIONS


def add_candidate_options(group: _ActionsContainer) -> None:
    """Add backend, precision, device and peer."""
    group.add_argument(
        "--backend",
        action="append",
        metavar="NAME",
        help="auto, the name of one, or all (repeatable)",
    )
    group.add_argument(
        "--precision", action="append", choices=(*PRECISIONS, ALL), help="repeatable"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda")
    group.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME",
        help="a peer's name, or all (repeatable)",
    )
