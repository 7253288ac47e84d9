"""Nothing is fetched that nobody asked for: neither at import nor while predicting."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import importlib, pkgutil, sys

reached = []

def watch(event, arguments):
    # what Python itself, and every package written in it, has to pass
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        reached.append((event, arguments[0]))
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        reached.append((event, arguments[1]))

sys.addaudithook(watch)
from fer_edge.errors import FerEdgeError
WORK
assert not reached, reached
print("done")
"""
PREDICT = """
import numpy
from fer_edge import Predictor
from fer_edge.backends import BACKENDS
tried = 0
for name in BACKENDS:
    try:
        with Predictor(backend=name) as fer:
            fer.predict(numpy.zeros((48, 48), numpy.uint8))
        tried += 1
    except FerEdgeError:  # its engine is not here, or has no artifact in the package
        pass
assert tried
"""
IMPORT = """
package = importlib.import_module(PACKAGE)
tried = 0
for module in pkgutil.walk_packages(package.__path__, PACKAGE + "."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
        tried += 1
    except (ImportError, FerEdgeError):  # an engine or an extra that is not here
        pass
assert tried
"""
ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(
    str(ROOT / folder) for folder in ("", "train", "calib", "export", "benchmarks")
)
PACKAGES = ("fer_edge", "fer_train", "fer_calib", "fer_export", "fer_bench")


def run(work: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-c", SCRIPT.replace("WORK", work)],
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_connection_would_be_seen() -> None:
    """Else the tests below would pass whatever happens."""
    done = run("import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))")
    assert "AssertionError: [('socket.connect', ('127.0.0.1', 9))]" in done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_opens_no_connection(package: str) -> None:
    done = run(IMPORT.replace("PACKAGE", repr(package)))
    assert done.stdout == "done\n", done.stderr


def test_predicting_opens_no_connection() -> None:
    done = run(PREDICT)
    assert done.stdout.endswith("done\n"), done.stderr


def test_predicting_works_where_there_is_no_network_at_all() -> None:
    """In a network namespace of its own, which has not even a loopback that is up."""
    if shutil.which("unshare") is None or run("", "unshare", "-rn").returncode:
        pytest.skip("this system does not let us take the network away (unshare -rn)")
    done = run(PREDICT, "unshare", "-rn")
    assert done.stdout.endswith("done\n"), done.stderr


def test_the_quantiser_sends_no_statistics() -> None:
    """NNCF reports each use to its makers unless it is told not to, or sees pytest."""
    pytest.importorskip("nncf", reason="no nncf to silence")
    work = """
from contextlib import suppress
from fer_calib.nncf_form import quantize_with_nncf
with suppress(AttributeError):  # there is nothing to quantise, and nncf is imported before that
    quantize_with_nncf(None, None)
from nncf.telemetry.wrapper import NNCFTelemetryStub, telemetry
assert isinstance(telemetry, NNCFTelemetryStub), telemetry
"""
    done = run(work)
    assert done.stdout.endswith("done\n"), done.stderr
