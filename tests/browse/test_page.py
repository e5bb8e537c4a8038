"""The page of `dsc serve` in a real browser: what it shows, and what it asks for."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from dsc._browse.content import Content
from dsc._browse.pictures import Image, Pictures
from dsc._browse.server import BrowseServer, open_server
from dsc._jobs.archive.compress import compress
from dsc._storage.read.archive import Archive
from tests.browse.archives import HOSTILE, RGB, Squares
from tests.chromium import Tab, chromium, find_chromium

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: install one, or name it by DSC_CHROMIUM"
    ),
    pytest.mark.slow,
]
MANY = 10_000
WIDTH, HEIGHT = 1200, 800
PICTURE = re.compile(r"/picture/[0-9a-f]{16}/(\d+)/(\w+)/")


@pytest.fixture(scope="module")
def new_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    with chromium(str(CHROMIUM), tmp_path_factory.mktemp("profile")) as opener:
        yield opener


def served(archive: Path) -> Iterator[BrowseServer]:
    content = Content(Archive.open(str(archive)))
    content.look_for_originals()
    with open_server(content, "127.0.0.1", 0, True) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowseServer]:
    out = tmp_path_factory.mktemp("page") / "squares"
    codec = "rgb=av1,depth=png,colour=plain,caption=plain,meta=plain,sound=plain,page=plain"
    compress(Squares(40), out, codec=codec, quality="90", pack=8, shard_size=16)
    yield from served(out)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowseServer]:
    out = tmp_path_factory.mktemp("page") / "many"
    small = Squares(MANY, ("rgb", "colour"))
    compress(small, out, codec="rgb=png,colour=plain", effort="fast", pack=64, shard_size=2000)
    yield from served(out)


@pytest.fixture
def tab(new_tab: Callable[[], Tab]) -> Iterator[Tab]:
    found = new_tab()
    found.size(WIDTH, HEIGHT)
    yield found
    assert not found.errors
    assert found.run("window.hacked") is None
    found.send("Page.close")


SEEN = """[...document.querySelectorAll('.tile:not([hidden])')].filter(tile => {
  const box = tile.getBoundingClientRect();
  const room = document.querySelector('#scroller').getBoundingClientRect();
  return box.bottom > room.top && box.top < room.bottom;
})"""
READY = f"{SEEN}.every(tile => tile.querySelector('img.ready'))"


def seen(tab: Tab) -> list[int]:
    """Wait until all pictures are there, and return the numbers of the samples that are seen."""
    tab.until(f"{SEEN}.length && {READY}")
    found = tab.run(f"{SEEN}.map(tile => tile.querySelector('.number').textContent)")
    return sorted(int(text.strip("#").replace(",", "")) for text in found)


def asked(tab: Tab) -> set[int]:
    """The samples of which the page has asked for pictures."""
    return {int(match[1]) for url in tab.requests if (match := PICTURE.search(url))}


def pixels(tab: Tab, path: Path | None = None) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = imagecodecs.png_decode(tab.picture(path))
    return found[..., :3]


def test_ten_thousand_samples_scroll_and_only_what_is_seen_is_asked_for(
    many: BrowseServer, tab: Tab
) -> None:
    tab.open(many.url)
    expected = set(seen(tab))
    assert min(expected) == 0
    assert len(expected) < 100
    assert asked(tab) == expected
    height = tab.run("document.querySelector('#scroller').scrollHeight")
    for share in (0.5, 0.9, 1.0, 0.25):
        tab.run(f"document.querySelector('#scroller').scrollTop = {height * share}; 0")
        tab.rest(0.15)
        expected |= set(seen(tab))
        assert asked(tab) == expected
    assert MANY - 1 in expected
    # a fling over everything asks for next to nothing on its way
    tab.run("""new Promise(done => {
        const scroller = document.querySelector('#scroller');
        let frames = 0;
        const fling = () => {
            scroller.scrollTop += 4000;
            frames += 1;
            frames < 40 ? requestAnimationFrame(fling) : done();
        };
        fling();
    })""")
    expected |= set(seen(tab))
    assert len(asked(tab) - expected) <= len(expected)
    assert len(asked(tab)) < 600
    assert tab.run("document.querySelectorAll('.tile').length") < 200
    listed = [url for url in tab.requests if "/api/samples" in url]
    assert len(listed) < 30


def test_keys_move_through_all_samples(many: BrowseServer, tab: Tab) -> None:
    tab.open(many.url)
    seen(tab)
    tab.press("End")
    tab.until("document.querySelector('.tile.chosen .number')?.textContent === '#9,999'")
    assert MANY - 1 in seen(tab)
    tab.press("Home")
    tab.press("ArrowRight")
    tab.until("document.querySelector('.tile.chosen .number')?.textContent === '#1'")
    tab.press("ArrowDown")
    columns = tab.run("Number(document.querySelector('.tile.chosen').dataset.place) - 1")
    assert columns > 1
    tab.press("Enter")
    tab.until(
        "document.querySelector('#detail').open && document.querySelector('.glass img.sharp')"
    )
    assert (
        tab.run("document.querySelector('#detail-key').textContent") == f"square_{columns + 1:05d}"
    )
    tab.press("ArrowRight")
    tab.until(f"document.querySelector('#detail-key').textContent === 'square_{columns + 2:05d}'")
    tab.press("Escape")
    tab.until("!document.querySelector('#detail').open")
    assert "at=" in tab.run("location.hash")


def test_a_screenshot_shows_the_colours_of_the_samples(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    seen(tab)
    tab.rest(0.3)
    boxes = tab.run("""[...document.querySelectorAll('.tile:not([hidden])')].map(tile => {
        const cell = tile.querySelector('.cell').getBoundingClientRect();
        return [Number(tile.dataset.place), cell.left, cell.top, cell.width, cell.height];
    })""")
    light = pixels(tab)
    for place, left, top, width, height in boxes:
        x, y = round(left + width * 0.06), round(top + height * 0.1)
        if y < HEIGHT:
            off = np.abs(light[y, x].astype(int) - RGB[place % 4]).max()
            assert off < 50, (place, light[y, x])
    tab.size(WIDTH, HEIGHT, dark=True)
    tab.rest(0.3)
    dark = pixels(tab)
    assert light[5, 5].min() > 200
    assert dark[5, 5].max() < 60
    for _, left, top, _, _ in boxes[:4]:  # the pictures are the same
        x, y = round(left + 10), round(top + 10)
        np.testing.assert_array_equal(light[y, x], dark[y, x])


def test_what_a_browser_decodes_is_what_dsc_decodes(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    path = f"/picture/{few.content.version}/6/rgb/decoded/whole"
    found = tab.run(f"""fetch('{path}').then(answer => answer.blob()).then(createImageBitmap)
        .then(image => {{
            const {{width, height}} = image;
            const canvas = new OffscreenCanvas(width, height).getContext('2d');
            canvas.drawImage(image, 0, 0);
            return [width, height, ...canvas.getImageData(0, 0, width, height).data];
        }})""")
    shown = np.array(found[2:], int).reshape(found[1], found[0], 4)[..., :3]
    decoded = few.content.pictures.array(6, "rgb")
    assert decoded is not None
    assert np.abs(shown - decoded).max() <= 2  # rounding of YCbCr to RGB


def test_a_browser_that_cannot_decode_asks_for_what_was_decoded(
    few: BrowseServer, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = Image("image/avif", b"of a format that this browser does not know")
    monkeypatch.setattr(Pictures, "_undecoded", lambda *_: unknown)
    with contextmanager(served)(Path(few.content.archive.root.url)) as server:
        tab.open(server.url)
        expected = seen(tab)
        drawn = {
            int(match[1])
            for url in tab.requests
            if url.endswith("/drawn") and (match := PICTURE.search(url))
        }
        assert drawn == set(expected)


def test_a_sample_is_shown_task_by_task(few: BrowseServer, tab: Tab) -> None:
    tab.open(f"{few.url}#sample=1")
    tab.until("document.querySelectorAll('.panel').length === 2")
    tab.until("[...document.querySelectorAll('.glass img')].every(one => one.naturalWidth === 24)")
    text = tab.run("document.querySelector('#facts').innerText")
    for part in (HOSTILE, "green", str(2**70 + 1), "scene_1/square 00001", "audio/wav", "download"):
        assert part in text
    assert tab.run("document.querySelectorAll('#facts img, #facts script').length") == 0
    assert tab.run("document.querySelector('#facts audio').src").endswith("/1/sound")
    # the pixel under the pointer is told in every picture
    box = tab.run("(b => [b.left, b.top, b.width, b.height])"
                  "(document.querySelectorAll('.glass')[1].getBoundingClientRect())")  # fmt: skip
    tab.mouse("mouseMoved", box[0] + box[2] / 2, box[1] + box[3] / 2)
    tab.until("[...document.querySelectorAll('.foot')].every(foot => foot.querySelector('b'))")
    assert " m" in tab.run("document.querySelectorAll('.foot')[1].textContent")
    # the wheel zooms all pictures
    tab.mouse("mouseWheel", box[0] + 80, box[1] + 80, deltaX=0, deltaY=-600)
    tab.until("parseInt(document.querySelector('#zoom').textContent) > 300")
    tab.press("0")
    tab.until("document.querySelector('#zoom').textContent === '100 %'")
    tab.press("ArrowRight")  # which lacks depth
    tab.until("document.querySelector('#detail-key').textContent === 'square_00002'")
    assert "does not have it" in tab.run("document.querySelectorAll('.panel')[1].innerText")
    assert tab.run("document.querySelector('[data-mode=error]').disabled")


def test_originals_and_errors_are_set_beside(tmp_path: Path, tab: Tab) -> None:
    codec = "rgb=jpeg,depth=png,normal=webp,segment_semantic=png"
    compress("taskonomy", tmp_path / "a", sample=3, size=48, codec=codec, quality="20")
    settled = ("document.querySelectorAll('.panel').length === {} && [...document"
               ".querySelectorAll('.glass')].every(one => !one.matches('.waiting'))")  # fmt: skip
    with contextmanager(served)(tmp_path / "a") as server:
        tab.open(f"{server.url}#sample=1")
        tab.until(settled.format(4))
        tab.press("3")
        tab.until(settled.format(4))
        tab.until("document.querySelector('.foot').textContent.startsWith('PSNR')")
        titles = tab.run("[...document.querySelectorAll('.head')].map(one => one.innerText)")
        assert all("error" in title for title in titles)
        shown = tab.run("[...document.querySelectorAll('.glass img')].map(one => one.src)")
        assert all("/error/whole" in source for source in shown)
        tab.press("4")
        tab.until(settled.format(12))
        tab.press("ArrowRight")  # the next sample is shown alike
        tab.until("document.querySelector('#detail-key').textContent === 'point_2_view_0'")
        tab.until(settled.format(12))
        tab.press(" ")
        tab.until(settled.format(4))
        shown = tab.run("[...document.querySelectorAll('.glass img')].map(one => one.src)")
        assert all("/2/" in source and "/original/whole" in source for source in shown)


def test_groups_splits_and_searches_choose_samples(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    seen(tab)
    choose = ("(box => {{ box.value = '{}'; box.dispatchEvent(new Event('change')); }})"
              "(document.querySelector('#{}'))")  # fmt: skip
    tab.run(choose.format("colour", "by"))
    tab.until("document.querySelectorAll('#group option').length === 5")
    tab.run(choose.format("2", "group"))
    tab.until("document.querySelector('#subtitle').textContent.startsWith('10 of 40 samples')")
    assert seen(tab) == list(range(2, 40, 4))
    tab.run(choose.format("val", "split"))
    tab.until("document.querySelector('#subtitle').textContent.startsWith('3 of 40 samples')")
    assert seen(tab) == [30, 34, 38]
    tab.press("/")
    for letter in "00005":
        tab.press(letter)
    tab.press("Enter")
    tab.until("document.querySelector('#detail-key').textContent === 'square_00005'")
    assert "40 samples" in tab.run("document.querySelector('#subtitle').textContent")


def test_a_condition_filters_the_grid(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    seen(tab)
    enter = ("(box => {{ box.value = {}; box.form.requestSubmit(); }})"
             "(document.querySelector('#filter-text'))")  # fmt: skip
    tab.run(enter.format("\"colour == 'green' and index < 20\""))
    tab.until("document.querySelector('#subtitle').textContent.startsWith('5 of 40 samples')")
    assert seen(tab) == [1, 5, 9, 13, 17]
    assert "where=colour" in tab.run("location.hash")
    tab.run(enter.format("'nonsense =='"))
    tab.until("document.querySelector('#filter-text.wrong')")
    assert tab.run("document.querySelector('#notice').textContent")
    tab.errors.clear()  # a request that is refused is an error in the browser's log
    tab.until("document.querySelector('#subtitle').textContent.startsWith('5 of 40 samples')")
    tab.run(enter.format("''"))
    tab.until("document.querySelector('#subtitle').textContent.startsWith('40 samples')")
    tab.open("about:blank")
    tab.open(f"{few.url}#where=index%3D%3D7")
    tab.until("document.querySelector('#subtitle').textContent.startsWith('1 of 40 samples')")
    assert seen(tab) == [7]


def test_more_samples_than_a_browser_can_scroll_through_are_reached(
    many: BrowseServer, tab: Tab
) -> None:
    tab.open(many.url)
    seen(tab)
    tab.run("""import('/grid.js').then(found => {
        found.Grid.tallest = 30000;
        document.querySelector('[data-size=l]').click();
    })""")
    tab.until("document.querySelector('#scroller').scrollHeight <= 30000")
    scroller = "document.querySelector('#scroller')"
    shown = [seen(tab)]
    assert shown[0][0] == 0
    tab.run(f"{scroller}.scrollTop = 300; 0")  # near: as far as the wheel says
    tab.rest(0.2)
    shown.append(seen(tab))
    assert 0 < shown[1][-1] < 30
    for share, about in ((0.5, 5000), (1.0, 9999), (0.25, 2500), (0.0, 0)):
        tab.run(f"{scroller}.scrollTop = {share} * ({scroller}.scrollHeight - innerHeight); 0")
        tab.run(f"{scroller}.scrollTop += {1 if share == 1 else 0} * 9999; 0")
        tab.rest(0.2)
        found = seen(tab)
        assert min(abs(one - about) for one in found) < 200, (share, found)
    for key, number in (("End", 9999), ("Home", 0)):
        tab.press(key)
        tab.rest(0.2)
        assert number in seen(tab)
    tab.run(f"{scroller}.focus(); 0")
    tab.press("End")
    for _ in range(3):
        tab.press("ArrowUp")
    tab.rest(0.2)
    assert tab.run("Number(document.querySelector('.tile.chosen').dataset.place)") in seen(tab)


def test_chips_choose_what_tiles_show_without_jumps(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    tab.run("""window.shifts = 0;
        const add = one => window.shifts += one.value;
        new PerformanceObserver(list => list.getEntries().forEach(add))
            .observe({type: 'layout-shift', buffered: true}); 0""")
    seen(tab)
    assert tab.run("window.shifts") < 0.05
    for name in ("depth", "meta"):
        tab.run(
            "[...document.querySelectorAll('.chip')]"
            f".find(chip => chip.firstChild.data === '{name}').click()"
        )
    tab.until("document.querySelectorAll('.tile:not([hidden]) .cell.none').length > 0")
    tab.until(
        f"{SEEN}.every(tile => tile.querySelector('img.ready') && tile.innerText.includes('tags'))"
    )
    why = tab.run("document.querySelector('.cell.none').dataset.why")
    assert why == "no depth"
    assert tab.run("document.querySelectorAll('.tile script, .tile p img').length") == 0
    tab.errors.clear()  # a picture that is not there is an error in the browser's log


def test_a_narrow_window_has_everything(few: BrowseServer, tab: Tab) -> None:
    tab.size(420, 800)
    tab.open(f"{few.url}#sample=1")
    tab.until("document.querySelector('.glass img')?.naturalWidth === 24")
    wide = "[...document.querySelectorAll('{}')].every(one => {})"
    inside = "one.getBoundingClientRect().right <= 420"
    assert tab.run(wide.format("#detail .panel, #detail button, .fact", inside))
    assert '"tags": [' in tab.run("document.querySelector('#facts pre').textContent")
    tab.press("Escape")
    seen(tab)
    assert tab.run(wide.format(".tile, #bar > *, .chip", inside))


def test_bytes_are_told_by_task(few: BrowseServer, tab: Tab) -> None:
    tab.open(few.url)
    seen(tab)
    tab.press("i")
    tab.until("document.querySelectorAll('.histogram svg').length === 7")
    text = tab.run("document.querySelector('#overview').innerText")
    for part in ("rgb", "image · av1", "caption", "median", "8 missing"):
        assert part in text
    tab.press("Escape")
    tab.press("?")
    tab.until("document.querySelector('#help').open")
