"""How long the Ray example of docs/serving.md takes for a folder of pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import cv2
import skimage.data

from fer_edge import EngineError, read_image
from fer_edge.command import Commands, add_command
from fer_edge.errors import ConfigurationError, GateError
from pages.blocks import MeasuredBlock
from pages.figures import machine

_PICTURES = 200


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "bulk", "run the example with Ray, and time it", _bulk)
    parser.add_argument("--page", metavar="FILE", type=Path, default=Path("docs/serving.md"))
    parser.add_argument(
        "--python", metavar="FILE", default=sys.executable, help="one that has Ray and fer_edge"
    )
    parser.add_argument("--pictures", metavar="N", type=int, default=_PICTURES)
    parser.add_argument("--note", default="", metavar="TEXT", help="how it was measured")


def example(page: Path) -> str:
    """The one block of Python in a page that imports ray. Raises ConfigurationError if none."""
    blocks = re.findall(r"```python notest\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    found = [block for block in blocks if block.startswith("import ray\n")]
    if len(found) != 1:
        raise ConfigurationError(f"{page} has {len(found)} blocks that import ray; expected one")
    return str(found[0])


def write_pictures(folder: Path, count: int) -> None:
    """Write pictures of one face, each a little darker than the one before."""
    folder.mkdir()
    portrait = read_image(Path(skimage.data.__file__).with_name("astronaut.png"))
    for number in range(count):
        picture = cv2.convertScaleAbs(portrait, alpha=1 - 0.4 * number / count)
        cv2.imwrite(str(folder / f"{number:04}.png"), picture)


def check_answers(folder: Path, count: int) -> None:
    """Raise GateError unless the JSON lines of a folder tell of one face in each picture."""
    rows = [
        json.loads(line)
        for file in sorted(folder.glob("*.json"))
        for line in file.read_text("utf-8").splitlines()
    ]
    paths = {row["path"] for row in rows}
    if len(paths) != count or any(len(row["emotions"]) != 1 for row in rows):
        raise GateError(
            f"expected one face in each of {count} pictures; got "
            f"{sum(len(row['emotions']) for row in rows)} faces in {len(paths)}"
        )


def _bulk(options: Namespace) -> int:
    block, code = MeasuredBlock(options.page, "bulk"), example(options.page)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", options.pictures)
        began = time.monotonic()
        command = [options.python, "-c", code]
        done = subprocess.run(command, cwd=folder, check=False)  # noqa: S603 - a list, no shell
        spent = time.monotonic() - began
        if done.returncode:
            raise EngineError(
                f"the example ended with code {done.returncode}; it needs in the environment of "
                f"{options.python}: pip install 'ray[data]' fer-edge"
            )
        check_answers(folder / "out", options.pictures)
    pictures = f"{options.pictures} pictures of 512 x 512 pixels with one face each"
    text = f"{pictures}: {spent:.0f} s, with the start of Ray.\n{machine()}. {options.note}"
    block.write(text.rstrip())
    print(f"{options.page}: {spent:.1f} s")
    return 0
