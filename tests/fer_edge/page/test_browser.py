"""The page in Chromium, with the engine in the browser."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import FaceAnalyzer, Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Image = npt.NDArray[np.uint8]

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}

# shows whoever is in each of some frames, a second apart
LIST_PEOPLE = """async (frames) => {
  const {People} = await import(new URL('view/people.js', location.href));
  const people = new People(() => {});
  people.reset(['happy']);
  frames.forEach((ids, time) => people.update(ids.map((id) => (
    {id, box: [0, 0, 9, 9], held: 0, probabilities: [1], seen: time})), time, 0.4));
  people.draw(frames.length - 1, 0.4, undefined);
}"""


def show_photo(page: Page, path: Path) -> None:
    """Open a photo and wait for its faces."""
    page.locator("#file").set_input_files(path)
    page.get_by_text(f"in {path.name}.").wait_for()


def start_camera(page: Page) -> None:
    """Start the camera and wait for a face."""
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("button", name="Person 1").wait_for()


def test_a_photo_gets_the_answer_of_the_library(
    open_page: OpenPage, photo_file: Path, portrait: Image
) -> None:
    page = open_page()
    show_photo(page, photo_file)

    with Predictor(backend="onnxruntime", precision="int8") as predictor:
        [face] = FaceAnalyzer(predictor).analyze(portrait)
    assert page.locator("#verdict").inner_text().startswith(f"looks {face.prediction.label}")
    shown = page.locator("#bars dd:not([aria-hidden])").all_inner_texts()
    expected = face.prediction.probabilities
    given = [float(text.rstrip("%\u00a0")) / 100 for text in shown]
    np.testing.assert_allclose(given, expected, atol=0.011)


def test_from_the_camera_to_boxes_bars_and_a_timeline(open_page: OpenPage) -> None:
    page = open_page()
    start_camera(page)

    page.locator("#people", has_text="looks happy (apparent)").wait_for()
    for line in ("frames per second", "camera to drawn", "classify", "int8", "WebAssembly"):
        page.locator("#readings", has_text=line).wait_for()
    painted = page.evaluate(
        "() => { const it = document.getElementById('overlay'); return it.getContext('2d')"
        ".getImageData(0, 0, it.width, it.height).data.some((value) => value); }"
    )
    assert painted

    page.get_by_role("button", name="Stop camera").click()
    page.get_by_text("Start the camera, or open a photo").wait_for()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_nothing_is_asked_of_another_host(open_page: OpenPage, photo_file: Path) -> None:
    page = open_page()
    start_camera(page)
    show_photo(page, photo_file)

    hosts = {urlsplit(address).hostname for address in page.requests}  # type: ignore[attr-defined]
    assert hosts <= {"127.0.0.1", None}  # None: blobs of the page itself


def test_nothing_starts_before_the_user_presses_a_button(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_text("Ready.").wait_for()
    loaded = [urlsplit(address).path for address in page.requests]  # type: ignore[attr-defined]
    assert not [path for path in loaded if path.endswith((".onnx", ".wasm"))]
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_the_notice_comes_once_and_has_to_be_ticked(open_page: OpenPage) -> None:
    page = open_page(accept=False)
    notice = page.get_by_role("dialog")
    notice.wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Continue").click()
    assert notice.is_visible()

    page.get_by_label("The people in view know").check()
    page.get_by_role("button", name="Continue").click()
    assert not notice.is_visible()
    page.reload()
    page.get_by_text("Ready.").wait_for()
    assert not notice.is_visible()
    page.get_by_role("button", name="What this page does").click()
    assert notice.is_visible()


def test_a_refused_camera_is_told_with_what_to_do(open_page: OpenPage) -> None:
    page = open_page(camera=False)
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("heading", name="The camera was refused").wait_for()
    assert "address bar" in page.locator("#card-text").inner_text()


def test_a_photo_without_a_face_says_what_was_searched(open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((900, 1600, 3), 180, np.uint8))
    page = open_page()
    page.locator("#file").set_input_files(path)
    page.get_by_text("No face was found. It was searched at 640 \u00d7 360").wait_for()


def test_every_face_of_a_group_is_listed(
    open_page: OpenPage, portrait: Image, tmp_path: Path
) -> None:
    face = cv2.resize(portrait[20:220, 110:310], (200, 200))
    path = tmp_path / "group.png"
    cv2.imwrite(str(path), np.tile(face, (3, 4, 1)))
    page = open_page()
    show_photo(page, path)
    assert page.locator("#status").inner_text().startswith("12 faces")
    page.get_by_role("button", name="Person 7").click()


@pytest.mark.parametrize("name", ["damaged.png", "notes.txt"])
def test_what_is_no_picture_is_told(open_page: OpenPage, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no picture")
    page = open_page()
    page.locator("#file").set_input_files(path)
    page.get_by_role("heading", name="This is no picture").wait_for()


def test_a_damaged_model_is_refused_by_its_hash(
    open_page: OpenPage,
    site: Path,
    photo_file: Path,
    tmp_path: Path,
    serve_folder: Callable[[Path], int],
) -> None:
    copy = tmp_path / "page"
    shutil.copytree(site, copy)
    [yunet] = (copy / "models").glob("*yunet*.onnx")
    yunet.write_bytes(yunet.read_bytes() + b"x")
    page = open_page(f"http://127.0.0.1:{serve_folder(copy)}/")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_role("heading", name="That did not work").wait_for()
    assert "its hash is not the one" in page.locator("#card-text").inner_text()


def test_the_person_who_is_chosen_in_a_photo_is_the_one_whose_bars_are_shown(
    open_page: OpenPage, portrait: Image, tmp_path: Path
) -> None:
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), np.hstack([portrait, portrait[:, ::-1]]))
    page = open_page()
    show_photo(page, path)

    page.locator("#verdict", has_text="Person 1").wait_for()
    page.get_by_role("button", name="Person 2").click()
    page.locator("#verdict", has_text="Person 2").wait_for()

    page.locator("#file").set_input_files(Path(__file__))
    page.get_by_text("This is no picture that the browser reads").first.wait_for()
    assert not page.locator("#speed").is_visible()


def test_without_a_secure_context_the_camera_is_explained_and_photos_work(
    open_page: OpenPage, site_address: str, photo_file: Path
) -> None:
    page = open_page(site_address.replace("127.0.0.1", "page.test"), camera=False)
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("heading", name="The camera needs a secure address").wait_for()
    show_photo(page, photo_file)


def test_without_webassembly_the_page_says_so(open_page: OpenPage, photo_file: Path) -> None:
    page = open_page(script="delete globalThis.WebAssembly")
    page.locator("#file").set_input_files(photo_file)
    page.get_by_text("This browser has no WebAssembly").wait_for()


def test_a_page_opened_from_a_file_says_how_to_serve_it(chromium: Any, site: Path) -> None:
    page = chromium.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_text("This page has to come from a web server").wait_for()
    assert "python3 -m http.server" in page.locator("#card-text").inner_text()
    page.close()


def test_the_page_works_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page(accept=False)
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Space")  # the tick has the focus
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Ready.").wait_for()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "camera":
            break
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Person 1").wait_for()
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"open", "model", "side", "device", "mirror", "least", "about"} <= reached


@pytest.mark.parametrize(
    ("state", "scheme"),
    [
        ("notice", "light"),
        ("camera", "dark"),
        pytest.param("notice", "dark", marks=pytest.mark.long),
        pytest.param("start", "light", marks=pytest.mark.long),
        pytest.param("start", "dark", marks=pytest.mark.long),
        pytest.param("camera", "light", marks=pytest.mark.long),
        pytest.param("refused", "light", marks=pytest.mark.long),
        pytest.param("refused", "dark", marks=pytest.mark.long),
    ],
)
def test_axe_finds_nothing_to_object_to(open_page: OpenPage, scheme: str, state: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    page = open_page(
        accept=state != "notice",
        camera=state == "camera",
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,  # for axe itself
    )
    page.get_by_text("Ready.").wait_for()
    if state == "camera":
        start_camera(page)
    elif state == "refused":
        page.get_by_role("button", name="Start camera").click()
        page.get_by_role("heading", name="The camera was refused").wait_for()
    results = axe.Axe().run(page)
    assert results.response["violations"] == [], results.generate_report()


def test_a_phone_shows_all_without_scrolling_sideways(open_page: OpenPage) -> None:
    page = open_page(**PHONE)
    start_camera(page)
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    for control in ("#camera", "#open", "#model", "#side"):
        box = page.locator(control).bounding_box()
        assert box is not None
        assert box["height"] >= 44  # what a finger hits


def test_coordinates_stay_unmirrored_while_the_picture_is_mirrored(open_page: OpenPage) -> None:
    page = open_page()
    start_camera(page)
    assert page.locator("#stage.mirrored").count() == 1
    page.get_by_label("Mirror the camera's picture").uncheck()
    assert page.locator("#stage.mirrored").count() == 0


def test_below_the_threshold_the_page_says_unsure(open_page: OpenPage, photo_file: Path) -> None:
    page = open_page()
    show_photo(page, photo_file)
    page.locator("#least").fill("90")
    assert "happy" in page.locator("#verdict").inner_text()
    # the whole face turned away leaves no expression that is likely
    page.evaluate("document.getElementById('least').max = 100")
    page.locator("#least").fill("100")
    page.get_by_text("unsure").first.wait_for()


def test_another_model_takes_over_what_is_shown(open_page: OpenPage, photo_file: Path) -> None:
    page = open_page()
    show_photo(page, photo_file)
    page.locator("#model").select_option(label="default, fp32")
    page.locator("#readings", has_text="fp32").wait_for()
    assert page.locator("#verdict").inner_text().startswith("looks happy")


def test_an_own_model_brings_its_labels(
    open_page: OpenPage,
    tiny_artifact: Path,
    photo_file: Path,
    tmp_path: Path,
    serve_folder: Callable[[Path], int],
) -> None:
    from fer_edge.page.site import write_site

    config = write_site(tmp_path / "page", model=tiny_artifact)
    page = open_page(f"http://127.0.0.1:{serve_folder(tmp_path / 'page')}/")
    show_photo(page, photo_file)
    assert tuple(page.locator("#bars dt").all_inner_texts()) == config["models"][0]["labels"]


def test_a_video_is_followed_and_starts_anew_when_it_is_set_back(
    open_page: OpenPage, portrait: Image, tmp_path: Path
) -> None:
    path = tmp_path / "talk.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 25, (640, 480))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write VP8")
    for _ in range(75):
        writer.write(cv2.resize(portrait, (640, 480)))
    writer.release()
    page = open_page()
    page.locator("#file").set_input_files(path)
    page.get_by_role("button", name="Person 1").wait_for()
    page.evaluate("document.getElementById('video').loop = true")
    page.evaluate("document.getElementById('video').currentTime = 0")
    page.get_by_text("frames per second").wait_for()
    assert "Playing talk.webm." in page.locator("#status").inner_text()
    page.evaluate("document.getElementById('video').loop = false")
    page.get_by_text("The video is over.").wait_for()


def test_those_in_view_stand_above_those_who_left(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate(LIST_PEOPLE, [[1], [2]])
    here, gone = (page.get_by_role("button", name=f"Person {n}").bounding_box() for n in (2, 1))
    assert here
    assert gone
    assert here["y"] < gone["y"]


def test_a_crowd_is_listed_from_its_largest_face_on(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate(LIST_PEOPLE, [[*range(1, 71)]])
    assert page.locator("#people li").count() == 60
    assert page.locator("#people li").first.inner_text().startswith("Person 1 ")


def test_labels_of_neighbours_do_not_cover_each_other(open_page: OpenPage) -> None:
    page = open_page()
    labels = page.evaluate("""async () => {
      const {Overlay} = await import(new URL('view/overlay.js', location.href));
      const canvas = document.getElementById('overlay'), context = canvas.getContext('2d');
      const labels = [];
      let last;
      context.roundRect = (...box) => { last = box; };
      context.fill = () => labels.push(last.slice(0, 4));
      const tracks = [1, 2, 3, 4].map((id) => (
        {id, box: [90 * id, 100, 60, 60], held: 0, probabilities: [1]}));
      const frame = {width: 520, height: 400};
      new Overlay(canvas).draw(tracks, frame, ['happy'], {mirrored: false, least: 0});
      return labels;
    }""")
    assert len(labels) == 4
    for (left, _, wide, _), (right, *_) in itertools.pairwise(sorted(labels)):
        assert left + wide <= right


def test_a_hidden_page_lets_go_of_the_camera(open_page: OpenPage) -> None:
    page = open_page()
    start_camera(page)
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    assert page.evaluate("document.getElementById('video').srcObject") is None
    page.evaluate(hide, False)
    page.get_by_role("button", name="Stop camera").wait_for()
