"""The pytest plugin: ``pytest --fer-model MODEL [--fer-data FER2013]``.

pytest loads it in every run on a machine with fer-edge, so without ``--fer-model`` it imports
nothing and adds nothing. With it, each check of each artifact on each backend of the machine is a
test of its own: ``fer::model.int8.onnx[openvino]::accuracy``. It works with pytest 6.2 and later,
which a device may have.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fer_edge.evaluation.data_source import DataSource

__all__ = ["BASELINES", "baseline_path"]

BASELINES = "fer_baselines"
"""The default folder of baselines, one file per model: beside pytest's settings, or in the current
folder if there are none.
"""

_OPTIONS: dict[str, dict[str, Any]] = {
    "model": {
        "metavar": "MODEL",
        "help": "test a model directory, an artifact, or 'default' (the packaged model)",
    },
    "data": {
        "metavar": "DATA",
        "type": Path,
        "help": "FER2013 (zip, folder or CSV), a folder of classes, or a list file",
    },
    "classes": {
        "metavar": "NAMES",
        "help": "what the classes of the data are, such as 1=surprise,2=fear",
    },
    "validation": {
        "metavar": "DATA",
        "type": Path,
        "help": "another data set, whose pictures are public-test",
    },
    "validation-share": {
        "metavar": "SHARE",
        "type": float,
        "default": 0.0,
        "help": "take this share of each class of train as public-test, as the training did",
    },
    "seed": {"metavar": "N", "type": int, "default": 0, "help": "seed of that share"},
    "subject": {
        "metavar": "REGEX",
        "help": "finds the person in a picture's name: no person is in both halves",
    },
    "split": {"metavar": "SPLIT", "default": "public-test", "help": "default: %(default)s"},
    "other-data": {
        "action": "store_true",
        "default": False,
        "help": "allow other pictures than those of the baseline",
    },
    "baseline": {
        "metavar": "FILE",
        "help": f"compare with this baseline (default: {BASELINES}/NAME.json beside pytest's "
        "settings, or in the current folder; NAME is that of the model's folder)",
    },
    "update-baseline": {
        "action": "store_true",
        "default": False,
        "help": "record a new baseline, if the checks hold that any sound model passes",
    },
    "backend": {
        "metavar": "NAME",
        "action": "append",
        "help": "test this backend alone; may be repeated (default: every one that is installed)",
    },
    "out": {
        "metavar": "DIR",
        "help": "on failure, draw the pictures that changed into DIR; keep it out of the "
        "repository",
    },
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of them beginning with ``--fer-``."""
    group = parser.getgroup("fer", "accuracy regression of facial expression models (fer-edge)")
    for name, settings in _OPTIONS.items():
        group.addoption(f"--fer-{name}", **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and open the suite."""
    config.addinivalue_line("markers", "fer_regression: a check of --fer-model")
    chosen = {name: config.getoption(f"fer_{name.replace('-', '_')}") for name in _OPTIONS}
    if chosen["model"] is None:
        given = [n for n, v in chosen.items() if v not in (None, _OPTIONS[n].get("default"))]
        if given:
            raise pytest.UsageError(f"--fer-{given[0]} needs --fer-model")
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--fer-model measures latency, so leave out -n")
    from fer_bench.regression.cells import file_name
    from fer_bench.regression.pytest_run import SuiteHooks
    from fer_bench.regression.suite import Suite
    from fer_edge.errors import FerEdgeError

    try:
        suite = Suite(
            chosen["model"],
            baseline_path(config, file_name(chosen["model"])),
            data=_data(chosen),
            split=chosen["split"],
            backends=chosen["backend"],
            other_data=chosen["other-data"],
            update=chosen["update-baseline"],
        )
    except FerEdgeError as problem:
        raise pytest.UsageError(str(problem)) from problem
    config.pluginmanager.register(SuiteHooks(suite), "fer_bench.regression.pytest_run")


def _data(chosen: dict[str, Any]) -> DataSource | None:
    from fer_edge.command import data_of

    options = Namespace(limit=None, **{n.replace("-", "_"): v for n, v in chosen.items()})
    return data_of(options) if options.data else None


def baseline_path(config: pytest.Config, name: str) -> Path:
    """The file of the baseline: ``--fer-baseline``, or ``name`` in the default folder."""
    if chosen := config.getoption("fer_baseline"):
        return Path(chosen)
    # not the root folder: without settings, a model path given as an argument of its own moves it
    beside = config.inipath.parent if config.inipath else config.invocation_params.dir
    return beside / BASELINES / name
