"""Replace the packaged weights by those of a run, if the run is better.

python train/release/promote.py RUN --data FER2013
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.command import add_data_option, command_parser, run_command, write_result
from fer_edge.errors import ArtifactError, ConfigurationError, GateError
from fer_edge.evaluation.agreement import paired_difference
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

__all__ = ["LARGEST_BYTES", "Comparison", "Promotion", "main", "promote"]

LARGEST_BYTES = 12_000_000
"""Larger weights are kept in half precision; what is then still larger is not kept."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the same ``n`` pictures; rates are fractions of 1.

    ``only_candidate`` and ``only_incumbent`` count what only that one answered rightly;
    ``difference_ci95`` is of the candidate's accuracy minus the incumbent's, ``p`` of McNemar's
    exact test.
    """

    n: int
    candidate: float
    incumbent: float
    only_candidate: int
    only_incumbent: int
    difference_ci95: tuple[float, float]
    p: float


@dataclass(frozen=True)
class Promotion:
    """What was decided on the weights ``name``, and why.

    ``accuracy`` is of the weights as they would be stored, in ``precision``. ``comparison`` is
    None where nothing stood in the place before. ``refusals`` cannot be overruled, ``objections``
    can.
    """

    name: str
    training_run: str
    accuracy: float
    precision: str
    size_bytes: int
    comparison: Comparison | None
    refusals: tuple[str, ...]
    objections: tuple[str, ...]
    promoted: bool


def promote(
    run: Path, data: Path, weights: Path, *, name: str | None = None, force: bool = False
) -> Promotion:
    """Measure a finished run and what stands in its place; replace that by a better one.

    ``run`` is the folder of a training; ``weights`` the folder that receives
    ``NAME.safetensors``, ``NAME.json`` and ``NAME.metrics.jsonl``, where ``name`` is by default
    the recipe's model. Both are measured on ``public-test`` of ``data``. A network that is not
    better or is ill-conditioned is refused; one of another input or order of labels, and one that
    is too large even in half precision, unless ``force`` is given.

    The three are replaced together, with the folder that they are in
    (``fer_edge.system.files.new_folder`` tells what that is on which system); what else is in it
    stays, and nothing else may write there meanwhile.

    Raises ArtifactError for a run without a readable report, journal or checkpoint,
    ConfigurationError for a ``name`` that is not plain and for ``weights`` that the working
    directory is in, and OSError where they cannot be replaced; what is there then stays.
    """
    if name is not None and not is_plain(name):
        raise ConfigurationError(
            f"weights cannot be called {name!r:.80}: give letters, digits, dots, hyphens and "
            "underscores, the first a letter or digit"
        )
    report, journal, source = read_report(run / REPORT), _journal(run), run / BEST
    if (told := checkpoint.read_spec(source).provenance.training_run) != report.training_run:
        raise ArtifactError(f"{source} is of {told}, and the report beside it of another training")
    name = name or report.recipe.model
    _require_replaceable(weights)
    prepared = prepare(data)
    with TemporaryDirectory() as folder:
        staged = _staged(source, Path(folder) / BEST)
        measured = assess(staged, report.recipe, prepared, history=report.history)
        measured = replace(measured, data_sha256=report.data_sha256)
        spec = checkpoint.read_spec(staged)
        incumbent = weights / f"{name}.safetensors"
        known = incumbent.exists()
        comparison = _compare(staged, incumbent, prepared.validation) if known else None
        refusals = _refusals(measured, comparison)
        objections = _objections(staged, incumbent if known else None)
        promoted = not refusals and (force or not objections)
        decided = Promotion(
            name=name,
            training_run=report.training_run,
            accuracy=measured.scores.accuracy,
            precision=spec.precision,
            size_bytes=staged.stat().st_size,
            comparison=comparison,
            refusals=refusals,
            objections=objections,
            promoted=promoted,
        )
        if promoted:
            _replace(
                weights,
                {
                    f"{name}.safetensors": staged.read_bytes(),
                    f"{name}.json": (json.dumps(encode(measured), indent=2) + "\n").encode(),
                    f"{name}.{METRICS}": journal,
                },
            )
    return decided


def _replace(weights: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a folder together: whoever looks finds all of the old or all of the new.

    Files have no way to be replaced together, but their folder has: the others are linked into a
    new one, which takes its place.
    """
    with new_folder(weights) as folder:
        for entry in weights.iterdir() if weights.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, folder / entry.name, symlinks=True, copy_function=_link)
            elif entry.name not in files:
                _link(entry, folder / entry.name)
        for name, content in files.items():
            (folder / name).write_bytes(content)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)


def _require_replaceable(weights: Path) -> None:
    here = Path.cwd()
    if weights.resolve() in (here, *here.parents):
        raise ConfigurationError(
            f"{weights} is replaced as a whole, which cannot be done from inside it; call it from "
            "outside of that folder"
        )


def _journal(run: Path) -> bytes:
    read_journal(run / METRICS)  # which refuses what no reader of the promoted one could use
    return (run / METRICS).read_bytes()


def _staged(source: Path, target: Path) -> Path:
    """Copy the weights as they would be stored."""
    if source.stat().st_size <= LARGEST_BYTES:
        shutil.copyfile(source, target)
    else:
        network, spec = checkpoint.load(source)
        checkpoint.save(target, network.state_dict(), spec, half=True)
    return target


def _refusals(measured: Report, comparison: Comparison | None) -> tuple[str, ...]:
    found, seen = [], measured.conditioning
    if comparison is not None and comparison.candidate <= comparison.incumbent:
        found.append("it is not better")
    if not measured.well_conditioned:
        found.append(
            f"it is ill-conditioned: logits up to {seen.largest_logit:.0f}, activations up to "
            f"{seen.largest_activation:.0f}"
        )
    return tuple(found)


def _objections(staged: Path, incumbent: Path | None) -> tuple[str, ...]:
    found = []
    if (size := staged.stat().st_size) > LARGEST_BYTES:
        found.append(f"it takes {size / 1e6:.1f} MB, more than {LARGEST_BYTES / 1e6:.0f} MB")
    if incumbent is not None:
        ours, theirs = _contract(staged), _contract(incumbent)
        if ours != theirs:
            found.append(f"its input contract is another: {ours}, where {theirs} stands")
    return tuple(found)


def _contract(path: Path) -> dict[str, object]:
    spec: ModelSpec = checkpoint.read_spec(path)
    return {**encode(spec.input), "labels": list(spec.labels)}


def _compare(candidate: Path, incumbent: Path, crops: LabelledCrops) -> Comparison:
    ours, theirs = _right(candidate, crops), _right(incumbent, crops)
    paired = paired_difference(ours, theirs)
    return Comparison(
        n=len(crops),
        candidate=float(ours.mean()),
        incumbent=float(theirs.mean()),
        only_candidate=paired.only_first,
        only_incumbent=paired.only_second,
        difference_ci95=paired.difference_ci95,
        p=paired.p_value,
    )


def _right(path: Path, crops: LabelledCrops) -> npt.NDArray[np.bool_]:
    network, spec = checkpoint.load(path)
    return np.asarray(logits_of(network, spec, crops).argmax(axis=1) == crops.labels)


_NEXT = {
    "dense": "make models DATA={data}",
    "mobilenet": "make models DATA={data}",
    "vit-tiny": "make vit-tiny DATA={data}",
}
"""What to do with new weights of a name; with those of any other, an export."""
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


if __name__ == "__main__":
    sys.exit(main())
