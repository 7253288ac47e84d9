"""An engine brings none of what it would report, keep or write on its own account."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.backends import onnxruntime_engine

SWITCH = "ORT_DISABLE_TELEMETRY"

PROGRAM = """
import sys, time
import numpy as np
from fer_edge import Predictor
with Predictor(sys.argv[1], backend=sys.argv[2]) as fer:
    fer.predict(np.zeros((48, 48), np.uint8))
time.sleep(1)  # what reports does so in threads of its own
"""


@pytest.mark.parametrize(
    "backend", ["onnxruntime", "openvino", pytest.param("torch", marks=pytest.mark.long)]
)
def test_a_prediction_leaves_an_empty_home_empty(
    backend: str, request: pytest.FixtureRequest, home: Path, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    model = request.getfixturevalue("small_checkpoint" if backend == "torch" else "tiny_artifact")
    environment = {  # none of the variables by which engines know a CI, where they keep still
        "HOME": str(tmp_path),
        "FER_EDGE_HOME": str(home),
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
    }
    command = [sys.executable, "-c", PROGRAM, str(model), backend]
    subprocess.run(command, env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("chosen", "kept"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_is_told_to_report_nothing_unless_the_user_has_chosen(
    chosen: str | None, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "")
    if chosen is None:
        monkeypatch.delenv(SWITCH)
    else:
        monkeypatch.setenv(SWITCH, chosen)
    importlib.reload(onnxruntime_engine)  # ONNX Runtime itself has read it long ago
    assert os.environ[SWITCH] == kept
