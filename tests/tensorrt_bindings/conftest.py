"""The real bindings of both ends of what is supported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorrt_double import bindings
from tensorrt_double.fixtures import bindings_cache, tensorrt_bindings  # noqa: F401


@pytest.fixture(params=bindings.RELEASES)
def release(request: pytest.FixtureRequest, bindings_cache: Path) -> tuple[str, Path]:  # noqa: F811
    """A release, and the folder with its bindings."""
    try:
        return request.param, bindings.find(request.param, bindings_cache)
    except bindings.UnavailableError as problem:
        pytest.skip(f"no bindings of TensorRT {request.param}: {problem}")
