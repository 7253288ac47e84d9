"""Options of a plan: what they take, and what a release of TensorRT lacks of them."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from tensorrt_double.engine import TensorRtDouble

from fer_edge.errors import ConfigurationError
from fer_export.tensorrt.options import PlanOptions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_batch": 0}, "1 <= min <= opt <= max, not 0, 1, 32"),
        ({"opt_batch": 33}, "1 <= min <= opt <= max, not 1, 33, 32"),
        ({"max_batch": 0}, "1 <= min <= opt <= max, not 1, 1, 0"),
        ({"workspace_mb": 0}, "at least 1 MB, not 0"),
        ({"opt_level": 6}, "0 to 5, not 6"),
        ({"gpu": -1}, "0 or more, not -1"),
        ({"dla_core": -1}, "0 or more, not -1"),
        ({"hardware": "any"}, "this-gpu or same-compute-capability or ampere-plus, not any"),
    ],
)
def test_options_say_what_they_take(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PlanOptions(**changes)


@pytest.fixture
def check(tensorrt: TensorRtDouble, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Check options against a release, which may lack levels of hardware compatibility."""
    builder = importlib.import_module("fer_export.tensorrt.builder")

    def run(release: str, *levels: str, **options: Any) -> None:
        known = SimpleNamespace(**dict.fromkeys(("NONE", "AMPERE_PLUS", *levels)))
        monkeypatch.setattr(builder.trt, "__version__", release)
        monkeypatch.setattr(builder.trt, "HardwareCompatibilityLevel", known)
        builder._check_release(PlanOptions(**options))

    return run


@pytest.mark.parametrize("release", ["10.8.0", "10.13.3", "11.4.0.106"])
def test_releases_without_accelerators_say_which_have_them(check: Any, release: str) -> None:
    with pytest.raises(ConfigurationError, match=r"10\.7 can, and 11\.4\.1.*Leave out --dla-core"):
        check(release, dla_core=0)
    check(release)


@pytest.mark.parametrize("release", ["10.3.0", "10.7.0", "11.4.1"])
def test_releases_that_build_for_accelerators_are_not_refused(check: Any, release: str) -> None:
    check(release, dla_core=0)


def test_a_release_without_a_level_of_compatibility_says_what_to_leave_out(check: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"10\.3\.0 has no --hardware-compat same-.*leave it"
    ):
        check("10.3.0", hardware="same-compute-capability")
    check("10.3.0", hardware="ampere-plus")
    check("11.4.0", "SAME_COMPUTE_CAPABILITY", hardware="same-compute-capability")
