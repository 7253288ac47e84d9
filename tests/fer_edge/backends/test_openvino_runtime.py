"""OpenVINO comes without its conversion tools, which report home when they are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from forked import another_thread_in_a_call, in_a_child

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


CLOSED_IN_ORDER = """
import gc, signal, sys
from fer_edge import Predictor
first, second = (Predictor(sys.argv[1], backend="openvino") for _ in range(2))
for predictor in (first, second):
    predictor.close()
del first, second, predictor
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_no_crash_after_two_predictors_were_closed(tiny_artifact: Path) -> None:
    command = [sys.executable, "-c", CLOSED_IN_ORDER, str(tiny_artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_a_process_has_one_core_and_a_forked_child_its_own() -> None:
    from fer_edge.backends.openvino_runtime import process_core

    assert process_core() is process_core()
    here = process_core()
    assert in_a_child(lambda: process_core() is not here) == "True"


def test_the_tools_are_imported_by_whoever_asks_for_them_and_not_before() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


def test_a_child_that_was_forked_during_a_call_is_told_what_to_do() -> None:
    from fer_edge.backends.openvino_runtime import process_core

    process_core()
    with another_thread_in_a_call():
        outcome = in_a_child(process_core)
    assert outcome.startswith("EngineError: OpenVINO does not work in this process: it was forked")
    assert "spawn" in outcome
    assert "backend='onnxruntime'" in outcome
