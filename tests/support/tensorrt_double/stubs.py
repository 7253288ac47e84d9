"""Type stubs of the real bindings, for mypy: made by pybind11-stubgen, then repaired."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_SECONDS = 300
_TYPE_IS_ELLIPSIS = re.compile(r"(: |-> |\[|, )\.\.\.(?=[,)\]]|:$|: |$)", re.MULTILINE)
_SCALE_ND = re.compile(r"(def add_scale_nd\()(.*)(\) -> )")
_UNSAID = {
    # both are sequences and buffers to Python, which no docstring says
    "class Dims:": "    def __iter__(self) -> typing.Iterator[int]: ...",
    "class IHostMemory:": "    def __bytes__(self) -> builtins.bytes: ...",
}


def make_stubs(bindings: Path, folder: Path) -> Path:
    """Stubs of the bindings in ``bindings``, as the package ``tensorrt`` within ``folder``."""
    places = {"LD_LIBRARY_PATH": str(bindings), "PYTHONPATH": str(bindings)}
    subprocess.run(
        [
            *(sys.executable, "-m", "pybind11_stubgen", "tensorrt_bindings"),
            *("--ignore-all-errors", "--output-dir", str(folder / "raw")),
        ],
        env={**os.environ, **places},
        check=True,
        capture_output=True,
        timeout=_SECONDS,
    )
    package = folder / "tensorrt"
    package.mkdir()
    for raw in (folder / "raw" / "tensorrt_bindings").glob("*.pyi"):
        (package / raw.name).write_text(_repaired(raw.read_text()))
    return folder


def _repaired(text: str) -> str:
    text = text.replace("tensorrt_bindings", "tensorrt")
    text = re.sub(r"\bin: ", "in_: ", text)
    text = _TYPE_IS_ELLIPSIS.sub(r"\1typing.Any", text)
    text = _SCALE_ND.sub(lambda found: found[1] + _in_order(found[2]) + found[3], text)
    for line, more in _UNSAID.items():
        text = re.sub(f"^{line}$", f"{line}\n{more}", text, flags=re.MULTILINE)
    return text.replace("import typing\n", "import builtins\nimport typing\n", 1)


def _in_order(parameters: str) -> str:
    """Give a default to the parameters that follow one that has one."""
    found, seen = [], False
    for parameter in parameters.split(", "):
        seen = seen or " = " in parameter
        found.append(f"{parameter} = ..." if seen and " = " not in parameter else parameter)
    return ", ".join(found)
