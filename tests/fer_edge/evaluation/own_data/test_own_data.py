"""Data sets of one's own: folders of classes, numbered ones, any size and colour."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import (
    as_fer2013_csv,
    colour,
    made,
    png,
    write_file,
    write_folder,
    write_zip,
)

from fer_edge import LABELS
from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import ConfigurationError, DataError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import load, load_halves
from fer_edge.images.preprocess import preprocess_all

RGB = InputSpec(64, 64, "rgb", (0.5,) * 3, (0.5,) * 3)
RAF_DB = "1=surprise,2=fear,3=disgust,4=happy,5=sad,6=angry,7=neutral"


def folders(
    classes: Iterable[object], halves: Iterable[str] = ("train/", "test/"), count: int = 3
) -> dict[str, bytes]:
    names = [f"{half}{name}/{n}.png" for half in halves for name in classes for n in range(count)]
    return {name: png(colour(seed)) for seed, name in enumerate(names)}


def test_numbered_folders_get_their_names(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", folders(range(1, 8)))
    crops = load(DataSource(path, RAF_DB), "train")
    assert crops.classes == LABELS
    said = {
        int(name.split("/")[1]): LABELS[k]
        for name, k in zip(crops.names, crops.labels, strict=True)
    }
    assert said == dict(
        enumerate(["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"], 1)
    )


def test_numbered_folders_without_names_are_refused_with_what_to_write(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(range(1, 4)))
    with pytest.raises(DataError, match='--classes "1=NAME,2=NAME,3=NAME"'):
        load(path, "train")


def test_contempt_is_an_eighth_class(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([*LABELS, "contempt"]))
    crops = load(path, "train")
    assert crops.classes == (*LABELS, "contempt")
    assert np.bincount(crops.labels).tolist() == [3] * 8


def test_a_class_can_be_dropped(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([*LABELS, "contempt"]))
    crops = load(DataSource(path, f"{','.join(LABELS)},contempt=drop"), "train")
    assert (crops.classes, len(crops)) == (LABELS, 21)


def test_to_drop_a_class_is_enough(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([*LABELS, "contempt"]))
    assert load(DataSource(path, "contempt=drop"), "train").classes == LABELS
    with pytest.raises(DataError, match=r"names 'bored', and .* has no such class"):
        load(DataSource(path, "bored=drop"), "train")


def test_labels_beside_halves_that_are_there_are_no_half(tmp_path: Path) -> None:
    files = {**folders(LABELS), "train_labels.csv": b"a", "test_labels.csv": b"b"}
    assert len(load(write_folder(tmp_path / "a", files), "train")) == 21


def test_loose_pictures_beside_the_halves_are_told(tmp_path: Path) -> None:
    files = {**folders(LABELS), "sample.png": png(colour(1))}
    crops = load(write_folder(tmp_path / "a", files), "train")
    assert crops.notes == ("1 pictures are in no half and left out, sample.png for one",)


def test_classes_of_ones_own_keep_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(["alert", "bored", "happiness"]))
    crops = load(DataSource(path, "bored,alert,happiness"), "test")
    assert crops.classes == ("bored", "alert", "happy")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("1=happy,2=sad", "has the class '3', which --classes does not name"),
        ("1=happy,2=sad,3=fear,9=angry", "names '9', and .* has no such class; it has 1, 2, 3"),
    ],
)
def test_names_and_folders_have_to_agree(classes: str, message: str, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(range(1, 4)))
    with pytest.raises(DataError, match=message):
        load(DataSource(path, classes), "train")


@pytest.mark.parametrize(
    "classes", ["1=", "=happy", "1=happy,,2=sad", "1=happy,1=sad", "1=happy", "1=a/b,2=c"]
)
def test_a_mapping_that_is_none_is_refused(classes: str, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([1, 2]))
    with pytest.raises(ConfigurationError, match="--classes"):
        load(DataSource(path, classes), "train")


def test_the_order_of_the_model_counts(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(["bored", "alert"]))
    assert load(path, "train", labels=("bored", "alert")).classes == ("bored", "alert")
    assert load(path, "train", labels=("alert", "bored")).labels[0] == 0


def test_classes_that_the_model_lacks_are_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([*LABELS, "contempt"]))
    with pytest.raises(
        DataError, match="has the class contempt, and the model's classes are angry"
    ):
        load(path, "train", labels=LABELS)


def test_a_class_that_the_model_lacks_is_left_out_by_what_the_message_says(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders([*LABELS, "8"]))
    names = f"{','.join(LABELS)},8=contempt"
    with pytest.raises(DataError, match="leave such pictures out") as caught:
        load(DataSource(path, names), "train", labels=LABELS)
    advice = str(caught.value).split('"')[1]
    assert load(DataSource(path, advice), "train", labels=LABELS).classes == LABELS


def test_a_class_in_one_half_alone_is_left_out_by_what_the_message_says(tmp_path: Path) -> None:
    files = {**folders("123", ["train/"]), **folders("12", ["val/"])}
    path = write_folder(tmp_path / "a", files)
    with pytest.raises(DataError, match="a: val lacks the class folders joy") as caught:
        load(DataSource(path, "1=calm,2=rage,3=joy"), "public-test")
    advice = str(caught.value).split('"')[1]
    assert advice == "1=calm,2=rage,3=drop"
    assert load(DataSource(path, advice), "public-test").classes == ("calm", "rage")


def test_pictures_of_any_size_and_colour_become_the_networks_input(tmp_path: Path) -> None:
    pictures = {
        f"train/{name}/{n}.png": colour(10 * k + n, 80 + 20 * n, 90)
        for k, name in enumerate(LABELS)
        for n in range(2)
    }
    path = write_folder(tmp_path / "a", {name: png(pixels) for name, pixels in pictures.items()})
    crops = load(path, "train", wanted=RGB)
    assert crops.images.shape == (14, 64, 64, 3)
    # what a Predictor makes of the files themselves
    direct = preprocess_all([pictures[name] for name in crops.names], RGB)
    np.testing.assert_array_equal(preprocess_all(crops.images, RGB), direct)


def test_a_gray_network_gets_gray(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS))
    assert load(path, "train", wanted=InputSpec(48, 48)).images.shape == (21, 48, 48)


def test_without_a_network_pictures_keep_a_size_that_they_share(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS))
    crops = load(path, "train")
    assert crops.images.shape == (21, 100, 100, 3)
    first = cv2.imread(str(path / crops.names[0]))
    np.testing.assert_array_equal(crops.images[0], first)


def test_what_exceeds_the_memory_is_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS))
    whole = load(path, "train")
    monkeypatch.setattr("fer_edge.evaluation.crops.MAX_IN_MEMORY", 1000)
    mapped = load(path, "train")
    assert isinstance(mapped.images, np.memmap)
    np.testing.assert_array_equal(mapped.images, whole.images)
    part = mapped.take(np.arange(0, 21, 2))
    assert isinstance(part.images, np.memmap)
    np.testing.assert_array_equal(part.images, whole.images[::2])


def test_folders_without_halves_are_for_training(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, ("CK+48/",)))
    assert len(load(path, "train")) == 21


def test_val_is_to_select_on_and_test_is_beside_it(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, ("train/", "val/", "test/")))
    counts = {s: len(load(path, s)) for s in ("train", "public-test", "private-test", "test")}
    assert counts == {"train": 21, "public-test": 21, "private-test": 21, "test": 42}


def test_a_half_with_one_class_is_told_without_a_mapping_that_would_be_refused(
    tmp_path: Path,
) -> None:
    path = write_folder(tmp_path / "a", folders(["happy"]))
    with pytest.raises(DataError, match=r"is it complete\? A model has 2 classes at least$"):
        load(path, "train")


@pytest.mark.parametrize(
    "names",
    [
        [f"{half}_{n}" for half in ("train", "test") for n in LABELS],
        [f"{n.title()}Test" for n in LABELS],
    ],
)
def test_folders_that_name_half_and_class_in_one_are_told(names: list[str], tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(names, ("",)))
    with pytest.raises(DataError, match=r"names a half .*; put .* into test/angry"):
        load(path, "train")


def test_a_half_that_is_not_there_is_asked_for_in_words_of_ones_own_data(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, ("train/",)))
    with pytest.raises(DataError, match=r"no pictures of public-test .*; it has train\. To select"):
        load(path, "public-test")


def test_another_folder_is_to_select_on(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, ("train/",)))
    other = write_folder(tmp_path / "b", folders(LABELS, ("",), 2))
    selected = load(DataSource(path, validation=other), "public-test")
    assert len(selected) == 14
    assert not selected.notes


def test_what_is_to_select_on_may_call_its_classes_otherwise(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(range(1, 4), ("train/",)))
    other = write_folder(tmp_path / "b", folders(["joy", "rage", "calm"], ("",)))
    names = "1=happy,2=angry,3=neutral,joy=happy,rage=angry,calm=neutral"
    train, selected = load_halves(DataSource(path, names, validation=other))
    assert train.classes == selected.classes == ("angry", "happy", "neutral")
    assert {n.split("/")[0]: k for n, k in zip(selected.names, selected.labels, strict=True)} == {
        "rage": 0,
        "joy": 1,
        "calm": 2,
    }
    with pytest.raises(DataError, match=r"names 'glad', and .* has no such class"):
        load_halves(DataSource(path, f"{names},glad=happy", validation=other))


def test_emotions_need_no_words_in_a_mapping_of_numbers(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(range(1, 8), ("train/",)))
    other = write_folder(tmp_path / "b", folders(["Sadness", "Fear"], ("",)))
    _, selected = load_halves(DataSource(path, RAF_DB, validation=other))
    assert {LABELS[k] for k in selected.labels} == {"sad", "fear"}
    assert selected.notes == (
        f"{other} has no pictures of angry, disgust, happy, surprise, neutral",
    )


def test_numbers_of_folders_are_not_those_of_a_table_of_fer2013(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(range(7), ("train/",)))
    table = write_file(tmp_path / "fer2013.csv", as_fer2013_csv(made(["PublicTest"])))
    alphabetical = ",".join(f"{n}={name}" for n, name in enumerate(sorted(LABELS)))
    with pytest.raises(DataError, match=r"says 4=neutral, and 4 is sad in .*fer2013\.csv"):
        load_halves(DataSource(path, alphabetical, validation=table))
    same = ",".join(f"{n}={name}" for n, name in enumerate(LABELS))
    assert len(load_halves(DataSource(path, same, validation=table))[1]) == 14


@pytest.mark.parametrize("halves", [("train", "test"), ("FER2013Train", "FER2013Test")])
def test_a_half_of_loose_pictures_is_no_class(halves: tuple[str, ...], tmp_path: Path) -> None:
    files = {f"{half}/{n}.png": png(colour(n)) for half in halves for n in range(3)}
    path = write_folder(tmp_path / "a", files)
    with pytest.raises(DataError, match=r"/\d\.png stands in no class folder; put .* a list file"):
        load(DataSource(path, ",".join(halves)), "train")


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        ([f"{n}_{name}" for n, name in enumerate(LABELS)], "0_angry=angry,1_disgust=disgust,2_f"),
        (["ImagesHappy", "ImagesSad"], "ImagesHappy=happy,ImagesSad=sad"),
    ],
)
def test_emotions_within_names_are_suggested(names: list[str], advice: str, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(names, ("train/",)))
    with pytest.raises(DataError, match=f'--classes "{advice}'):
        load(path, "train")


def test_a_single_unknown_class_is_no_class(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(["images"], ("train/",)))
    with pytest.raises(DataError, match="each in a folder of its own, or give a list file"):
        load(path, "train")


def test_a_share_of_each_class_is_drawn_to_select_on(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, ("train/",), 5))
    source = DataSource(path, validation_share=0.2, seed=3)
    train, selected = load(source, "train"), load(source, "public-test")
    assert np.bincount(selected.labels).tolist() == [1] * 7
    assert np.bincount(train.labels).tolist() == [4] * 7
    assert not set(train.names) & set(selected.names)
    again = load(DataSource(path, validation_share=0.2, seed=4), "public-test")
    assert again.names != selected.names


def test_the_draw_does_not_depend_on_the_container(tmp_path: Path) -> None:
    files = folders(LABELS, ("train/",), 5)
    paths = write_folder(tmp_path / "a", files), write_zip(tmp_path / "a.zip", files)
    drawn = [load(DataSource(path, validation_share=0.4), "public-test") for path in paths]
    assert set(drawn[0].names) == set(drawn[1].names)


def test_no_person_is_in_both_halves(tmp_path: Path) -> None:
    files = {
        f"{name}/S{person:03d}_{n}.png": png(colour(person * 100 + k * 10 + n))
        for person in range(10)
        for k, name in enumerate(LABELS)
        for n in range(2)
    }
    path = write_folder(tmp_path / "a", files)
    source = DataSource(path, validation_share=0.3, subject=r"(S\d+)_")
    train, selected = load(source, "train"), load(source, "public-test")
    people = [{name.split("/")[-1][:4] for name in crops.names} for crops in (train, selected)]
    assert not people[0] & people[1]
    assert len(people[1]) == 3
    assert np.bincount(selected.labels).tolist() == [6] * 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "(P[0-9]+)"}, r"--subject \(P\[0-9\]\+\) does not match"),
        ({"subject": "([0-9])[.]png"}, "3 people are too few|no picture of"),
    ],
)
def test_persons_that_cannot_be_told_apart_are_an_error(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    files = {f"{name}/{k % 3}.png": png(colour(k)) for k, name in enumerate(LABELS)}
    files |= {f"{name}/{k % 3}b{k % 3}.png": png(colour(k + 50)) for k, name in enumerate(LABELS)}
    path = write_folder(tmp_path / "a", files)
    with pytest.raises(DataError, match=message):
        load(DataSource(path, validation_share=0.3, **options), "train")


def test_a_class_with_one_picture_cannot_be_divided(tmp_path: Path) -> None:
    files = {**folders(LABELS, ("train/",)), "train/contempt/1.png": png(colour(999))}
    path = write_folder(tmp_path / "a", files)
    with pytest.raises(DataError, match="a single training picture of contempt"):
        load(DataSource(path, validation_share=0.1), "train")


@pytest.mark.parametrize(
    "options",
    [
        {"validation_share": 1.0},
        {"validation_share": -0.1},
        {"validation_share": float("nan")},
        {"validation_share": 0.1, "validation": Path("x")},
        {"subject": "S"},
        {"subject": "(", "validation_share": 0.1},
        {"limit": 0},
        {"seed": -1},
    ],
)
def test_choices_that_cannot_be_met_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="--"):
        DataSource(Path("a"), **options)


def test_a_limit_takes_pictures_of_every_class(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", folders(LABELS, count=5))
    crops = load(DataSource(path, limit=15), "train")
    assert len(crops) == 15
    assert np.bincount(crops.labels).min() == 2
