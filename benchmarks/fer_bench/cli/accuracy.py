"""fer-bench accuracy."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import indent

from fer_bench.candidates import Candidate, candidates_for
from fer_bench.cli.options import add_candidate_options
from fer_bench.measure_accuracy import AccuracyResult, load_split, measure_all
from fer_bench.peers import choose_peers
from fer_bench.plot import draw_reliability
from fer_bench.tables import aligned_table, paired_sentence
from fer_edge.artifacts.model import check_model
from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    Output,
    add_command,
    add_data_option,
    add_validation_options,
    data_of,
    say,
    write_result,
)
from fer_edge.errors import ConfigurationError, FerEdgeError
from fer_edge.evaluation.fer2013 import SPLITS


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "accuracy", "measure accuracy on labelled pictures", _accuracy)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=MODEL_HELP)
    add_data_option(parser)
    add_validation_options(parser, seed=True)
    parser.add_argument("--split", choices=SPLITS, default="public-test")
    add_candidate_options(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the backend's choice")
    parser.add_argument(
        "--reference", metavar="MODEL", help="compare all answers with those of this model"
    )
    parser.add_argument(
        "--reliability",
        metavar="PNG",
        type=Path,
        action=Output,
        help="draw the reliability diagram",
    )


def _accuracy(options: Namespace) -> int:
    if not options.models and not options.peer:
        raise ConfigurationError("there is nothing to measure; name a model or a peer")
    candidates = candidates_for(
        options.models,
        backends=options.backend or ["auto"],
        precisions=options.precision or [None],
        threads=[options.threads],
        device=options.device,
        peers=choose_peers(options.peer),
    )
    if options.reference:  # a wrong path is found before minutes are spent on the models
        check_model(options.reference)
    split = load_split(data_of(options), options.split, _first_spec(candidates))
    run = measure_all(candidates, split, options.reference)
    write_result(options, encode(run))
    for result in run.results:
        _print(result, run.reference)
    for test in run.mcnemar:
        print(paired_sentence(test))
    for failure in run.failures:
        say(str(failure))
    if options.reliability and run.results:  # the last step: nothing else needs matplotlib
        panels = [
            (f"{it.model}\n{it.backend}, ECE {it.ece:.3f}", it.reliability) for it in run.results
        ]
        draw_reliability(panels, options.reliability)
    return run.exit_code


def _first_spec(candidates: Sequence[Candidate]) -> ModelSpec | None:
    """The spec of the first model, or None if it does not open."""
    for candidate in candidates[:1]:
        if candidate.peer is None:
            with suppress(FerEdgeError), candidate.open() as predictor:
                return predictor.info.spec
    return None


def _print(result: AccuracyResult, reference: str | None) -> None:
    low, high = result.accuracy_ci95
    print(f"{result.model} ({result.backend}, {result.precision}) on {result.split}, n={result.n}")
    alone = ""
    if (share := result.accuracy_without_copies) is not None:
        alone = f", {share:.2%} on the {result.n_without_copies} that are not in train"
    print(f"  accuracy {result.accuracy:.2%} [{low:.2%}, {high:.2%}]{alone}")
    print(f"  macro-F1 {result.macro_f1:.3f}, ECE {result.ece:.3f}, NLL {result.nll:.3f}")
    if (other := result.agreement) is not None:
        print(
            f"  agrees with {reference} on {other.top1:.2%}, KL {other.mean_kl:.2e} nats, "
            f"largest difference {other.max_difference:.1e}"
        )
    scores = [
        (name, f"{e.precision:.1%}", f"{e.recall:.1%}", f"{e.f1:.1%}", str(e.support))
        for name, e in result.per_class.items()
    ]
    said = [
        (name, *map(str, row)) for name, row in zip(result.per_class, result.confusion, strict=True)
    ]
    for header, rows in (
        (("class", "precision", "recall", "F1", "pictures"), scores),
        (("said", *result.per_class), said),
    ):
        print(indent(aligned_table(header, rows, text_columns=1), "  "))
