"""OpenVINO comes without its conversion tools, which report home when they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import sys
from fer_edge.backends.openvino_runtime import ov
there = {name for name, module in sys.modules.items() if module is not None}
assert not [name for name in there if name.startswith(("openvino.tools.ovc", "openvino_telem"))]
import openvino
assert openvino is ov
assert callable(openvino.convert_model)
assert "openvino.tools.ovc" in sys.modules
import openvino.tools.ovc.convert_impl as converter
assert converter.tm.__name__ == "openvino.tools.ovc.telemetry_stub", converter.tm
try:
    openvino.no_such_name
except AttributeError as problem:
    assert "no_such_name" in str(problem)
else:
    raise AssertionError
"""


def test_the_tools_are_imported_by_whoever_asks_for_them_and_not_before() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
