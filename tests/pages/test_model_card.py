"""The card of the packaged models, on made-up pictures."""

from __future__ import annotations

from pathlib import Path

from made_fer2013 import as_files, made, write_zip

from fer_edge.artifacts.model import packaged_models
from pages.model_card import write_model_card


def test_each_packaged_model_has_a_section_and_a_row(tmp_path: Path) -> None:
    card, readme = tmp_path / "card.md", tmp_path / "README.md"
    for page in (card, readme):
        page.write_text("before\n<!-- measured -->\n<!-- /measured -->\nafter\n")
    data = write_zip(tmp_path / "fer2013.zip", as_files(made()))
    results = write_model_card(data, card, readme)
    assert [result.model for result in results] == list(packaged_models())
    for result in results:
        assert f"### `{result.model}`\n" in card.read_text()
        (row,) = [line for line in readme.read_text().splitlines() if f"`{result.model}`" in line]
        assert f"**{result.accuracy:.2%}**" in row
