"""``fer-train promote``: the packaged weights, replaced by better ones only."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, add_data_option, write_result
from fer_edge.errors import GateError
from fer_edge.system.dependencies import requires

if TYPE_CHECKING:
    from fer_train.promotion import Promotion

SUMMARY = "put the weights of a run in the place of the packaged ones, if they are better"

_NEXT = {
    "mobilenet": "make default-model DATA={data}",
    "vit-tiny": "make vit-tiny DATA={data}",
}
"""What to do with new weights of a name; with those of any other, an export."""
_EXPORT = "fer-export --weights {weights} --out DIR --data {data}"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "promote", SUMMARY, _promote)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished training")
    add_data_option(parser)
    parser.add_argument(
        "--weights",
        metavar="DIR",
        type=Path,
        default=Path("train/weights"),
        help="folder of the packaged weights",
    )
    parser.add_argument("--name", help="which of them; default: the model of the run's recipe")
    parser.add_argument(
        "--force",
        action="store_true",
        help="even if it is too large or takes another input; "
        "never if it is ill-conditioned or not better",
    )


def _promote(options: Namespace) -> int:
    with requires("train"):
        from fer_train.promotion import promote
    decided = promote(
        options.run, options.data, options.weights, name=options.name, force=options.force
    )
    _print(decided)
    write_result(options, {"schema": "fer-train-promotion/1", **encode(decided)})
    target = options.weights / f"{decided.name}.safetensors"
    if not decided.promoted:
        reasons = decided.refusals + (() if options.force else decided.objections)
        raise GateError(f"{target} stays: {'; '.join(reasons)}")
    command = _NEXT.get(decided.name, _EXPORT).format(weights=target, data=options.data)
    print(f"{target} now holds it. Then: {command}")
    return 0


def _print(decided: Promotion) -> None:
    size = f"{decided.size_bytes / 1e6:.1f} MB, {decided.precision}"
    print(f"{decided.training_run} ({size}): {decided.accuracy:.2%} on public-test")
    if decided.comparison is None:
        print(f"there were no weights {decided.name}")
        return
    compared, (low, high) = decided.comparison, decided.comparison.difference_ci95
    print(f"{decided.name} as it is: {compared.incumbent:.2%}")
    print(
        f"difference {100 * (compared.candidate - compared.incumbent):+.2f} points "
        f"[{100 * low:+.2f}, {100 * high:+.2f}]: {compared.only_candidate} pictures right only "
        f"now, {compared.only_incumbent} only before, of {compared.n}; McNemar p = {compared.p:.2g}"
    )
