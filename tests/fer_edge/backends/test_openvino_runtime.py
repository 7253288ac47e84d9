"""OpenVINO comes without its conversion tools, which report home when they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import sys
from fer_edge.backends.openvino_runtime import ov
tools = [name for name in sys.modules if name.startswith(("openvino.tools.ovc", "openvino_telem"))]
assert not tools, tools
import openvino
assert openvino is ov
assert callable(openvino.convert_model)
assert "openvino.tools.ovc" in sys.modules
assert "openvino_telemetry" not in sys.modules
try:
    openvino.no_such_name
except AttributeError as problem:
    assert "no_such_name" in str(problem)
else:
    raise AssertionError
"""


def test_the_tools_are_imported_by_whoever_asks_for_them_and_not_before() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
