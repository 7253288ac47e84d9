"""report.md: what an export built and measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_calib.crops import Crops
from fer_edge.artifacts.manifest import ArtifactEntry, Manifest, Measurement
from fer_edge.system.files import write_bytes
from fer_edge.system.machine import cpu_name
from fer_export.model_directory import REPORT, REPORT_FOLDER

_HEADER = (
    "file",
    "target",
    "precision",
    "MB",
    "backend",
    "computes in",
    "max abs. Δp",
    "mean KL",
    "top-1 agreement",
    "lowest class",
    "accuracy",
    "drop",
    "p50 ms",
)


def write_report(folder: Path, manifest: Manifest, crops: Crops, *, reference: str) -> None:
    """Write ``report.md`` into ``folder``; ``reference`` is what artifacts were compared with."""
    parts = [
        f"# {manifest.name}",
        f"Compared on {len(crops)} crops, {crops.source}, with {reference}. "
        f"Latency: one crop, one thread, median, {cpu_name()}; all side by side.",
        table(manifest.artifacts),
    ]
    if crops.labels is not None:
        parts.append(
            "The checkpoint was selected on these pictures. The drop is the reference's accuracy "
            "minus the artifact's, in points, with its paired 95 % interval."
        )
    if manifest.notes:
        parts.append("\n".join(f"- {note}" for note in manifest.notes))
    for picture in sorted((folder / REPORT_FOLDER).glob("*.png")):
        parts.append(f"![{picture.stem}]({REPORT_FOLDER}/{picture.name})")
    write_bytes(folder / REPORT, ("\n\n".join(parts) + "\n").encode())


def table(artifacts: Sequence[ArtifactEntry]) -> str:
    """A Markdown table with a row for each artifact and backend."""
    rows = [_HEADER, ("---",) * len(_HEADER)]
    rows += [row for entry in artifacts for row in _rows(entry)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rows(entry: ArtifactEntry) -> Iterator[tuple[str, ...]]:
    size = (entry.size_bytes + sum(file.size_bytes for file in entry.companions)) / 1e6
    start = (Path(entry.file).as_posix(), entry.target, entry.precision, f"{size:.2f}")
    for measured in entry.measured:
        yield (*start, *_cells(measured))
    if not entry.measured:
        yield (*start, "not run here", *[""] * (len(_HEADER) - len(start) - 1))


def _cells(measured: Measurement) -> tuple[str, ...]:
    parity, accuracy, latency = measured.parity, measured.accuracy, measured.latency
    by_class = parity.top1_agreement_by_class
    worst = min(by_class, key=by_class.__getitem__) if by_class else ""
    cells = [
        measured.backend,
        measured.inference_precision,
        f"{parity.max_probability_difference:.1e}",
        f"{parity.mean_kl:.1e}",
        f"{parity.top1_agreement:.2%}",
        f"{worst} {by_class[worst]:.1%}" if worst else "",
    ]
    if accuracy is None:
        cells += ["", ""]
    else:
        (low, high), (least, most) = accuracy.accuracy_ci95, accuracy.drop_ci95
        cells.append(f"{accuracy.accuracy:.2%} [{low:.2%}, {high:.2%}]")
        drop = 100 * accuracy.drop
        cells.append(f"{drop:+.2f} [{100 * least:+.2f}, {100 * most:+.2f}]")
    return (*cells, f"{latency.p50_ms:.3f}" if latency else "")
