"""The pytest plugin: ``pytest --fer-model MODEL [--fer-data FER2013]``.

pytest loads it in every run on a machine with fer-edge, so without ``--fer-model`` it imports
nothing and adds nothing. With it, each check of each artifact on each backend of the machine is a
test of its own: ``fer::model.int8.onnx[openvino]::accuracy``. It works with pytest 6.2 and later,
which a device may have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BASELINES = "fer_baselines"
"""The default folder of baselines, one file per model: beside pytest's settings, or in the current
folder if there are none.
"""

_SPLIT = "public-test"
_OF_THE_DATA = ("classes", "validation", "validation_share", "seed", "subject")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of them beginning with ``--fer-`` and None unless they are given."""
    group = parser.getgroup("fer", "accuracy regression of facial expression models (fer-edge)")

    def add(name: str, meaning: str, **settings: Any) -> None:
        group.addoption(f"--fer-{name}", default=None, help=meaning, **settings)

    add("model", "test a model directory, an artifact, or 'default' (packaged)", metavar="MODEL")
    add("data", "FER2013, a folder of classes, or a list file", metavar="DATA", type=Path)
    add("classes", "the classes of the data, such as 1=surprise,2=fear", metavar="NAMES")
    add("validation", "take this data set as public-test", metavar="DATA", type=Path)
    share = "take this share of each class of train as public-test, as the training did"
    add("validation-share", share, metavar="SHARE", type=float)
    add("seed", "seed of that share (default: 0)", metavar="N", type=int)
    add("subject", "finds the person in a picture's name; none is in both halves", metavar="REGEX")
    add("split", f"default: {_SPLIT}", metavar="SPLIT")
    add("other-data", "allow other pictures than those of the baseline", action="store_true")
    where = (
        f"the baseline (default: {BASELINES}/NAME.json beside pytest's settings, or in the current "
        "folder; NAME is that of the model's folder)"
    )
    add("baseline", where, metavar="FILE")
    update = "record a new baseline, if the checks hold that any sound model passes"
    add("update-baseline", update, action="store_true")
    one = "test this backend alone; may be repeated (default: every one that is installed)"
    add("backend", one, metavar="NAME", action="append")
    out = "on failure, draw the pictures that changed into DIR; keep it out of the repository"
    add("out", out, metavar="DIR")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and open the suite."""
    config.addinivalue_line("markers", "fer_regression: a check of --fer-model")
    chosen = {
        name.removeprefix("fer_"): value
        for name, value in vars(config.option).items()
        if name.startswith("fer_") and value is not None
    }
    if "model" not in chosen:
        for name in chosen:
            raise pytest.UsageError(f"--fer-{name.replace('_', '-')} needs --fer-model")
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--fer-model measures latency, so leave out -n")
    from fer_bench.regression.cells import file_name
    from fer_bench.regression.pytest_run import SuiteHooks
    from fer_bench.regression.suite import Suite
    from fer_edge.errors import FerEdgeError
    from fer_edge.evaluation.data_source import DataSource

    choices = {name: chosen[name] for name in _OF_THE_DATA if name in chosen}
    try:
        suite = Suite(
            chosen["model"],
            baseline_path(config, file_name(chosen["model"])),
            data=DataSource(chosen["data"], **choices) if "data" in chosen else None,
            split=chosen.get("split", _SPLIT),
            backends=chosen.get("backend"),
            other_data=chosen.get("other_data", False),
            update=chosen.get("update_baseline", False),
        )
    except FerEdgeError as problem:
        raise pytest.UsageError(str(problem)) from problem
    config.pluginmanager.register(SuiteHooks(suite), "fer_bench.regression.pytest_run")


def baseline_path(config: pytest.Config, name: str) -> Path:
    """The file of the baseline: ``--fer-baseline``, or ``name`` in the default folder."""
    if chosen := config.getoption("fer_baseline"):
        return Path(chosen)
    # not the root folder: without settings, a model path given as an argument of its own moves it
    beside = config.inipath.parent if config.inipath else config.invocation_params.dir
    return beside / BASELINES / name
