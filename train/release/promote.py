"""Replace the packaged weights by those of a run, if the run is better.

python train/release/promote.py RUN --data FER2013
"""

from __future__ import annotations

import json
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.record import encode
from fer_edge.command import add_data_option, command_parser, run_command, write_result
from fer_edge.errors import ArtifactError, ConfigurationError, GateError
from fer_edge.evaluation.agreement import PairedDifference, paired_difference
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.files import new_folder
from fer_edge.torch_model import checkpoint
from fer_train.assessment import Report, assess, read_report
from fer_train.data import prepare
from fer_train.evaluation import logits_of
from fer_train.journal import METRICS, read_journal
from fer_train.loop import BEST
from fer_train.pipeline import REPORT
from fer_train.recipe import is_plain

LARGEST_BYTES = 12_000_000
"""Larger weights are kept in half precision; what is then still larger is not kept."""


@dataclass(frozen=True)
class Promotion:
    """What was decided on the weights ``name``, and why.

    ``accuracy`` is of the weights as they would be stored, in ``precision``. ``difference`` is the
    run's accuracy minus that of the weights that it would replace, None where there were none.
    ``refusals`` cannot be overruled, ``objections`` can.
    """

    name: str
    training_run: str
    accuracy: float
    precision: str
    size_bytes: int
    difference: PairedDifference | None
    refusals: tuple[str, ...]
    objections: tuple[str, ...]
    promoted: bool


def promote(
    run: Path, data: Path, weights: Path, *, name: str | None = None, force: bool = False
) -> Promotion:
    """Measure a finished run and the weights in its place, and replace those if the run is better.

    ``run`` is the folder of a training. ``weights`` is the folder that receives
    ``NAME.safetensors``, ``NAME.json`` and ``NAME.metrics.jsonl``, together; ``name`` is by default
    the recipe's model. Both are measured on ``public-test`` of ``data``. A network that is not
    better or is ill-conditioned is refused. One with another input or order of labels, or too
    large even in half precision, is taken only with ``force``.

    Raises ArtifactError for a run without a readable report, journal or checkpoint,
    ConfigurationError for a ``name`` that is not plain, and OSError where the weights cannot be
    written; what is there then stays.
    """
    if name is not None and not is_plain(name):
        raise ConfigurationError(
            f"weights cannot be called {name!r:.80}: give letters, digits, dots, hyphens and "
            "underscores, the first a letter or digit"
        )
    report, source, journal = read_report(run / REPORT), run / BEST, run / METRICS
    read_journal(journal)  # one that cannot be read is not kept
    if (other := checkpoint.read_spec(source).provenance.training_run) != report.training_run:
        raise ArtifactError(f"{source} is of {other}, and the report beside it of another training")
    name = name or report.recipe.model
    prepared = prepare(data)
    incumbent = weights / f"{name}.safetensors"
    with TemporaryDirectory() as folder:
        staged = _staged(source, Path(folder) / BEST)
        measured, _ = assess(staged, report.recipe, prepared, history=report.history)
        difference = _difference(staged, incumbent, prepared.validation)
        refusals = _refusals(measured, difference)
        objections = _objections(staged, incumbent)
        decided = Promotion(
            name=name,
            training_run=report.training_run,
            accuracy=measured.scores.accuracy,
            precision=checkpoint.read_spec(staged).precision,
            size_bytes=staged.stat().st_size,
            difference=difference,
            refusals=refusals,
            objections=objections,
            promoted=not refusals and (force or not objections),
        )
        if decided.promoted:
            kept = replace(measured, data_sha256=report.data_sha256)
            with new_folder(weights) as new:
                if weights.is_dir():
                    shutil.copytree(weights, new, symlinks=True, dirs_exist_ok=True)
                shutil.copyfile(staged, new / f"{name}.safetensors")
                shutil.copyfile(journal, new / f"{name}.{METRICS}")
                (new / f"{name}.json").write_text(json.dumps(encode(kept), indent=2) + "\n")
    return decided


def _staged(source: Path, target: Path) -> Path:
    """Copy the weights as they would be stored."""
    if source.stat().st_size <= LARGEST_BYTES:
        shutil.copyfile(source, target)
    else:
        network, spec = checkpoint.load(source)
        checkpoint.save(target, network.state_dict(), spec, half=True)
    return target


def _refusals(measured: Report, difference: PairedDifference | None) -> tuple[str, ...]:
    found, seen = [], measured.conditioning
    if difference is not None and difference.difference <= 0:
        found.append("it is not better")
    if not measured.well_conditioned:
        found.append(
            f"it is ill-conditioned: logits up to {seen.largest_logit:.0f}, activations up to "
            f"{seen.largest_activation:.0f}"
        )
    return tuple(found)


def _objections(staged: Path, incumbent: Path) -> tuple[str, ...]:
    found = []
    if (size := staged.stat().st_size) > LARGEST_BYTES:
        found.append(f"it takes {size / 1e6:.1f} MB, more than {LARGEST_BYTES / 1e6:.0f} MB")
    if incumbent.exists() and (ours := _contract(staged)) != (theirs := _contract(incumbent)):
        found.append(f"its input contract is {ours}, and that of the present weights is {theirs}")
    return tuple(found)


def _contract(path: Path) -> dict[str, object]:
    spec = checkpoint.read_spec(path)
    return {**encode(spec.input), "labels": list(spec.labels)}


def _difference(candidate: Path, incumbent: Path, crops: LabelledCrops) -> PairedDifference | None:
    if not incumbent.exists():
        return None
    return paired_difference(_right(candidate, crops), _right(incumbent, crops))


def _right(path: Path, crops: LabelledCrops) -> npt.NDArray[np.bool_]:
    network, spec = checkpoint.load(path)
    return np.asarray(logits_of(network, spec, crops).argmax(axis=1) == crops.labels)


_NEXT = {
    "dense": "make models DATA={data}",
    "mobilenet": "make models DATA={data}",
    "vit": "make models DATA={data}",
}
"""What to do with new weights of a name; those of any other name are exported."""
_EXPORT = "fer-export --weights {weights} --out DIR --data {data}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(_parser(), arguments)


def _parser() -> ArgumentParser:
    parser = command_parser("promote.py", "Replace packaged weights by those of a better run.")
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
    parser.set_defaults(handler=_promote)
    return parser


def _promote(options: Namespace) -> int:
    decided = promote(
        options.run, options.data, options.weights, name=options.name, force=options.force
    )
    _print(decided)
    write_result(options, {"schema": "fer-train-promotion/2", **encode(decided)})
    target = options.weights / f"{decided.name}.safetensors"
    if not decided.promoted:
        reasons = decided.refusals + (() if options.force else decided.objections)
        raise GateError(f"{target} stays: {'; '.join(reasons)}")
    command = _NEXT.get(decided.name, _EXPORT).format(weights=target, data=options.data)
    print(f"{target} now holds it. Next: {command}")
    return 0


def _print(decided: Promotion) -> None:
    size = f"{decided.size_bytes / 1e6:.1f} MB, {decided.precision}"
    print(f"{decided.training_run} ({size}): {decided.accuracy:.2%} on public-test")
    if (compared := decided.difference) is None:
        print(f"there were no weights {decided.name}")
        return
    print(f"{decided.name} as it is: {decided.accuracy - compared.difference:.2%}")
    low, high = compared.difference_ci95
    print(
        f"difference {100 * compared.difference:+.2f} points "
        f"[{100 * low:+.2f}, {100 * high:+.2f}]: {compared.only_first} pictures are right only "
        f"now, {compared.only_second} only before, of {compared.n}; "
        f"McNemar p = {compared.p_value:.2g}"
    )


if __name__ == "__main__":
    sys.exit(main())
