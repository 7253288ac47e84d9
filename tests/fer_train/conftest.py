"""What the tests of training share: one thread for networks this small, and a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fer_train.conditioning import Conditioning

RECIPE = """\
model = "test_efficientnet"
epochs = {epochs}
batch_size = 8
warmup_epochs = 1
evaluate_every = 1
batch_norm_crops = 16
"""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with more, much slower beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """Trainings draw nothing and try no odd crops: that would take longer than their few steps."""
    ordinary = Conditioning(1.0, "clean", 1.0, "clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_train.assessment.measure", lambda *_: ordinary)
        for name in ("curves", "confusion", "errors"):
            patch.setattr(f"fer_train.pipeline.draw_{name}", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def write_recipe() -> Callable[[Path, str, int], Path]:
    """Write a recipe of the smallest network of timm, of so many epochs, and what differs."""

    def write(path: Path, more: str, epochs: int) -> Path:
        path.write_text(RECIPE.format(epochs=epochs) + more)
        return path

    return write


@pytest.fixture
def recipe(write_recipe: Callable[[Path, str, int], Path], tmp_path: Path) -> Callable[..., Path]:
    """The same, in the folder of the test."""

    def write(more: str = "", *, name: str = "small", epochs: int = 3) -> Path:
        return write_recipe(tmp_path / f"{name}.toml", more, epochs)

    return write
