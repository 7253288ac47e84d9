"""The timing cache: kept from build to build, and never a reason to fail."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorrt_double.engine import TensorRtDouble
from tensorrt_double.signatures import stand_in

from fer_export.tensorrt.building import build_plan
from fer_export.tensorrt.options import PlanOptions

MAGIC_TAG = "Error Code 1: Serialization (Magic tag does not match)"


class Config:
    """A builder's configuration that takes caches as TensorRT documents it.

    ``create_timing_cache`` gives an empty cache, and an error in the log, for bytes that it does
    not know; ``attaches`` False refuses a cache of another GPU.
    """

    def __init__(self, trt: Any, log: Any, *, attaches: bool = True, null: bool = False) -> None:
        self.given: list[bytes] = []
        self.attached: list[bytes] = []

        def create(serialized_timing_cache: bytes) -> Any:
            if serialized_timing_cache.startswith(b"damaged"):
                log.log(trt.ILogger.ERROR, MAGIC_TAG)
                serialized_timing_cache = b""
                if null:
                    return None
            self.given.append(serialized_timing_cache)
            return stand_in(trt, trt.ITimingCache, serialize=lambda: self.given[-1] + b"timed")

        def attach(cache: Any, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            if self.given[-1] and not attaches:
                return False
            self.attached.append(self.given[-1])
            self.cache = cache
            return True

        self.double = stand_in(
            trt,
            trt.IBuilderConfig,
            create_timing_cache=create,
            set_timing_cache=attach,
            get_timing_cache=lambda: self.cache,
        )


@pytest.fixture
def run(tensorrt: TensorRtDouble) -> Any:
    """Use and keep a cache as a build does; tells what was attached and what was reported."""
    builder = importlib.import_module("fer_export.tensorrt.builder")
    monitor = importlib.import_module("fer_export.tensorrt.monitor")

    def build(path: Path, **behaviour: bool) -> Any:
        lines: list[str] = []
        log = monitor.BuildLog(lines.append)
        log.log(tensorrt.bindings.ILogger.ERROR, "an earlier one")
        config = Config(tensorrt.bindings, log, **behaviour)
        builder._use_timing_cache(config.double, path, log)
        builder._keep_timing_cache(config.double, path, log)
        return SimpleNamespace(attached=config.attached, lines=lines)

    return build


def test_what_one_build_timed_serves_the_next(run: Any, tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "cache"
    first, second = run(cache), run(cache)
    assert (first.attached, second.attached) == ([b""], [b"timed"])
    assert first.lines == second.lines == []
    assert cache.read_bytes() == b"timedtimed"


def test_an_empty_file_is_an_empty_cache(run: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.touch()
    assert run(cache).lines == []
    assert cache.read_bytes() == b"timed"


@pytest.mark.parametrize(
    ("kept", "behaviour"),
    [
        (b"damaged, or of another release", {}),
        (b"damaged, or of another release", {"null": True}),
        (b"another GPU's", {"attaches": False}),
    ],
)
def test_a_foreign_cache_costs_a_line_and_is_replaced(
    run: Any, tmp_path: Path, kept: bytes, behaviour: dict[str, bool]
) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(kept)
    done = run(cache, **behaviour)
    assert done.attached == [b""]
    (line,) = done.lines
    assert f"the timing cache {cache} is of no use here" in line
    assert "--timing-cache" in line
    assert cache.read_bytes() == b"timed"


def test_a_cache_that_cannot_be_read_or_written_costs_a_line_each(run: Any, tmp_path: Path) -> None:
    done = run(tmp_path)  # a folder
    assert done.attached == [b""]
    unread, unwritten = done.lines
    assert f"{tmp_path} cannot be read (Is a directory)" in unread
    assert f"{tmp_path} cannot be written (Is a directory)" in unwritten
    assert "--timing-cache" in unwritten


def test_a_read_only_cache_serves_and_stays_as_it_is(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(b"kept")
    # root may write to any file
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    done = run(cache)
    assert done.attached == [b"kept"]
    assert "cannot be written (Permission denied)" in done.lines[0]
    assert cache.read_bytes() == b"kept"


@pytest.mark.parametrize("kept", [b"", b"damaged"], ids=["none", "damaged"])
def test_nvidias_own_builder_fills_it(
    nvidia: TensorRtDouble, prepared: Path, tmp_path: Path, kept: bytes
) -> None:
    cache = tmp_path / "cache"
    if kept:
        cache.write_bytes(kept)
    lines: list[str] = []
    options = PlanOptions(timing_cache=cache)
    build_plan(prepared, tmp_path / "m.plan", "trt-fp16", options=options, report=lines.append)
    assert len(cache.read_bytes()) > len(kept)
    assert sum("is of no use here" in line for line in lines) == bool(kept)
