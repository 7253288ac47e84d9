"""fer-export in a process of its own: NVIDIA's builder builds, the doubles stand in for the GPU.

A test presses Ctrl-C in it at any moment.
"""

from __future__ import annotations

import importlib
import sys

import pytest
from tensorrt_double.cuda import CudaDouble
from tensorrt_double.engine import TensorRtDouble


def main() -> int:
    with pytest.MonkeyPatch.context() as patch:
        cuda = CudaDouble()
        patch.setattr("fer_edge.backends.cuda.cudart", cuda)
        double = TensorRtDouble(importlib.import_module("tensorrt_bindings"), cuda)
        patch.setitem(sys.modules, "tensorrt", double.module())
        from tensorrt_double.fixtures import play

        from fer_export.cli import main as export

        play(double, patch)
        return export(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
