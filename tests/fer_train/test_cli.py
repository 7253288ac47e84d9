"""The command fer-train: what it leaves, and what bad input gets."""

from __future__ import annotations

import json
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fer_train.assessment import read_report
from fer_train.cli import main
from fer_train.cli.training import print_report
from fer_train.deadline import OUT_OF_TIME
from fer_train.loop import BEST, LAST

Write = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_pictures")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that has to fail with exit code 2 and one line."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("fer-train")
        return message

    return run


# --- bad input


def test_an_archive_without_a_training_split_is_told(
    tiny_fer2013: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    only_test = tmp_path / "test.zip"
    with zipfile.ZipFile(tiny_fer2013) as whole, zipfile.ZipFile(only_test, "w") as part:
        for name in whole.namelist():
            if name.startswith("test/"):
                part.writestr(name, whole.read(name))
    assert "train" in refused("--data", only_test, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("patch_size = 7", "patches of 7 x 7 pixels, which do not divide 48 x 48"),
        ("patch_size = 6\nimg_size = 54", "fails on 48 x 48 pixels"),
    ],
)
def test_an_image_size_that_does_not_fit_the_patches_is_told(
    network: str, message: str, tiny_fer2013: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    recipe = tmp_path / "vit.toml"
    recipe.write_text(
        '[network]\narchitecture = "vit_tiny_patch16_224"\n[network.arguments]\n'
        f"img_size = 48\n{network}\n".replace("img_size = 48\npatch_size = 6\n", "patch_size = 6\n")
        + "depth = 1\n"
    )
    told = refused("--data", tiny_fer2013, "--recipe", recipe, "--out", tmp_path / "run")
    assert message in told


def test_a_loss_that_is_no_number_ends_the_command_with_what_is_kept(
    tiny_fer2013: Path, tmp_path: Path, recipe: Write, refused: Callable[..., str]
) -> None:
    hot = recipe('optimizer = "sgd"\nlearning_rate = 100\n', epochs=60)
    told = refused("--data", tiny_fer2013, "--recipe", hot, "--out", tmp_path / "run")
    assert "batch" in told or "answers with numbers that are not finite" in told
    assert "lower learning_rate" in told
    for file in (tmp_path / "run").glob("*.safetensors"):
        assert file.stat().st_size
        assert file.name in {BEST, LAST}


# --- a full disk


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a disk that is full, a write beyond so many bytes fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_command_and_leaves_earlier_results_intact(
    tiny_fer2013: Path, tmp_path: Path, recipe: Write, refused: Callable[..., str]
) -> None:
    out = tmp_path / "run"
    command = ["--data", tiny_fer2013, "--recipe", recipe(), "--out", out]
    while not (out / BEST).exists():
        assert main([*map(str, command), "--minutes", "0"]) == OUT_OF_TIME
    before = contents(out)
    with largest_file(100_000):
        told = refused(*command)
    assert f"{out}/{LAST}: File too large" in told or f"{out}/{BEST}: File too large" in told
    after = contents(out)
    assert {name for name in after if "tensorboard" not in name} == {
        name for name in before if "tensorboard" not in name
    }
    for name in (LAST, BEST):
        assert after[name] == before[name]
    assert main([*map(str, command)]) == 0


# --- other commands


def test_the_options_of_a_training_stay_without_a_word_before_them(
    tiny_fer2013: Path, tmp_path: Path, recipe: Write
) -> None:
    out, told = tmp_path / "run", tmp_path / "told.json"
    command = ["--data", tiny_fer2013, "--recipe", recipe(epochs=1), "--out", out, "--json", told]
    assert main([*map(str, command)]) == 0
    report = json.loads(told.read_text())
    assert report == json.loads((out / "report.json").read_text())
    history = report["history"]
    assert (history["recipe"], history["epochs"], history["initial"]) == ("small.toml", 1, None)
    assert history["seconds"] > 0
    assert len(history["hardware"]) == 1
    assert "1 threads" in history["hardware"][0] or "cuda" in history["hardware"][0].lower()


def test_the_summary_tells_weak_classes_and_an_ill_conditioned_network(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = read_report(root / "train" / "weights" / "mobilenet.json")
    print_report(replace(good, well_conditioned=False))
    told = capsys.readouterr().out
    assert "  ILL-CONDITIONED: largest logit" in told
    weakest = min(good.scores.per_class.items(), key=lambda named: named[1].recall)
    assert f"macro-F1 {good.scores.macro_f1:.3f}; found least often: {weakest[0]} " in told


@pytest.mark.parametrize("command", ["campaign", "import"])
def test_each_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"fer-train {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"fer-train {command}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_folder_that_cannot_be_had_is_told_before_the_data_is_read(
    tmp_path: Path, refused: Callable[..., str], out: str
) -> None:
    (tmp_path / "file").touch()
    told = refused("--data", tmp_path / "missing.zip", "--out", tmp_path / out)
    assert f"{tmp_path / 'file'}: Not a directory; give another path" in told


@pytest.mark.parametrize("source", ["--init", "--teacher", "--taught"])
@pytest.mark.parametrize("name", [BEST, LAST])
def test_a_training_never_writes_over_what_it_starts_or_learns_from(
    tmp_path: Path, refused: Callable[..., str], source: str, name: str
) -> None:
    (tmp_path / name).touch()
    told = refused("--data", "missing.zip", "--out", tmp_path, source, tmp_path / name)
    assert f"{tmp_path / name} is where this training writes its own weights" in told
