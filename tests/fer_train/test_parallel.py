"""Several processes on one training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_process import start_training
from small_training import write_noise

from fer_train.cli import main
from fer_train.deadline import OUT_OF_TIME
from fer_train.parallel import Execution

Write = Callable[[Path, str, int], Path]

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_one_process_is_the_plain_case() -> None:
    alone = Execution()
    batch = torch.arange(6)
    assert alone.leads
    assert torch.equal(alone.share(batch), batch)
    assert torch.equal(alone.mean(batch.float()), batch.float())


def test_the_processes_share_a_batch_without_gap_or_overlap() -> None:
    batch = torch.arange(7)
    device = torch.device("cpu")
    parts = [Execution(rank, 3, device).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)


def test_the_hardware_is_told_with_its_number() -> None:
    cpu = torch.device("cpu")
    alone, two = Execution(0, 1, cpu).hardware, Execution(0, 2, cpu).hardware
    assert alone.endswith(f"{torch.get_num_threads()} threads")
    assert two == f"2 x {alone}"


# --- two processes on one machine


@pytest.fixture(scope="module")
def learnable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a bright bar whose place is the class, so that a network can learn it."""

    def bar(picture: np.ndarray, label: int) -> None:
        picture[6 * label + 2 : 6 * label + 8] += 150

    path = tmp_path_factory.mktemp("data") / "bars.zip"
    return write_noise(path, lambda usage, _: 8 if usage == "Training" else 4, bar)


NO_CHANCE = """\
model = "test_efficientnet_gn"
epochs = 8
batch_size = 16
warmup_epochs = 1
evaluate_every = 4
mixup = 0.0
dropout = 0.0
ema = 0.5
learning_rate = 5e-3
[augmentation]
flip = 0.0
rotation = 0.0
shift = 0.0
scale = 0.0
brightness = 0.0
contrast = 0.0
erasing = 0.0
"""


def on_two_processes(*arguments: object) -> int:
    """What torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        start_training([*map(str, arguments)], {**meeting, "RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    for process in both:
        process.join()
    assert both[0].exitcode == both[1].exitcode
    return both[0].exitcode or 0


def report_of(out: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((out / "report.json").read_text())["scores"]
    return found


def test_two_processes_come_to_the_numbers_of_one(learnable: Path, tmp_path: Path) -> None:
    """Where nothing is drawn per process, they differ by the order of sums alone."""
    recipe = tmp_path / "plain.toml"
    recipe.write_text(NO_CHANCE)
    command = ["--data", str(learnable), "--recipe", str(recipe), "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    assert on_two_processes(*command, tmp_path / "two", "--minutes", "0") == OUT_OF_TIME
    assert on_two_processes(*command, tmp_path / "two") == 0
    one, two = report_of(tmp_path / "one"), report_of(tmp_path / "two")
    assert one["accuracy"] > 0.5, "it learnt nothing, so this test would tell nothing"
    assert two["nll"] == pytest.approx(one["nll"], rel=1e-3)
    assert abs(two["accuracy"] - one["accuracy"]) <= 1 / one["n"]


@pytest.mark.long
def test_with_batch_norm_and_augmentation_they_agree_within_noise(
    learnable: Path, write_recipe: Write, tmp_path: Path
) -> None:
    more = "mixup = 0.2\nema = 0.8\n[augmentation]\nshift = 0.03\nscale = 0.05\n"
    recipe = write_recipe(tmp_path / "small.toml", more, 30)
    command = ["--data", str(learnable), "--recipe", str(recipe), "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    assert on_two_processes(*command, tmp_path / "two") == 0
    one, two = report_of(tmp_path / "one"), report_of(tmp_path / "two")
    assert one["accuracy_ci95"][0] <= two["accuracy"] <= one["accuracy_ci95"][1]


@pytest.mark.long
def test_torchrun_starts_them(tiny_fer2013: Path, write_recipe: Write, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small.toml", "", 2)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = ["--data", str(tiny_fer2013), "--recipe", str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "fer_train", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[0]["hardware"].startswith("2 x ")
