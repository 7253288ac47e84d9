"""The examples in the documents run: Python as it stands there, commands up to their options."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import tomllib

from fer_edge import FerEdgeError

ROOT = Path(__file__).parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
FENCED = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[2])
        for found in FENCED.finditer(text)
        if found[1] == language
    ]


def script_of(page: Path) -> str:
    """The Python blocks of a page as one program, whose lines have the numbers of the page's."""
    program = ""
    for line, block in blocks(page, "python"):
        program += "\n" * (line - program.count("\n")) + block
    return program


def command_lines() -> list[str]:
    """Every command of ours in a block without a language, continued lines joined."""
    found = set()
    for page in PAGES:
        for language in ("", "bash", "sh"):
            for _, block in blocks(page, language):
                lines = block.replace("\\\n", " ").splitlines()
                found |= {" ".join(line.split()) for line in lines if re.match(r"fer-\w+ ", line)}
    return sorted(found)


@pytest.fixture
def desk(
    tmp_path: Path, portrait: Path, tiny_fer2013: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what the examples name: ``photo.jpg``, ``face.jpg`` and a small data set."""
    photo = cv2.imread(str(portrait))
    assert photo is not None
    cv2.imwrite(str(tmp_path / "photo.jpg"), photo)
    cv2.imwrite(str(tmp_path / "group.jpg"), photo)
    cv2.imwrite(str(tmp_path / "face.jpg"), photo[50:190, 150:290])
    (tmp_path / "fer2013.zip").symlink_to(tiny_fer2013)
    (tmp_path / "train").symlink_to(ROOT / "train")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python")],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, desk: Path) -> None:
    (desk / "page.py").write_text(script_of(page), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "page.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr
    for _, told in blocks(page, "text"):
        assert without_numbers(told) in without_numbers(done.stdout)


def without_numbers(printed: str) -> str:
    """Another engine or processor changes the last digits of a confidence or a box."""
    return re.sub(r"\d+", "#", printed)


class ParsedError(FerEdgeError):
    """Raised in place of running a command whose options are good."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands stop once their options are read."""
    parse: Callable[..., argparse.Namespace] = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: object) -> argparse.Namespace:
        parse(parser, *given)
        raise ParsedError("its options are good")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


@pytest.mark.usefixtures("parse_only")
@pytest.mark.parametrize("line", command_lines())
def test_the_options_of_a_command_exist(line: str) -> None:
    command, *arguments = shlex.split(
        line.split(" | ", maxsplit=1)[0].split("; ", maxsplit=1)[0], comments=True
    )
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts[command].split(":")
    with pytest.raises(ParsedError):
        getattr(importlib.import_module(module), function)(arguments)
