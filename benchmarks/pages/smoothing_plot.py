"""docs/smoothing.png: EmotionSmoother on a made sequence of predictions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fer_edge import LABELS, EmotionSmoother, Prediction, SmoothedPrediction
from fer_edge.command import Commands, add_command
from fer_edge.system.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE = 25
GAP = (8.0, 9.5)
DROPPED = 0.15
SHOWN = {"neutral": "#7f7f7f", "happy": "#e0a100", "sad": "#3b6fb6", "surprise": "#3f9b4f"}

Sequences = tuple[list[float], list[Prediction], list[SmoothedPrediction]]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "smoothing", "draw docs/smoothing.png", _draw)
    parser.add_argument("--out", metavar="PNG", type=Path, default=Path("docs/smoothing.png"))


def _draw(options: Namespace) -> int:
    draw(options.out)
    print(options.out)
    return 0


def scores(time: float) -> dict[str, float]:
    """What the face shows: at ease, then a smile, then in between, gone, and surprised."""
    smile = 1 / (1 + np.exp(-6 * (time - 2.5))) - 1 / (1 + np.exp(-6 * (time - 5.0)))
    doubt = 1 / (1 + np.exp(-6 * (time - 5.0)))
    return {
        "neutral": 1.6 * (1 - smile),
        "happy": 3.4 * smile - 0.4,
        "sad": 1.6 * doubt - 0.5 * (1 - doubt),
        "surprise": 4.0 if time > GAP[1] else -0.3,
    }


def made(seed: int = 3) -> Sequences:
    """Noisy predictions of a video that drops frames, and what the smoother makes of them."""
    rng = np.random.default_rng(seed)
    smoother = EmotionSmoother()
    times, raw, smooth = [], [], []
    for frame in range(12 * RATE):
        time = frame / RATE
        if rng.random() < DROPPED or GAP[0] < time < GAP[1]:
            continue
        logits = np.full(len(LABELS), -1.0)
        for name, score in scores(time).items():
            logits[LABELS.index(name)] = score
        logits += rng.normal(0, 0.45, len(LABELS))
        if abs(time - 1.0) < 1 / RATE:
            logits[LABELS.index("sad")] += 3.5  # a blink
        powers = np.exp(logits)
        times.append(time)
        raw.append(Prediction((powers / powers.sum()).astype(np.float32)))
        smooth.append(smoother.update(raw[-1], time))
    return times, raw, smooth


def draw(path: Path) -> None:
    """Draw the probabilities, and below them the labels as they come and as they are held."""
    from matplotlib.figure import Figure

    times, raw, smooth = made()
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes, strips = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    broken = int(np.argmax(np.diff(times))) + 1  # a line does not cross the gap
    for name, color in SHOWN.items():
        for part in (slice(0, broken), slice(broken, None)):
            _curve(axes, times[part], raw[part], name, color, thin=True)
            label = name if part.start == 0 else None
            _curve(axes, times[part], smooth[part], name, color, label=label)
    axes.set_ylabel("probability")
    axes.set_ylim(0, 1)
    axes.legend(loc="upper right", ncols=len(SHOWN), frameon=False)
    axes.set_title("thin: frame by frame; thick: EmotionSmoother()", fontsize=10, loc="left")
    for height, predictions in ((1, raw), (0, smooth)):
        colors = [SHOWN.get(prediction.label, "#222222") for prediction in predictions]
        strips.bar(times, 0.8, width=1 / RATE, bottom=height + 0.1, color=colors, align="edge")
    strips.set_yticks([0.5, 1.5], ["held", "frame by frame"])
    strips.set_xlabel("seconds")
    strips.set_xlim(0, times[-1] + 1 / RATE)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
        strips.spines[spine].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def _curve(
    axes: Axes,
    times: Sequence[float],
    predictions: Sequence[Prediction],
    name: str,
    color: str,
    *,
    thin: bool = False,
    label: str | None = None,
) -> None:
    shares: list[npt.NDArray[np.float32]] = [
        prediction.probabilities[LABELS.index(name)] for prediction in predictions
    ]
    width, alpha = (0.7, 0.45) if thin else (2.2, 1.0)
    axes.plot(times, shares, color=color, linewidth=width, alpha=alpha, label=label)
