"""The measured parts of the packaged models' card and of the README."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np

from fer_bench.measure_accuracy import AccuracyResult, load_split, measure_accuracy
from fer_bench.tables import markdown_table
from fer_edge.artifacts.manifest import ArtifactEntry, Manifest
from fer_edge.artifacts.model import model_path, packaged_models
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, add_data_option, write_result
from fer_edge.emotion import LABELS
from fer_edge.predictor import Predictor, PredictorInfo
from pages.blocks import MeasuredBlock

SPLIT = "public-test"
_CONFUSIONS = 5


def write_model_card(data: Path, card: Path, readme: Path) -> list[AccuracyResult]:
    """Measure every packaged model on ``public-test`` and write what came into both pages.

    ``data`` is FER2013 in any of its forms. Raises DataError for one that cannot be used, and
    ConfigurationError for a page without the markers ``measured``.
    """
    blocks = [MeasuredBlock(page, "measured") for page in (card, readme)]
    crops = load_split(data, SPLIT)
    results, cards, rows = [], [], []
    for name in packaged_models():
        with Predictor(name) as predictor:
            result = measure_accuracy(name, predictor, crops)
            info = predictor.info
        entry = _entry(name, info)
        results.append(result)
        cards += [f"### `{name}`", *_card(result, info, entry)]
        rows.append(_summary(result, info, entry))
    blocks[0].write("\n\n".join(cards))
    header = (
        "packaged model",
        "network",
        f"accuracy on `{SPLIT}`, on which it was selected",
        "macro-F1",
        "size",
        "same answer as fp32",
    )
    blocks[1].write(
        f"{markdown_table(header, rows)}\n\n"
        f"{results[0].precision} on {results[0].backend}, {results[0].n} pictures. "
        "In brackets: 95 % intervals."
    )
    return results


def _entry(name: str, info: PredictorInfo) -> ArtifactEntry:
    entries = Manifest.read(model_path(name)).artifacts
    return next(entry for entry in entries if entry.sha256 == info.sha256)


def _summary(result: AccuracyResult, info: PredictorInfo, entry: ArtifactEntry) -> tuple[str, ...]:
    agreements = [it.parity.top1_agreement for it in entry.measured if it.backend == info.backend]
    return (
        f"`{result.model}`",
        info.spec.network.architecture,
        _accuracy(result),
        f"{result.macro_f1:.3f}",
        _size(entry),
        "not measured" if not agreements else f"{min(agreements):.2%}",
    )


def _card(result: AccuracyResult, info: PredictorInfo, entry: ArtifactEntry) -> list[str]:
    spec, provenance = info.spec, info.spec.provenance
    stride = spec.network.stem_stride
    facts = [
        ("network", spec.network.architecture + (f", stem stride {stride}" if stride else "")),
        ("input", f"{spec.input.width} x {spec.input.height}, {spec.input.color}"),
        ("artifact", f"{entry.file}, {entry.precision}, {_size(entry)}"),
        ("temperature", f"{spec.temperature:.3f}"),
        ("training run", f"`{provenance.training_run}`"),
        ("weights of others that the training started from", provenance.started_from or "none"),
        ("sha256 of the decoded pictures and labels", f"`{provenance.data_sha256}`"),
        ("sha256 of the checkpoint", f"`{provenance.parent_sha256}`"),
        ("sha256 of the artifact", f"`{entry.sha256}`"),
    ]
    scores = [
        ("accuracy", _accuracy(result)),
        ("macro-F1", f"{result.macro_f1:.3f}"),
        ("expected calibration error", f"{result.ece:.3f} (its temperature was fitted here)"),
        ("negative log-likelihood", f"{result.nll:.3f} nats"),
    ]
    if result.accuracy_without_copies is not None:
        alone = f"{result.accuracy_without_copies:.2%} of {result.n_without_copies}"
        scores.insert(1, ("accuracy without copies of training pictures", alone))
    classes = [
        (name, f"{e.precision:.1%}", f"{e.recall:.1%}", f"{e.f1:.3f}", str(e.support))
        for name, e in result.per_class.items()
    ]
    return [
        markdown_table(("what", "value"), facts),
        f"Measured on FER2013's `{result.split}`, {result.n} pictures, **on which the checkpoint "
        f"and its temperature were selected**, with {info.backend} {info.version}:",
        markdown_table(("metric", "value"), scores),
        markdown_table(("class", "precision", "recall", "F1", "pictures"), classes),
        "Its most frequent confusions, as shares of the true class: "
        + "; ".join(_confusions(result))
        + ".",
    ]


def _size(entry: ArtifactEntry) -> str:
    """Of all files of an artifact."""
    total = entry.size_bytes + sum(file.size_bytes for file in entry.companions)
    return f"{total / 1e6:.2f} MB"


def _accuracy(result: AccuracyResult) -> str:
    low, high = result.accuracy_ci95
    return f"**{result.accuracy:.2%}** [{low:.2%}, {high:.2%}]"


def _confusions(result: AccuracyResult) -> list[str]:
    counts = np.array(result.confusion, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None)[:_CONFUSIONS]
    pairs = [np.unravel_index(flat, shares.shape) for flat in order]
    return [f"{LABELS[t]} taken for {LABELS[p]} {shares[t, p]:.0%}" for t, p in pairs]


SCHEMA = "fer-pages-model-card/2"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "model-card", "measure the packaged models and write their card", _model_card
    )
    add_data_option(parser)
    parser.add_argument("--card", metavar="FILE", type=Path, default=Path("docs/model-card.md"))
    parser.add_argument("--readme", metavar="FILE", type=Path, default=Path("README.md"))


def _model_card(options: Namespace) -> int:
    results = write_model_card(options.data, options.card, options.readme)
    for result in results:
        print(f"{result.model}: {result.accuracy:.2%} on {result.split}")
    write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
    return 0
