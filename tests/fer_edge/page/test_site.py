from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from fer_edge import ConfigurationError
from fer_edge.cli import main
from fer_edge.page import site as module
from fer_edge.page.site import site_files, write_site

STATIC = Path(module.__file__).with_name("static")


def test_the_page_lists_the_packaged_model_in_each_precision_that_a_browser_runs(
    site: Path,
) -> None:
    config = json.loads((site / "page.json").read_text())

    default = [model for model in config["models"] if model["name"] == "default"]
    assert [model["precision"] for model in default] == ["int8", "fp32"]
    for model in config["models"]:
        assert (site / model["file"]).stat().st_size == model["bytes"]


def test_the_written_runtime_is_the_one_of_the_pinned_hashes(site: Path) -> None:
    folder = site / "onnxruntime"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


def test_the_page_holds_nothing_that_a_browser_does_not_load(site: Path) -> None:
    unserved = [path.name for path in site.rglob("*") if path.suffix in (".ts", ".mts", ".gz")]
    assert unserved == []


def test_an_own_model_comes_first_with_its_own_labels(tiny_artifact: Path) -> None:
    _, config = site_files(model=tiny_artifact)

    assert config["models"][0]["name"] == f"own-{tiny_artifact.stem}"
    assert config["models"][0]["input"]["height"] == 48
    assert config["models"][1]["name"] == "default"


def test_a_page_is_replaced_by_the_next(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    shutil.copytree(site, out)
    (out / "stale.js").touch()

    write_site(out)

    assert not (out / "stale.js").exists()
    assert (out / "index.html").is_file()


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(ConfigurationError, match="holds other files"):
        write_site(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


def test_the_command_tells_how_to_serve_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["page", "--out", str(tmp_path / "page")]) == 0
    assert f"python3 -m http.server -d {tmp_path / 'page'}" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")

    assert main(["page", "--out", str(tmp_path / "page"), "--model", str(damaged)]) == 2
    assert "damaged.onnx" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_no_file_of_the_page_names_another_host() -> None:
    allowed = ("http://localhost:8000", "http://www.w3.org/2000/svg")
    for path in STATIC.rglob("*"):
        if path.suffix not in (".js", ".html", ".css", ".svg"):
            continue
        text = path.read_text()
        for address in allowed:
            text = text.replace(address, "")
        assert "http://" not in text, path
        assert "https://" not in text.replace("from https:// or", ""), path
