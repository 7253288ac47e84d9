"""OpenCV Zoo's YuNet: which file it is, where it lies, and how it gets there.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20,
2023. MIT licence. The file is not part of this package; it is fetched once.
"""

from __future__ import annotations

from pathlib import Path

from fer_edge.system.folders import data_folder

__all__ = [
    "FETCH_COMMAND",
    "YUNET_FILE",
    "YUNET_SHA256",
    "YUNET_URL",
    "fetch_yunet",
    "yunet_path",
]

FETCH_COMMAND = "fer-edge doctor --fetch-yunet"

YUNET_FILE = "face_detection_yunet_2026may.onnx"
YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
YUNET_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/"
    f"face_detection_yunet/{YUNET_FILE}"
)
_MAX_BYTES = 1 << 20


def yunet_path() -> Path:
    """Return where YuNet is looked for by default; the file need not be there.

    Raises ConfigurationError if the user has no home folder.
    """
    return data_folder() / YUNET_FILE


def fetch_yunet(target: Path | None = None, *, url: str = YUNET_URL) -> Path:
    """Fetch YuNet to ``target``, by default ``yunet_path()``, check its hash, return its path.

    A good file that is there already is kept. Raises what ``fer_edge.system.download.fetch``
    raises.
    """
    from fer_edge.system.download import (
        fetch,  # which would double the time that importing us takes
    )

    where = yunet_path() if target is None else target
    return fetch(url, where, YUNET_SHA256, max_bytes=_MAX_BYTES)
