"""The report in a real browser: nothing is fetched, nothing overflows, nothing complains."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

import browser
import made_up_results
import pytest

_MISSING = "the extra 'report' is not installed"
for _package in ("jinja2", "matplotlib"):
    pytest.importorskip(_package, reason=_MISSING)
report = pytest.importorskip("fastconv.report")

CHROMIUM = browser.find()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason=f"no browser is installed (looked for {', '.join(browser.NAMES)}); on Debian: "
    "apt-get install chromium",
)

PHONE, DESKTOP = 390, 1200
MEASURE = """
  const seen = {
    width: root.documentElement.clientWidth,
    scroll: root.documentElement.scrollWidth,
    wide: [...root.querySelectorAll("body *")].filter(
      e => !e.closest(".scroll") && !e.closest("svg *") && e.checkVisibility()
        && e.getBoundingClientRect().right > root.documentElement.clientWidth + 1
    ).map(e => e.tagName + "." + e.className),
    boxes: [...root.querySelectorAll(".scroll")].filter(
      e => e.scrollWidth > e.clientWidth + 1
    ).length,
    sections: [...root.querySelectorAll("main > section")].map(
      e => [e.id, e.getBoundingClientRect().height]
    ),
    plots: [...root.querySelectorAll("figure svg")].map(e => {
      const box = e.getBoundingClientRect();
      const texts = [...e.querySelectorAll("text")].filter(t => t.textContent.trim());
      return {
        height: box.height, texts: texts.length,
        least: Math.min(...texts.map(t => parseFloat(page.getComputedStyle(t).fontSize)
          * box.width / e.viewBox.baseVal.width)),
        outside: texts.filter(t => {
          const r = t.getBoundingClientRect();
          return r.left < box.left - 2 || r.right > box.right + 2;
        }).map(t => t.textContent),
        ink: page.getComputedStyle(texts[0]).fill,
      };
    }),
    ids: [...root.querySelectorAll("[id]")].length
      - new Set([...root.querySelectorAll("[id]")].map(e => e.id)).size,
    fetched: page.performance.getEntriesByType("resource").map(e => e.name),
    paper: page.getComputedStyle(root.body).backgroundColor,
    scripts: root.querySelectorAll("script").length,
  };
"""


def _page(folder: Path, *, gpu: bool) -> Path:
    results, page = folder / "made_up.json", folder / "report.html"
    results.write_text(json.dumps(made_up_results.document(gpu=gpu)))
    page.write_text(report.page([results]), encoding="utf-8")
    return page


@pytest.fixture(scope="module", params=[False, True], ids=["cpu", "cpu+gpu"])
def page(request, tmp_path_factory) -> Path:
    return _page(tmp_path_factory.mktemp("page"), gpu=request.param)


@lru_cache(maxsize=8)  # a browser takes seconds to start
def _look(page: Path, width: int, *arguments: str) -> browser.Sight:
    return browser.look(CHROMIUM, page, width, MEASURE, *arguments)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_fits_and_is_quiet(page, width):
    sight = _look(page, width)
    seen = sight.seen
    assert not sight.console
    assert sight.requested == [f"/{page.name}"], "the page has asked for more than itself"
    assert seen["fetched"] == []
    assert seen["scripts"] == 0
    assert seen["width"] == width
    assert seen["scroll"] <= seen["width"], f"wider than the window: {seen['wide'][:5]}"
    assert seen["wide"] == []
    assert [name for name, _ in seen["sections"]] == [
        "machine", "cpu-gpu", "algorithms", "roofline", "scaling", "auto", "all",
    ]
    assert all(height > 40 for _, height in seen["sections"])
    assert seen["ids"] == 0, "ids are unique"
    if width == PHONE:
        assert seen["boxes"] > 0, "wide tables scroll in boxes of their own"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_plots_can_be_read(page, width):
    plots = _look(page, width).seen["plots"]
    assert len(plots) >= 6
    for plot in plots:
        assert plot["height"] > 80
        assert plot["texts"] > 3
        assert plot["least"] >= 9, "text is smaller than 9 pixels"
        assert plot["outside"] == []


def test_it_prints(page):
    """To a PDF of several pages, all tables open but for the list of everything."""
    target = page.with_suffix(".pdf")
    browser.run(CHROMIUM, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri(),
                profile=page.parent)
    text = target.read_bytes()
    assert text.startswith(b"%PDF")
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", text)) <= 40


def test_it_follows_a_dark_screen(page):
    """Text of plots and page turns light, and the paper dark."""
    def lightness(colour: str) -> float:
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    light = _look(page, DESKTOP).seen
    dark = _look(page, DESKTOP, "--blink-settings=preferredColorScheme=0").seen
    assert lightness(light["paper"]) > 200 > 60 > lightness(dark["paper"])
    for bright, dim in zip(light["plots"], dark["plots"], strict=True):
        assert lightness(bright["ink"]) < 100 < lightness(dim["ink"])


def test_the_test_can_fail(tmp_path):
    """A page that is too wide, fetches and complains is seen to be."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><meta charset=utf-8><main><div style="width: 900px">wide</div></main>'
        '<img src="absent.png"><script>console.error("broken")</script>'
    )
    sight = _look(page, PHONE)
    assert sight.seen["scroll"] > sight.seen["width"]
    assert sight.seen["wide"]
    assert any("broken" in line for line in sight.console)
    assert "/absent.png" in sight.requested
