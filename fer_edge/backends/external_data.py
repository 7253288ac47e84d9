"""Refuses ONNX files that keep weights in other files, before an engine opens those.

ONNX Runtime and OpenVINO open whatever path a model names, relative to the current folder, and the
hash of the artifact does not cover that file.
"""

from __future__ import annotations

from fer_edge.artifacts.artifact import Artifact
from fer_edge.errors import ArtifactError

_NAMES_A_FILE = (b"\x08location", b"\x00location")
"""The key under which a tensor names a file (onnx.proto3, ``external_data``), after its length.

The length is 8, in one byte or in a longer number, which ends in zeros (Protocol Buffers, encoding
of varints). A tensor without this key names no file, wherever in the model it stands. A model in
which something else is called exactly ``location`` is refused with the others.
"""

_ORT_FORMAT, _ORT_MARK = slice(4, 8), b"ORTM"
"""ONNX Runtime's own format, which it would load from the same bytes."""


def refuse_external_data(artifact: Artifact) -> None:
    """Raise ArtifactError for an ONNX with weights in another file, and for an ORT file."""
    if artifact.data[_ORT_FORMAT] == _ORT_MARK:
        raise ArtifactError(f"{artifact.path} is in ONNX Runtime's own format; give the ONNX")
    if any(name in artifact.data for name in _NAMES_A_FILE):
        raise ArtifactError(
            f"{artifact.path} keeps weights in another file, which its hash does not cover. Write "
            "it as one file (onnx.save without save_as_external_data), or export it again"
        )
