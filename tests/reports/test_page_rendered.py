"""The report in a real browser: what is rendered, on a phone and on a desk, light and dark."""

import io
import shutil

import numpy as np
import pytest
import report_samples as samples
from PIL import Image

from sat_tf.reports import page as report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium or Chrome on the path; `apt-get install chromium` has one"
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE, SMALL_PHONE, DESK = (390, 844), (360, 640), (1280, 900)

# Everything that is read: each text with its element, its lines' box and the colours around it.
TEXTS = """() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect(), cell = element.closest("th, td, dd, dt, p, h1, h2");
    const outer = cell ? cell.getBoundingClientRect() : box;
    const levels = [parse(style.color), ground(element)].map(luminance).sort((a, b) => b - a);
    found.push({text: node.data.trim(), size: parseFloat(style.fontSize),
      contrast: (levels[0] + 0.05) / (levels[1] + 0.05),
      clipped: box.left < outer.left - 1 || box.right > outer.right + 1 ||
               box.top < outer.top - 2 || box.bottom > outer.bottom + 2,
      bottom: box.bottom, right: box.right});
  }
  return found;
}"""

# Ends when what was asked of the page before has been drawn.
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens the page with everything on it on a phone and on a desk, which has another viewport.

    Yields (show, complaints): show(size, scheme) returns the page as it is seen then, and
    complaints are what the browsers wrote to their consoles, and asked for.
    """
    from playwright.sync_api import sync_playwright

    file = tmp_path_factory.mktemp("report") / "report.html"
    report.write(file, **samples.everything())
    complaints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        pages = {
            is_phone: _open(browser, file.as_uri(), complaints, is_mobile=is_phone)
            for is_phone in (True, False)
        }

        def show(size, scheme="light"):
            page = pages[size != DESK]
            page.set_viewport_size(dict(zip(("width", "height"), size)))
            page.emulate_media(color_scheme=scheme)
            page.evaluate("window.scrollTo(0, 0)")
            page.evaluate(FRAMES)  # decoding fails while a scheme's pictures take the others' place
            page.wait_for_function("[...document.images].every(image => image.complete)")
            page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
            return page

        yield show, complaints
        browser.close()


def _open(browser, address, complaints, **options):
    page = browser.new_context(offline=True, **options).new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            complaints.append(request.url)
            if not request.url.startswith(("data:", address))
            else None
        ),
    )
    page.goto(address)
    return page


def set_details(page, is_open):
    page.evaluate(
        "open => document.querySelectorAll('details').forEach(one => one.open = open)", is_open
    )


def pixels(target):
    return np.asarray(Image.open(io.BytesIO(target.screenshot())).convert("RGB"))


def number_of_colours(picture):
    return len(np.unique(np.int32(picture) @ [65536, 256, 1]))


@pytest.mark.parametrize("size", [PHONE, SMALL_PHONE, DESK])
def test_the_page_fits_the_width_and_only_tables_scroll(opened, size):
    page = opened[0](size)
    set_details(page, is_open=True)
    assert page.evaluate("innerWidth") == size[0]  # it is the device's, by the meta
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    outside = page.evaluate("""[...document.querySelectorAll('body *')].filter(one =>
        one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll'))
        .map(one => one.outerHTML.slice(0, 80))""")
    assert outside == []
    boxes = page.evaluate("""[...document.querySelectorAll('.scroll')].filter(
        box => box.scrollWidth > box.clientWidth + 1).map(
        box => [getComputedStyle(box).overflowX, box.tabIndex])""")
    assert all(box == ["auto", 0] for box in boxes)  # reached by touch and by keyboard
    assert bool(boxes) == (size != DESK)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK])
def test_every_text_can_be_read(opened, size, scheme):
    page = opened[0](size, scheme)
    set_details(page, is_open=True)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 150 and any(samples.HOSTILE in one["text"] for one in texts)
    assert [one for one in texts if one["size"] < 12] == []
    assert [one for one in texts if one["contrast"] < 4.5] == []
    assert [one for one in texts if one["clipped"]] == []


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_headlines_are_on_the_first_screen(opened, size):
    page = opened[0](size)
    first = {
        one["text"]
        for one in page.evaluate(TEXTS)
        if one["bottom"] <= size[1] and one["right"] <= size[0]
    }
    assert {
        "98.89 %",
        "81.67 %",
        "81.94 %",
        "Worst case",
        "Clean accuracy",
        "Warnings: these numbers may be too high",
    } <= first
    assert any("Linf epsilon 0.2 (51/255)" in text for text in first)


@pytest.mark.parametrize("scheme, ground", [("light", (255, 255, 255)), ("dark", (22, 27, 34))])
def test_pictures_are_drawn_in_the_scheme(opened, scheme, ground):
    page = opened[0](DESK, scheme)
    assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True] * 6
    first_screen = pixels(page)
    assert number_of_colours(first_screen) > 100 and first_screen.std() > 10
    for chart in page.query_selector_all("figure img"):
        picture = pixels(chart)
        assert number_of_colours(picture) > 50
        assert (picture == ground).all(-1).mean() > 0.5  # the rest are lines and letters
        assert (picture != ground).any(-1).mean() > 0.02
    line = np.int16((9, 105, 218) if scheme == "light" else (88, 166, 255))
    curve = pixels(page.query_selector("figure img"))
    assert (np.abs(curve - line).max(-1) < 9).sum() > 50


def test_details_open_on_a_click(opened):
    page = opened[0](PHONE)
    set_details(page, is_open=False)
    setting = page.get_by_role("rowheader", name="num_steps")
    assert not setting.is_visible()
    page.locator("summary", has_text="attack").click()
    assert setting.is_visible()


def test_nothing_was_asked_for_and_nothing_complained_of(opened):
    show, complaints = opened
    for size in (PHONE, DESK):
        loaded = show(size).evaluate(
            "performance.getEntriesByType('resource').map(one => one.name)"
        )
        assert [name for name in loaded if not name.startswith("data:")] == []
    assert complaints == []
