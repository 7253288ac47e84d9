"""fer-edge predict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_edge import LABELS, FaceDetector, Predictor, cut_face, read_image
from fer_edge.cli import main
from fer_edge.images.synthetic import synthetic_crops

Run = Callable[..., int]


@pytest.fixture
def run(model_directory: Path) -> Run:
    """Run the command with the tiny model."""

    def run(*arguments: object) -> int:
        return main(["predict", "--model", str(model_directory), *map(str, arguments)])

    return run


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    return draw(tmp_path / "pictures" / "drawing.png")


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), synthetic_crops(1, seed)[0])
    return path


def results(path: Path) -> list[dict[str, Any]]:
    value = json.loads(path.read_text())
    assert list(value) == ["schema", "results"]
    assert value["schema"] == "fer-edge-predict/1"
    found: list[dict[str, Any]] = value["results"]
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- one picture


def test_a_crop_is_classified_as_it_is(
    run: Run, drawing: Path, model_directory: Path, tmp_path: Path
) -> None:
    assert run(drawing, "--crop", "--json", tmp_path / "out.json") == 0
    with Predictor(model_directory) as fer:
        expected = fer.predict(drawing).to_dict()
    del expected["uncertain"]
    assert results(tmp_path / "out.json") == [
        {"image": str(drawing), "faces": [{"box": None, **expected}]}
    ]


def test_a_person_reads_every_probability(
    run: Run, drawing: Path, model_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drawing, "--crop") == 0
    with Predictor(model_directory) as fer:
        expected = fer.predict(drawing)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{drawing}: {expected}"
    shares = dict(line.split()[:2] for line in rest)
    assert shares == {
        name: f"{share:.1%}" for name, share in zip(LABELS, expected.probabilities, strict=True)
    }


def test_the_face_of_a_photo_is_found_cut_out_and_classified(
    run: Run, portrait: Path, model_directory: Path, tmp_path: Path
) -> None:
    assert run(portrait, "--json", tmp_path / "out.json") == 0
    (result,) = results(tmp_path / "out.json")
    (face,) = result["faces"]
    picture = read_image(portrait)
    (found,) = FaceDetector().detect(picture)
    with Predictor(model_directory) as fer:
        shape = fer.info.spec.input
        crop = cut_face(picture, found.box, margin=shape.crop_margin, square=shape.crop_square)
        expected = fer.predict(crop)
    assert list(face) == ["box", "emotion", "confidence", "probabilities"]
    assert face["box"] == list(found.box)
    assert face["emotion"] == expected.emotion.value
    assert face["confidence"] == pytest.approx(expected.confidence)
    assert list(face["probabilities"]) == list(LABELS)


def test_a_picture_without_a_face_is_a_result_without_faces(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 90, np.uint8))
    assert run(wall, "--json", tmp_path / "out.json") == 0
    assert results(tmp_path / "out.json") == [{"image": str(wall), "faces": []}]
    assert capsys.readouterr().out == f"{wall}: no face found\n"


# ---- several pictures, some of them bad


def test_a_bad_picture_does_not_stop_the_others(
    run: Run, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, other = tmp_path / "bad.jpg", draw(tmp_path / "other.png", seed=1)
    bad.write_bytes(drawing.read_bytes()[:200])
    assert run(drawing, bad, other, "--crop", "--json", tmp_path / "out.json") == 2
    found = results(tmp_path / "out.json")
    assert [result["image"] for result in found] == [str(drawing), str(bad), str(other)]
    assert [len(result["faces"]) for result in found] == [1, 0, 1]
    assert "damaged or truncated PNG" in found[1]["error"]
    assert not any("error" in result for result in (found[0], found[2]))
    (complaint,) = capsys.readouterr().err.splitlines()
    assert str(bad) in complaint
    assert "damaged or truncated PNG" in complaint


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_bad_pictures_alone_give_a_result_of_errors(
    run: Run, tmp_path: Path, debug: list[str]
) -> None:
    out, empty = tmp_path / "out.json", tmp_path / "empty"
    empty.mkdir()
    assert run(tmp_path / "gone.png", empty, "--crop", "--json", out, *debug) == 2
    gone, folder = results(out)
    assert (gone["faces"], folder["faces"]) == ([], [])
    assert "there is no picture" in gone["error"]
    assert gone["error"].count("gone.png") == 1
    assert "is a folder without pictures" in folder["error"]


def test_an_address_is_named_once_and_whole(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("https://cameras/a.jpg") == 2
    told = capsys.readouterr().err
    assert told.startswith("fer-edge predict: 'https://cameras/a.jpg' is an address; download")
    assert told.count("a.jpg") == 1


def test_a_crop_that_is_too_small_is_a_bad_picture(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((4, 4), np.uint8))
    assert run(small, "--crop") == 2
    assert f"{small}: expected at least 8 x 8" in capsys.readouterr().err


def test_a_folder_stands_for_the_pictures_in_it(run: Run, tmp_path: Path) -> None:
    folder, out = tmp_path / "album", tmp_path / "out.json"
    pictures = [draw(folder / name, n) for n, name in enumerate(("a.png", "b.PNG", "c.jpg"))]
    (folder / "notes.txt").write_text("no picture")
    draw(folder / "a.faces.png", seed=9)
    (folder / "deep").mkdir()
    pictures.append(draw(folder / "deep" / "d.bmp", 4))
    assert run(folder, "--crop", "--json", out) == 0
    assert [result["image"] for result in results(out)] == list(map(str, pictures))


def test_a_folder_is_read_through_links_and_nothing_in_it_is_passed_over(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "album", tmp_path / "out.json"
    draw(tmp_path / "elsewhere" / "a.jpg", 1)
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "b.gif").write_bytes(b"GIF89a")
    assert run(folder, "--crop", "--json", out) == 2
    assert [r["image"] for r in results(out)] == [f"{folder}/b.gif", f"{folder}/linked/a.jpg"]
    assert "b.gif" in capsys.readouterr().err
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    assert run(folder, "--crop") == 2
    assert "gone is a link to" in capsys.readouterr().err


def test_shards_are_the_whole_and_overlap_nowhere(run: Run, tmp_path: Path) -> None:
    folder, out = tmp_path / "album", tmp_path / "out.json"
    pictures = {str(draw(folder / f"{n}.png", n)) for n in range(5)}
    parts = []
    for part in range(1, 4):
        assert run(folder, "--crop", "--shard", f"{part}/3", "--json", out) == 0
        parts.append([result["image"] for result in results(out)])
    assert sum(map(len, parts)) == 5
    assert {image for part in parts for image in part} == pictures


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3"])
def test_a_shard_that_there_is_not_is_a_usage_error(
    run: Run, drawing: Path, shard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(drawing, f"--shard={shard}")
    assert stopped.value.code == 2
    assert "expected I/N with I from 1 to N" in capsys.readouterr().err


def test_of_many_pictures_each_is_a_line_and_all_a_summary(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "album"
    for number in range(11):
        draw(folder / f"{number:02}.png", number)
    (folder / "bad.png").write_bytes(b"")
    assert run(folder, "--crop") == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:11]] == [
        str(folder / f"{number:02}.png") for number in range(11)
    ]
    assert lines[12] == "11 of 12 pictures read, 11 faces"
    counts = {line.split()[0]: int(line.split()[1]) for line in lines[13:]}
    assert list(counts) == list(LABELS)
    assert sum(counts.values()) == 11


def test_json_on_standard_output_is_alone_there(
    run: Run, drawing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drawing, "--crop", "--json", "-") == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["results"][0]["image"] == str(drawing)
    assert str(drawing) in streams.err


def test_where_a_copy_was_searched_in_vain_it_says_how_to_search_larger(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((750, 1000, 3), 90, np.uint8))
    assert run(wall) == 0
    assert capsys.readouterr().out == (
        f"{wall}: no face found in a copy of 640 x 480 pixels; to find smaller faces: --max-side "
        "1000\n"
    )
    assert run(wall, "--max-side", 1000) == 0
    assert capsys.readouterr().out == f"{wall}: no face found\n"


# ---- annotated pictures


def test_each_picture_is_written_with_its_faces(
    run: Run, drawing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a" / "b"
    assert run(drawing, "--crop", "--annotate", folder) == 0
    assert files(folder) == ["drawing.faces.png"]
    written = read_image(folder / "drawing.faces.png")
    assert written.shape == read_image(drawing).shape
    assert not np.array_equal(written, read_image(drawing))
    assert f"wrote {folder / 'drawing.faces.png'}" in capsys.readouterr().out


def test_pictures_of_the_same_name_have_files_of_their_own(run: Run, tmp_path: Path) -> None:
    names = ("x/face.png", "y/face.png", "z/face-1.png", "w/face.jpg")
    pictures = [draw(tmp_path / name, seed) for seed, name in enumerate(names)]
    folder = tmp_path / "out"
    assert run(*pictures, "--crop", "--annotate", folder) == 0
    assert files(folder) == [
        "face-1-1.faces.png",
        "face-1.faces.png",
        "face-2.faces.png",
        "face.faces.png",
    ]
    assert len({(folder / name).read_bytes() for name in files(folder)}) == 4


def test_the_same_picture_twice_is_written_twice(run: Run, drawing: Path, tmp_path: Path) -> None:
    assert run(drawing, drawing, "--crop", "--annotate", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["drawing-1.faces.png", "drawing.faces.png"]


@pytest.mark.parametrize("inside", [".", "../pictures"])
def test_no_picture_is_overwritten_by_its_annotation(run: Run, drawing: Path, inside: str) -> None:
    before = drawing.read_bytes()
    assert run(drawing, "--crop", "--annotate", drawing.parent / inside) == 0
    assert drawing.read_bytes() == before
    assert files(drawing.parent) == ["drawing.faces.png", "drawing.png"]


def test_a_bad_picture_has_no_annotated_file(run: Run, drawing: Path, tmp_path: Path) -> None:
    assert run(drawing, tmp_path / "gone.png", "--crop", "--annotate", tmp_path / "out") == 2
    assert files(tmp_path / "out") == ["drawing.faces.png"]


def test_a_folder_that_is_a_file_is_an_error_of_one_line(
    run: Run, drawing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(drawing, "--crop", "--annotate", drawing) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- models


def test_without_a_model_nothing_is_written(drawing: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    options = ["--json", str(tmp_path / "out.json"), "--annotate", str(tmp_path / "out")]
    model = str(tmp_path / "gone.onnx")
    assert main(["predict", str(drawing), "--crop", "--model", model, *options]) == 2
    assert files(tmp_path) == before


@pytest.mark.usefixtures("no_default_model")
def test_the_packaged_model_is_taken_by_default(
    drawing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(drawing), "--crop"]) == 2
    assert "the packaged model is missing" in capsys.readouterr().err


def test_a_detector_that_is_missing_is_exit_code_2(run: Run, drawing: Path) -> None:
    assert run(drawing, "--detector", drawing.parent / "gone.onnx") == 2


# ---- from a shell


def test_it_runs_from_a_shell(
    portrait: Path, model_directory: Path, tmp_path: Path, root: Path
) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "fer_edge", "predict", str(portrait)]
    options = ["--model", str(model_directory), "--json", str(out), "--threads", "1"]
    done = subprocess.run(
        [*command, *options, "--annotate", str(tmp_path / "annotated")],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    # OpenCV's builds with an older libpng say that this portrait's color profile is not quite right
    told = [line for line in done.stderr.splitlines() if not line.startswith("libpng warning")]
    assert (done.returncode, told) == (0, [])  # piped, so no progress bar
    assert done.stdout.startswith(str(portrait))
    assert len(results(out)[0]["faces"]) == 1
    assert files(tmp_path / "annotated") == [f"{portrait.stem}.faces.png"]
