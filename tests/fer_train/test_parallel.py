"""Two processes on one training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from fer_train.parallel import World

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_one_process_is_the_plain_case() -> None:
    alone = World()
    batch = torch.arange(6)
    assert alone.leads
    assert torch.equal(alone.share(batch), batch)
    assert torch.equal(alone.mean(batch.float()), batch.float())


def test_the_processes_share_a_batch_without_gap_or_overlap() -> None:
    batch = torch.arange(7)
    device = torch.device("cpu")
    parts = [World(rank, 3, device).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)


def test_two_processes_train_one_network(tiny_fer2013: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'model = "mobilenetv3_small_050"\nepochs = 2\nbatch_size = 8\nevaluate_every = 1\n'
        "warmup_epochs = 1\n"
    )
    command = ["--data", str(tiny_fer2013), "--recipe", str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, *TORCHRUN, "-m", "fer_train", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["scores"]["n"] == 21
