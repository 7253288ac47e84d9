"""The pytest plugin: ``pytest --fer-model MODEL [--fer-data FER2013]``.

Every run of pytest loads it where fer-edge is installed, so without ``--fer-model`` it imports
nothing and adds nothing. With it, each check of each artifact on each backend of the machine is a
test of its own: ``fer::model.int8.onnx[openvino]::accuracy``. It works with pytest from 6.2 on,
which a device may have.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fer_edge.evaluation.data_source import DataSource

__all__ = ["BASELINES", "baseline_path"]

BASELINES = "fer_baselines"
"""The default folder of baselines, one file per model: beside pytest's settings, or in the current
folder if there are none.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of them beginning with ``--fer-``."""
    group = parser.getgroup("fer", "accuracy regression of facial expression models (fer-edge)")
    group.addoption(
        "--fer-model",
        metavar="MODEL",
        help="test a model directory, an artifact, or 'default' (the packaged model)",
    )
    group.addoption(
        "--fer-data",
        metavar="DATA",
        help="FER2013 (zip, folder or CSV), a folder of classes, or a list file",
    )
    group.addoption(
        "--fer-classes", metavar="NAMES", help="what its classes are, such as 1=surprise,2=fear"
    )
    group.addoption(
        "--fer-validation", metavar="DATA", help="another data set, whose pictures are public-test"
    )
    group.addoption(
        "--fer-validation-share",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="take this share of each class of train as public-test, as the training did",
    )
    group.addoption("--fer-seed", metavar="N", type=int, default=0, help="of the share")
    group.addoption("--fer-subject", metavar="REGEX", help="draws the share by person")
    group.addoption(
        "--fer-split", metavar="SPLIT", default="public-test", help="default: %(default)s"
    )
    group.addoption(
        "--fer-other-data",
        action="store_true",
        help="the pictures are not those of the baseline, and that is meant",
    )
    group.addoption(
        "--fer-baseline",
        metavar="FILE",
        help=f"baseline to compare with (default: {BASELINES}/NAME.json beside pytest's settings, "
        "or in the current folder; NAME being that of the model's folder)",
    )
    group.addoption(
        "--fer-update-baseline",
        action="store_true",
        help="measure, and write the baseline if what holds of any model holds of this one",
    )
    group.addoption(
        "--fer-backend",
        metavar="NAME",
        action="append",
        help="test this backend alone; may be repeated (default: every one that is installed)",
    )
    group.addoption(
        "--fer-out",
        metavar="DIR",
        help="on failure, draw the pictures that changed into DIR; keep it out of the repository",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and open the suite."""
    config.addinivalue_line("markers", "fer_regression: a check of --fer-model")
    model = config.getoption("fer_model")
    if model is None:
        options = (
            "data",
            "classes",
            "validation",
            "other_data",
            "baseline",
            "update_baseline",
            "backend",
            "out",
        )
        if given := [name for name in options if config.getoption(f"fer_{name}")]:
            raise pytest.UsageError(f"--fer-{given[0].replace('_', '-')} needs --fer-model")
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--fer-model measures latency, so it does not run with -n")
    from fer_bench.regression.cells import file_name
    from fer_bench.regression.pytest_run import SuiteHooks
    from fer_bench.regression.suite import Suite
    from fer_edge.errors import FerEdgeError

    try:
        suite = Suite(
            model,
            baseline_path(config, file_name(model)),
            data=_data(config),
            split=config.getoption("fer_split"),
            backends=config.getoption("fer_backend"),
            other_data=config.getoption("fer_other_data"),
            update=config.getoption("fer_update_baseline"),
        )
    except FerEdgeError as problem:
        raise pytest.UsageError(str(problem)) from problem
    config.pluginmanager.register(SuiteHooks(suite), "fer_bench.regression.pytest_run")


def _data(config: pytest.Config) -> DataSource | None:
    from fer_edge.evaluation.data_source import DataSource

    data, other = config.getoption("fer_data"), config.getoption("fer_validation")
    if data is None:
        return None
    return DataSource(
        Path(data),
        config.getoption("fer_classes"),
        validation=None if other is None else Path(other),
        validation_share=config.getoption("fer_validation_share"),
        seed=config.getoption("fer_seed"),
        subject=config.getoption("fer_subject"),
    )


def baseline_path(config: pytest.Config, name: str) -> Path:
    """The file of the baseline: ``--fer-baseline``, or ``name`` in the default folder."""
    if chosen := config.getoption("fer_baseline"):
        return Path(chosen)
    # not the root folder: without settings, a model path given as an argument of its own moves it
    beside = config.inipath.parent if config.inipath else config.invocation_params.dir
    return beside / BASELINES / name
