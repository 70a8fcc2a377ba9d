"""The viewer's page in a real browser without a window: it draws, switches layers and answers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from windows import box_cells, window

pytest.importorskip("viser", reason="needs pip install '.[viewer]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")

from ws3d_ros.instances.query import Answer
from ws3d_ros.language.vocabulary import Vocabulary
from ws3d_ros.viewing.browser import find_browser, flags
from ws3d_ros.viewing.shown import Reply, Shown, shown
from ws3d_ros.viewing.viewer import Viewer

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
WORDS = Vocabulary.of(["sofa", "mug"])
RED, GREEN, BLUE = 0, 1, 2


def blocks() -> Shown:
    """A large sofa and a small mug, apart, both blue for the camera."""
    cells = torch.cat([box_cells((0, 0, 0), (20, 20, 10)), box_cells((30, 5, 0), (38, 13, 8))])
    label = torch.tensor([1] * 4000 + [2] * 512, dtype=torch.int16)
    color = torch.tensor([30.0, 30.0, 220.0]).expand(len(cells), 3).contiguous()
    return shown(window(cells, label=label, instance=label.int(), color=color), WORDS)


def answers(text: str, _viewer_m: np.ndarray | None) -> Reply:
    """Knows the mug only."""
    if text == "nonsense":
        raise ValueError("say what to look for")
    if text != "mug":
        return Reply(f'"{text}": not found, best score 0.01', (), (f"not understood: {text}",), *nothing())
    scene = blocks()
    keys = scene.keys[scene.label == 2]
    found = Answer(2, "mug", 0.9, ("looks like mug 0.9",), scene.things[1])
    return Reply('"mug": 1 found', (found,), (), keys, np.full(len(keys), 0.9, np.float32))


def nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    viewer = Viewer("127.0.0.1", 8451, "blocks")
    viewer.show(blocks())
    viewer.take_questions(answers)
    yield viewer
    viewer.stop()


@pytest.fixture(scope="module")
def page(viewer: Viewer) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=flags(), headless=True)
        page = browser.new_page(viewport={"width": 1500, "height": 800})
        page.goto(viewer.url)
        page.get_by_text("Save picture").wait_for(timeout=60_000)
        yield page
        browser.close()


def until(condition: Callable[[], bool], page: Any, timeout_s: float = 40.0) -> None:
    """Waits, while the page goes on, until something is so."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout_s, "did not happen"
        page.wait_for_timeout(300)


def seen(page: Any) -> np.ndarray:
    """What the window shows now."""
    return scene(page.screenshot())


def scene(content: bytes) -> np.ndarray:
    """(H, W, 3) of a picture of the window: between a warning about software rendering and the panel."""
    image = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return np.asarray(image[:, 320:1150, ::-1].astype(int))


def share(image: np.ndarray, channel: int) -> float:
    """Of the pixels, those in which one channel is much stronger than the others."""
    others = np.delete(image, channel, axis=2).max(axis=2)
    return float((image[..., channel] > others + 60).mean())


def choose_layer(page: Any, name: str) -> None:
    page.get_by_label("Colours").first.click()
    page.get_by_role("option", name=name).click()


def ask(page: Any, words: str) -> None:
    box = page.locator("form input").first
    box.fill(words)
    box.press("Enter")


def test_the_page_shows_the_map_and_its_legend(page: Any) -> None:
    until(lambda: float((seen(page).min(axis=2) < 240).mean()) > 0.05, page)
    for name in ("sofa", "mug"):
        assert page.get_by_text(name, exact=True).first.is_visible()


def test_a_layer_can_be_chosen(page: Any) -> None:
    choose_layer(page, "camera")
    until(lambda: share(seen(page), BLUE) > 0.05, page)
    choose_layer(page, "confidence")
    until(lambda: share(seen(page), BLUE) < 0.01, page)
    choose_layer(page, "camera")
    until(lambda: share(seen(page), BLUE) > 0.05, page)


def test_words_light_what_they_mean_and_say_what_was_not_found(page: Any) -> None:
    assert share(seen(page), RED) < 0.001
    ask(page, "mug")
    page.get_by_text('"mug": 1 found').wait_for(timeout=40_000)
    until(lambda: share(seen(page), RED) > 0.003, page)
    ask(page, "unicorn")
    page.get_by_text("not understood: unicorn").wait_for(timeout=40_000)
    assert page.get_by_text('"unicorn": not found').is_visible()
    until(lambda: share(seen(page), RED) < 0.001, page)
    ask(page, "nonsense")
    page.get_by_text("say what to look for").wait_for(timeout=40_000)


def test_points_can_be_switched_off(page: Any) -> None:
    ask(page, "")
    until(lambda: share(seen(page), BLUE) > 0.05, page)
    page.get_by_label("Points", exact=True).first.click(force=True)
    until(lambda: share(seen(page), BLUE) < 0.01, page)
    page.get_by_label("Points", exact=True).first.click(force=True)
    until(lambda: share(seen(page), BLUE) > 0.05, page)


def test_a_map_shown_anew_does_not_flicker(page: Any, viewer: Viewer) -> None:
    """As `ws3d view live` does with each cloud: every picture that the page makes meanwhile has the map."""
    frames: list[np.ndarray] = []
    session = page.context.new_cdp_session(page)

    def on_frame(frame: dict[str, Any]) -> None:
        frames.append(scene(base64.b64decode(frame["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    until(lambda: share(seen(page), BLUE) > 0.05, page)
    whole = share(seen(page), BLUE)
    session.on("Page.screencastFrame", on_frame)
    session.send("Page.startScreencast", {"format": "jpeg"})
    for _ in range(8):
        viewer.show(blocks())
        page.wait_for_timeout(400)
    session.send("Page.stopScreencast")
    assert len(frames) > 4
    assert min(share(frame, BLUE) for frame in frames) > 0.95 * whole


def test_a_picture_can_be_saved(page: Any) -> None:
    with page.expect_download(timeout=60_000) as download:
        page.get_by_text("Save picture").click()
    image = cv2.imread(str(download.value.path()))
    assert image is not None
    assert share(image[..., ::-1].astype(int), BLUE) > 0.02
