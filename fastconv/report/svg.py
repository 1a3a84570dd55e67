"""A matplotlib figure as a part of an HTML page.

The drawing keeps its text as text, in the page's font; its colours become variables of the
page's style sheet, so that it follows light, dark and print; its ids get a prefix, because ids
are unique in a page; and it carries a title and a description for those who do not see it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 5.0
"""Inches of a figure, 72 units of the drawing each: as wide as a phone, so that text keeps its
size there."""

INK, FAINT, GRID = "#010200", "#010201", "#010202"
SERIES = tuple(f"#0103{i:02x}" for i in range(8))
"""Stand-ins: no figure uses these colours for themselves."""
VARIABLES = {
    INK: "--ink", FAINT: "--faint", GRID: "--grid",
    **{colour: f"--series-{i + 1}" for i, colour in enumerate(SERIES)},
}

STYLE: Any = {  # names of matplotlib's settings, which its newest types list one by one
    "figure.facecolor": "none", "axes.facecolor": "none", "svg.fonttype": "none",
    "text.parse_math": False, "font.size": 10.5,
    "axes.labelsize": 10.5, "axes.titlesize": 11, "xtick.labelsize": 10, "ytick.labelsize": 10,
    "legend.fontsize": 10, "text.color": INK, "axes.labelcolor": INK, "xtick.color": FAINT,
    "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.unicode_minus": True,
    "legend.frameon": False, "lines.linewidth": 1.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Settings in force while a figure is drawn and written; the caller's come back."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the measuring font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def figure(height: float) -> Figure:
    """An empty one of the page's width."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def inline(drawing: Figure, name: str, title: str, description: str) -> str:
    """The ``<svg>`` element. ``name`` is unique in the page."""
    text = io.StringIO()
    mpl.rcParams["svg.hashsalt"] = name  # equal results give equal pages
    canvas: Any = FigureCanvasSVG(drawing)
    canvas.print_svg(
        text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # the page has its own
                parent.remove(child)
    for element in root.iter():
        _to_html(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    for place, (tag, words) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        element.text = words
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _to_html(element: Any, name: str) -> None:
    """Without namespaces, with colours of the page and ids of its own."""
    element.tag = element.tag.partition("}")[2] or element.tag
    attributes = {}
    for key, value in element.attrib.items():
        key = key.partition("}")[2] or key
        if key == "id":
            value = f"{name}-{value}"
        elif key == "href":
            value = value.replace("#", f"#{name}-")
        else:
            value = re.sub(r"url\(#", f"url(#{name}-", value)
        if key == "style":
            value = re.sub(r"#[0-9a-f]{6}", _variable, value)
            value = re.sub(r"font-family:[^;]*;?|(?<=font: )", "", value)
            value = re.sub(r"font: ([^;]*?)([\d.]+px)[^;]*", r"font-size: \2", value)
        attributes[key] = value
    element.attrib.clear()
    element.attrib.update(attributes)


def _variable(colour: re.Match[str]) -> str:
    name = VARIABLES.get(colour.group())
    return f"var({name})" if name else colour.group()
