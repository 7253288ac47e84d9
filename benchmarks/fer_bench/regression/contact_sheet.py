"""Pictures that got another answer, side by side in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_bench.regression.outcome import ChangedPicture
from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes

MAX_PICTURES = 60
"""The most that one sheet shows, the worse ones first."""

_SIDE, _CAPTION, _BORDER, _COLUMNS = 120, 34, 3, 10
_INNER = _SIDE - 2 * _BORDER
_RED, _GREEN, _INK = (60, 60, 220), (80, 170, 60), (30, 30, 30)
_FONT, _SCALE, _LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.36, 15


def write_contact_sheet(folder: Path, name: str, pictures: Sequence[ChangedPicture]) -> Path:
    """Draw up to ``MAX_PICTURES`` into ``folder``; red is worse, green is better.

    ``name`` becomes the name of the file, without characters that do not belong in one. Raises
    ConfigurationError for a folder that cannot be written.
    """
    shown = sorted(pictures, key=lambda picture: not picture.worse)[:MAX_PICTURES]
    tiles = [_tile(picture) for picture in shown]
    columns = min(_COLUMNS, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    encoded = cv2.imencode(".png", np.vstack(rows))[1]
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_")
    path = folder / f"{plain}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, encoded.tobytes())
    except OSError as problem:
        raise ConfigurationError(
            f"cannot write the contact sheet {path}: {problem.strerror}; give another --fer-out"
        ) from problem
    return path


def _tile(picture: ChangedPicture) -> np.ndarray:
    gray = picture.pixels.ndim == 2  # noqa: PLR2004
    pixels = cv2.cvtColor(picture.pixels, cv2.COLOR_GRAY2BGR) if gray else picture.pixels
    tile = np.full((_SIDE + _CAPTION, _SIDE, 3), 255, np.uint8)
    tile[:_SIDE] = _RED if picture.worse else _GREEN
    face = cv2.resize(pixels, (_INNER, _INNER), interpolation=cv2.INTER_NEAREST)
    tile[_BORDER : _SIDE - _BORDER, _BORDER : _SIDE - _BORDER] = face
    for line, text in enumerate(picture.caption.split(", ", 1)):
        place = (4, _SIDE + _LINE * (line + 1) - 2)
        cv2.putText(tile, text, place, _FONT, _SCALE, _INK, 1, cv2.LINE_AA)
    return tile
