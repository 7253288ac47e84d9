"""Whatever ends a command in the middle, the same one brings it to the same end."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from own_process import start_training

from fer_train.cli import main
from fer_train.journal import METRICS
from fer_train.loop import BEST, LAST

Write = Callable[[Path, str, int], Path]
Factory = pytest.TempPathFactory

pytestmark = pytest.mark.usefixtures("no_pictures")

if sys.platform == "win32":
    pytest.skip("no fork and no SIGKILL on Windows", allow_module_level=True)

EPOCHS = 3


@pytest.fixture(scope="module")
def command(tiny_fer2013: Path, write_recipe: Write, tmp_path_factory: Factory) -> list[str]:
    """A training with everything that is random; the folder is to follow."""
    folder = tmp_path_factory.mktemp("recipe")
    settings = write_recipe(folder / "small.toml", "mixup = 0.5\ndropout = 0.3\n", EPOCHS)
    return ["--data", str(tiny_fer2013), "--recipe", str(settings), "--out"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: Factory) -> Path:
    """The training as it goes when nothing interrupts it."""
    out = tmp_path_factory.mktemp("whole")
    assert main([*command, str(out)]) == 0
    return out


def epochs(out: Path) -> list[int]:
    path = out / METRICS
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["epoch"] for line in lines]


def assert_same_end(first: Path, second: Path) -> None:
    for file in (LAST, BEST):
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    assert epochs(first) == epochs(second)
    assert not [path.name for path in second.rglob("*.tmp")]


def kill_often(kills: int, command: list[str], cut: Path) -> list[float]:
    """Start and kill at random, each time an epoch further; tell the moments."""
    moments = []
    for _ in range(kills):
        before = epochs(cut)
        child = start_training([*command, str(cut)])
        while epochs(cut) == before and child.is_alive():
            time.sleep(0.002)  # into an epoch of its own first, or it would never come further
        moments.append(random.uniform(0, 0.2))  # noqa: S311 - any moment will do
        child.join(moments[-1])
        child.kill()
        child.join()
    return moments


def test_killed_at_any_moment_it_ends_in_the_same_bits(
    whole: Path, command: list[str], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    moments = kill_often(2, command, cut)
    assert main([*command, str(cut)]) == 0
    print("killed so long after an epoch:", moments)  # shown where the next line fails
    assert_same_end(whole, cut)


@pytest.mark.long
def test_killed_again_and_again_it_ends_in_the_same_bits(
    tiny_fer2013: Path, write_recipe: Write, tmp_path: Path
) -> None:
    settings = write_recipe(tmp_path / "long.toml", "mixup = 0.5\ndropout = 0.3\n", 30)
    command = ["--data", str(tiny_fer2013), "--recipe", str(settings), "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    moments = kill_often(25, command, tmp_path / "cut")
    assert main([*command, str(tmp_path / "cut")]) == 0
    print("killed so long after an epoch:", moments)
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_interrupted_from_the_keyboard_it_leaves_whole_files_and_continues(
    whole: Path, command: list[str], tmp_path: Path
) -> None:
    child = start_training([*command, str(tmp_path / "cut")])
    while not (tmp_path / "cut" / LAST).exists():
        assert child.is_alive()
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGINT)
    child.join()
    assert child.exitcode == 130
    assert not list((tmp_path / "cut").rglob("*.tmp"))
    assert main([*command, str(tmp_path / "cut")]) == 0
    assert_same_end(whole, tmp_path / "cut")


def test_teachers_that_are_killed_come_to_the_same_answers(
    whole: Path, tiny_fer2013: Path, tmp_path: Path
) -> None:
    command = ["teach", "--data", str(tiny_fer2013), "--teacher", str(whole / BEST)]
    command += ["--views", "12", "--out"]
    cut, uncut = tmp_path / "cut.safetensors", tmp_path / "whole.safetensors"
    for _ in range(2):
        child = start_training([*command, str(cut)])
        while not cut.exists() and child.is_alive():
            time.sleep(0.002)
        child.join(random.uniform(0, 0.1))  # noqa: S311 - any moment will do
        child.kill()
        child.join()
    assert main([*command, str(cut)]) == 0
    assert main([*command, str(uncut)]) == 0
    assert cut.read_bytes() == uncut.read_bytes()
