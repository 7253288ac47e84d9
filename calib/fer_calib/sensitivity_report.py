"""A sensitivity run as a table and a picture."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path

from fer_calib.sensitivity import LayerCost, Sensitivity
from fer_edge.system.dependencies import requires
from fer_edge.system.files import atomic_path, write_json

__all__ = ["SCHEMA", "save_sensitivity"]

SCHEMA = "fer-calib-sensitivity/2"

_DPI = 120
_FLOOR = 1e-9
_INTEGER, _FLOAT = "tab:blue", "tab:orange"


def save_sensitivity(
    found: Sensitivity,
    folder: Path,
    stem: str = "sensitivity",
    kept_float: tuple[str, ...] = (),
) -> tuple[Path, ...]:
    """Write the table as ``.json`` and ``.csv`` and the picture as ``.png``; returns the paths.

    ``kept_float`` marks layers that stayed in float in the end.
    """
    as_json, as_csv, as_png = (folder / f"{stem}.{kind}" for kind in ("json", "csv", "png"))
    _draw(found, as_png, kept_float)
    write_json(as_json, {"schema": SCHEMA, **asdict(found), "kept_float": list(kept_float)})
    with atomic_path(as_csv) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(LayerCost)])
        writer.writeheader()
        writer.writerows(asdict(cost) for cost in found.layers)
    return as_json, as_csv, as_png


def _draw(found: Sensitivity, target: Path, kept_float: tuple[str, ...]) -> None:
    """Draw a bar per layer, the network's first on top: KL, and the drop of accuracy if known."""
    with requires("calib"):
        from matplotlib.figure import Figure

    known = all(cost.accuracy_drop is not None for cost in found.layers)
    height = 1.6 + 0.17 * len(found.layers)
    figure = Figure(figsize=(10 if known else 6.5, height), layout="constrained")
    panels = figure.subplots(1, 2 if known else 1, sharey=True, squeeze=False)[0]
    places = range(len(found.layers))
    colors = [_FLOAT if cost.name in kept_float else _INTEGER for cost in found.layers]
    panels[0].barh(places, [max(cost.mean_kl, _FLOOR) for cost in found.layers], color=colors)
    panels[0].set(xscale="log", xlabel="mean KL against float32, nats")
    panels[0].set_yticks(places, [cost.name for cost in found.layers], fontsize=7)
    panels[0].set_ylim(len(found.layers) - 0.4, -0.6)
    if known:
        drops = [100 * (cost.accuracy_drop or 0.0) for cost in found.layers]
        panels[1].barh(places, drops, color=colors)
        panels[1].axvline(0, color="k", linewidth=0.8)
        panels[1].set(xlabel="accuracy lost, points")
    for axes in panels:
        axes.grid(axis="x", alpha=0.3)
    figure.suptitle(_title(found, kept_float), fontsize=9)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _title(found: Sensitivity, kept_float: tuple[str, ...]) -> str:
    title = f"One layer in INT8 at a time ({found.scheme}); {found.crops} crops, {found.source}"
    return f"{title}\norange: kept in float" if kept_float else title
