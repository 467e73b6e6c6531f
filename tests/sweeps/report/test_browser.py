"""The page in a real browser: nothing asked for, sorted by mouse and keys, read on any screen."""

import re
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
WIDTHS = (1280, 380)
SCHEMES = ("light", "dark")

# Every text and mark with its colour and what lies below it, as the browser computed them.
SEEN = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const paper = parse(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
  const visible = (e) => e.checkVisibility() && e.getClientRects().length > 0;
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !visible(parent)) continue;
    const style = getComputedStyle(parent), inSvg = parent.closest("svg") !== null;
    found.push({ kind: "text", what: texts.currentNode.textContent.trim().slice(0, 40),
                 colour: parse(inSvg ? style.fill : style.color), paper });
  }
  const grid = getComputedStyle(document.documentElement).getPropertyValue("--grid").trim();
  for (const mark of document.querySelectorAll("figure svg path, figure svg use")) {
    if (mark.closest("defs") || !visible(mark)) continue;
    const own = mark.getAttribute("style") ?? "";
    if (/var\\(--(grid|paper)\\)|opacity/.test(own)) continue;  // lines behind, bands, shades
    const style = getComputedStyle(mark);
    const colour = style.stroke !== "none" ? style.stroke : style.fill;
    if (colour === "none") continue;
    found.push({ kind: "mark", what: own, colour: parse(colour), paper });
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, browser, file, width=1280, scheme="light", **options):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()


def luminance(colour):
    parts = [part / 255 for part in colour[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_asked_for_and_nothing_complained_of(browser, page, hostile_page, width, scheme):
    for file in (page, hostile_page):
        with Opened(browser, file, width, scheme) as opened:
            assert opened.complaints == []
            assert opened.requests == [file.as_uri()]
            assert opened.page.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_screen(browser, page, hostile_page, width):
    for file in (page, hostile_page):
        with Opened(browser, file, width) as opened:
            opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert opened.page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_text_and_marks_stand_out(browser, page, width, scheme):
    with Opened(browser, page, width, scheme) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        seen = opened.page.evaluate(SEEN)
    assert sum(one["kind"] == "text" for one in seen) > 200
    assert sum(one["kind"] == "mark" for one in seen) > 100
    needed = {"text": 4.5, "mark": 3.0}
    faint = [o for o in seen if contrast(o["colour"], o["paper"]) < needed[o["kind"]]]
    assert faint == []


def order(opened):
    return opened.page.locator("table.settings tbody th").all_inner_texts()


def test_the_table_is_sorted_by_mouse_and_by_keys(browser, page):
    with Opened(browser, page) as opened:
        first = order(opened)
        assert first[0] == "baseline"
        button = opened.page.get_by_role("button", name="difference")
        head = opened.page.locator("table.settings thead th", has_text="difference")
        cells = opened.page.locator("table.settings td[data-column='difference']")

        button.click()
        assert head.get_attribute("aria-sort") == "descending"
        numbers = [float(x) for x in cells.all_inner_texts() if x != "–"]
        assert numbers == sorted(numbers, reverse=True)
        assert cells.all_inner_texts()[-1] == "–"  # what has no number goes last

        button.focus()
        opened.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert [float(x) for x in cells.all_inner_texts() if x != "–"] == sorted(numbers)
        assert cells.all_inner_texts()[-1] == "–"

        opened.page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") is None
        assert order(opened) == first


def test_the_theme_can_be_chosen(browser, page):
    def paper(opened):
        return opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    with Opened(browser, page, scheme="dark") as opened:
        dark, button = paper(opened), opened.page.locator("#theme")
        button.click()
        assert button.inner_text() == "Theme: light"
        assert paper(opened) == "rgb(255, 255, 255)" != dark
        button.click()
        assert (button.inner_text(), paper(opened)) == ("Theme: dark", dark)


def test_the_page_is_whole_without_scripts(browser, page):
    with Opened(browser, page, java_script_enabled=False) as opened:
        assert len(order(opened)) == 8
        assert opened.page.locator("table.settings button").count() == 0
        details = opened.page.locator("figure details").first
        assert not details.locator("table").is_visible()
        details.locator("summary").click()
        assert details.locator("table").is_visible()


def test_text_in_plots_is_text_and_large_enough_on_a_phone(browser, page):
    with Opened(browser, page, 380) as opened:
        sizes = opened.page.evaluate("""
            () => [...document.querySelectorAll("#effects svg text, #responses svg text")].map(
              (t) => [t.textContent, t.getBoundingClientRect().height])
        """)
    assert "optimizer.lr" in [text for text, _ in sizes]
    assert min(height for text, height in sizes if text.strip()) >= 9


def test_a_printed_page_is_light_and_has_all_parts(browser, page):
    with Opened(browser, page, scheme="dark") as opened:
        printed = opened.page.pdf(format="A4")
        opened.page.emulate_media(media="print", color_scheme="dark")
        paper = opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert paper == "rgb(255, 255, 255)"
        assert not opened.page.locator("#theme").is_visible()
        assert opened.page.locator("figure svg").count() == 9
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 12
