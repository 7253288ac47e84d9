"""What the documents point to is there."""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        with contextlib.suppress(ModuleNotFoundError):
            found: object = importlib.import_module(module)
            for attribute in parts[length:]:
                found = getattr(found, attribute, None)
            return found is not None
    return False


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_is_there(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (root / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_every_path_and_module_that_is_named_is_there(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    folders = r"(?:fer_edge|train|calib|export|benchmarks|docs|tests)/[\w./-]+"
    for path in re.findall(rf"`({folders})`", text):
        assert (root / path).exists(), path
    for name in re.findall(r"`(fer_(?:edge|train|calib|export|bench)(?:\.\w+)+)`", text):
        assert resolves(name), name


def test_every_page_is_looked_at(root: Path) -> None:
    there = {
        page.relative_to(root).as_posix() for page in (*root.glob("*.md"), *root.glob("docs/*.md"))
    }
    assert there == set(PAGES)


def test_the_measured_parts_are_filled(root: Path) -> None:
    for page in ("README.md", "docs/model-card.md", "docs/faces.md"):
        text = (root / page).read_text(encoding="utf-8")
        for name in re.findall(r"<!-- (\w+) -->", text):
            block = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
            assert "|" in block, (page, name)
