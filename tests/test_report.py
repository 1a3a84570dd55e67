"""The report: what it reads, computes, shows and refuses."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_up_results
import pytest

from fastconv.bench.layers import LAYERS
from fastconv.report import comparisons, reading

_MISSING = "the extra 'report' is not installed"
for _package in ("jinja2", "matplotlib", "typer"):
    pytest.importorskip(_package, reason=_MISSING)
testing = importlib.import_module("typer.testing")
commands = importlib.import_module("fastconv.commands")
report = importlib.import_module("fastconv.report")

FEW = LAYERS[:3]
SECTIONS = ("machine", "cpu-gpu", "algorithms", "roofline", "scaling", "auto", "all")
FOREIGN: dict[str, Any] = {
    "machine_info": {"node": "n", "python_version": "3.12.1", "cpu": {"brand_raw": "Some CPU"}},
    "commit_info": {"id": "unversioned"}, "datetime": "2024-05-01T10:00:00", "version": "4.0.0",
    "benchmarks": [
        {"group": None, "name": "test_sort[1000]", "fullname": "tests/x.py::test_sort[1000]",
         "params": {"n": 1000}, "param": "1000", "extra_info": {},
         "stats": {"min": 1.5e-5, "max": 2e-5, "mean": 1.7e-5, "median": 1.6e-5, "rounds": 12}},
    ],
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, document: object) -> Path:
    path = Path(name)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def page_of(*documents: object) -> str:
    text: str = report.page([write(f"{i}.json", d) for i, d in enumerate(documents)])
    return text


class Elements(HTMLParser):
    """Tags with attributes, and all text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "wbr", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.text += data


def measurement(**changes: Any) -> dict[str, Any]:
    """One benchmark with all fields."""
    info = {"operation": "conv2d", "layer": "a", "case": "c", "batch": 1, "flops": 1e6,
            "bytes": 1e4, "backend": "cython", "algorithm": "direct", "threads": 1,
            "device": "D", "device_kind": "cpu", "auto": "conv2d.direct@cython"}
    seconds = changes.pop("seconds", 1e-3)
    return {"name": "one", "stats": {"min": seconds}, "extra_info": {**info, **changes}}


def results_of(*benchmarks: dict[str, Any]) -> reading.Results:
    return report.read([write("r.json", {"benchmarks": list(benchmarks)})])


# ---------------------------------------------------------------- sections


@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "cpu+gpu"])
def test_every_section_is_there(gpu):
    page = page_of(made_up_results.document(FEW, gpu=gpu))
    found = Elements(page)
    assert not found.open, f"left open: {found.open}"
    assert [a["id"] for tag, a in found.tags if tag == "section"] == list(SECTIONS)
    assert {a["href"] for tag, a in found.tags if tag == "a"} == {f"#{s}" for s in SECTIONS}
    plots = [a for tag, a in found.tags if tag == "svg"]
    # CPU: 2 of algorithms, 1 roofline, 1 of batches, 2 of threads; GPU: 2 duels, 2 + 1 + 1.
    assert len(plots) == (12 if gpu else 6)
    assert all(a["role"] == "img" for a in plots)
    for words in ("im2col", "direct", "FFT", "Winograd", *map(str, FEW), made_up_results.CPU):
        assert words in found.text
    absent = "No GPU took part in these results"
    assert (absent in found.text) is not gpu
    assert ("to the card" in found.text) is gpu
    assert (made_up_results.GPU in found.text) is gpu
    if not gpu:
        assert "python -m fastconv bench --output gpu.json" in found.text


def test_each_plot_has_a_title_and_a_description():
    page = page_of(made_up_results.document(FEW, gpu=True))
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        labels = re.search(r'aria-labelledby="(\S+) (\S+)"', svg)
        assert labels
        title = re.search(rf'<title id="{labels[1]}">([^<]+)</title>', svg)
        words = re.search(rf'<desc id="{labels[2]}">([^<]+)</desc>', svg)
        assert title
        assert words
        assert len(words[1]) > 30
        assert "<text" in svg, "text stays text"
        assert not re.search(r":\s*#[0-9a-f]{6}", svg), "a colour that does not follow the page's"
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="#|url\(#)([^")]+)', page):
        assert used in ids


def test_the_page_needs_nothing_from_elsewhere():
    page = page_of(made_up_results.document(FEW, gpu=True), FOREIGN)
    assert not re.findall(r"(?:https?:)?//[\w.-]+", page)
    tags = Elements(page).tags
    assert not {"script", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_same_results_give_the_same_page():
    document = made_up_results.document(FEW)
    assert page_of(document) == page_of(document)


# ---------------------------------------------------------------- foreign and hostile files


def test_foreign_json_gives_a_table():
    found = Elements(page_of(FOREIGN))
    assert "test_sort[1000]" in found.text
    assert "0.015" in found.text
    assert "Some CPU" in found.text
    assert [a["id"] for tag, a in found.tags if tag == "section"] == list(SECTIONS)


@pytest.mark.parametrize("junk", [None, [], {}, "text", 7, -1, True, 1e999, [1], {"a": 1}],
                         ids=repr)
def test_fields_of_another_type_never_crash(junk):
    whole = made_up_results.document(FEW[:1], gpu=True, threads=(1,), batches=(1,))
    entry = whole["benchmarks"][0]
    keys = [(whole, k) for k in whole if k != "benchmarks"]
    keys += [(entry, k) for k in entry]
    keys += [(entry["extra_info"], k) for k in entry["extra_info"]]
    keys += [(entry["stats"], k) for k in entry["stats"]]
    keys += [(whole["fastconv"], k) for k in whole["fastconv"]]
    keys += [(whole["machine_info"], k) for k in whole["machine_info"]]
    device = whole["fastconv"]["devices"][0]
    keys += [(device, k) for k in device] + [(device["ceilings"][0], k)
                                             for k in device["ceilings"][0]]
    for owner, key in keys:
        kept, owner[key] = owner[key], junk
        results = report.read([write("junk.json", whole)])
        assert len(results.measurements) + len(results.foreign) + len(results.left_out) == len(
            whole["benchmarks"]
        )
        owner[key] = kept
    whole["benchmarks"].append(junk)
    assert len(report.read([write("junk.json", whole)]).left_out) == 1
    for owner, key in (*keys[:6], (entry, "extra_info"), (entry["extra_info"], "flops"),
                       (entry["extra_info"], "batch"), (device, "ceilings")):
        owner[key] = junk
    Elements(report.page([write("junk.json", whole)]))


HOSTILE = (
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "</style><h1>x</h1>",
    "$\\frac{1}$ $x$ \\alpha %s {{ 7 * 7 }} {% if %}", "a\x00b\x1bc\u2028d", "\ud800 half",
    "</title></svg><script>x</script>", "javascript:alert(1)", "&lt;b&gt; &amp;", "x" * 400,
    "\u202emirrored", "漢字 😀 ناص",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_and_not_obeyed(text):
    """The page has the same elements and attributes whatever the strings of a file are."""
    def infect(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: infect(v, k) for k, v in value.items()} | (
                {text: text} if key in ("versions", "config") else {}
            )
        if isinstance(value, list):
            return [infect(v, key) for v in value]
        keep = {"operation", "device_kind", "kind", "datetime", "precision"}
        if not isinstance(value, str) or key in keep or value.endswith("numpy"):
            return value
        return value.replace("@", f"{text}@") + text  # auto names algorithm@backend

    small = partial(made_up_results.document, FEW[:1], gpu=True, threads=(1,), batches=(1,))
    found = Elements(page_of(infect(small()), infect(FOREIGN)))
    assert _shape(found) == _plain_shape()
    if text.isprintable() and len(text) < 100:
        assert text in found.text


def _shape(elements: Elements) -> list[tuple[str, list[str]]]:
    """Tags with the names of their attributes, without places to break a line."""
    return [(tag, sorted(attributes)) for tag, attributes in elements.tags if tag != "wbr"]


@cache
def _plain_shape() -> list[tuple[str, list[str]]]:
    document = made_up_results.document(FEW[:1], gpu=True, threads=(1,), batches=(1,))
    return _shape(Elements(page_of(document, FOREIGN)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"), (b"{", "is no JSON"), (b"\xff\xfe\x00", "it is not UTF-8"),
        (b"[]", 'has no list "benchmarks"'), (b"7", 'has no list "benchmarks"'),
        (b'{"benchmarks": 3}', 'has no list "benchmarks"'), (b"[" * 100_000, "JSON"),
        (b'{"benchmarks": []}', "there is no measurement in r.json"),
        (b'{"benchmarks": [{"name": "n"}]}', "n has no time"),
        (b'{"benchmarks": [{"name": "n", "stats": {"min": NaN}}]}', "n has no time"),
        (b'{"benchmarks": [{"name": "n", "stats": {"min": -1}}]}', "n has no time"),
    ],
    ids=lambda value: value[:40].decode("latin1") if isinstance(value, bytes) else "",
)
def test_broken_files_are_refused_in_a_line(content, words):
    Path("r.json").write_bytes(content)
    result = testing.CliRunner().invoke(commands.app, ["report", "r.json"])
    assert result.exit_code == 2
    assert words in result.output
    assert result.output.startswith("fastconv: ")
    assert result.output.count("\n") == 1
    assert not Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.json"], "absent.json does not exist"), (["."], ". cannot be read"),
        (["good.json", "-o", "page.pdf"], "--output must end in .html"),
        (["good.json", "-o", "nowhere/page.html"], "the folder nowhere does not exist"),
        (["good.json", "-o", "taken.html"], "taken.html cannot be written"),
        ([], "Missing argument"),
    ],
)
def test_requests_that_cannot_be_met(arguments, words):
    write("good.json", FOREIGN)
    Path("taken.html").mkdir()
    result = testing.CliRunner().invoke(commands.app, ["report", *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_the_command_writes_the_page():
    write("good.json", FOREIGN)
    result = testing.CliRunner().invoke(commands.app, ["report", "good.json", "-o", "page.html"])
    assert result.exit_code == 0, result.output
    assert result.output == "Wrote page.html\n"
    assert Path("page.html").read_text("utf-8").startswith("<!doctype html>")


def process(program: str, folder: Path | None = None) -> None:
    environment = {**os.environ, **({"PYTHONPATH": str(folder)} if folder else {})}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_the_report_stands_alone():
    """Its folder by itself, under another name, makes the page."""
    shutil.copytree(Path(report.__file__).parent, "elsewhere/apart")
    write("good.json", made_up_results.document(FEW[:1], batches=(1,)))
    process(
        "import sys, apart, pathlib\n"
        "assert apart.page([pathlib.Path('good.json')]).startswith('<!doctype html>')\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'fastconv']",
        Path("elsewhere"),
    )


def test_other_commands_do_not_load_what_draws():
    process(
        "import sys, fastconv.commands\n"
        "assert not {'matplotlib', 'jinja2', 'numba'} & set(sys.modules)"
    )


# ---------------------------------------------------------------- figures


def test_of_what_was_measured_twice_the_least_counts():
    results = results_of(measurement(seconds=2e-3), measurement(seconds=1e-3),
                         measurement(seconds=3e-3))
    assert [m.seconds for m in results.measurements] == [1e-3]
    assert results.repeated == 2


def test_the_loss_of_a_choice():
    results = results_of(
        measurement(seconds=3e-3, auto="conv2d.direct@cython"),
        measurement(seconds=2e-3, algorithm="winograd4", auto="conv2d.direct@cython"),
        measurement(seconds=1e-3, layer="b", auto="conv2d.direct@cython"),
        measurement(seconds=1e-3, layer="c", auto="conv2d.fft@numpy"),
    )
    (table,) = comparisons.choice_tables(results.measurements)
    assert [c.loss for c in table.choices] == [pytest.approx(0.5), 0, None]
    assert table.mean_loss == pytest.approx(1.5**0.5 - 1)
    assert table.close == 0.5
    assert table.worst is table.choices[0]


def test_tiles_of_winograd_share_a_column():
    results = results_of(
        measurement(algorithm="winograd2", seconds=2e-3),
        measurement(algorithm="winograd4", seconds=1e-3), measurement(algorithm="fft"),
        measurement(algorithm="planar"), measurement(algorithm="im2col"), measurement(),
    )
    (table,) = comparisons.algorithm_tables(results.measurements)
    assert table.families == ["im2col", "direct", "FFT", "Winograd", "planar"]
    assert table.rows[0].best["Winograd"].algorithm == "winograd4"


def test_processor_against_card():
    card = {"device": "G", "device_kind": "gpu", "backend": "cuda"}
    results = results_of(
        measurement(seconds=8e-3), measurement(seconds=4e-3, threads=2),
        measurement(seconds=1e-3, to_device_seconds=2e-3, from_device_seconds=1e-3, **card),
        measurement(seconds=1e-3, layer="only there", **card),
    )
    (table,) = comparisons.duel_tables(results.measurements)
    (duel,) = table.duels
    assert (duel.cpu.threads, duel.ratio, duel.ratio_with_transfers) == (2, 4, 1)
    assert (table.mean, table.mean_with_transfers) == (pytest.approx(4), pytest.approx(1))


def test_scaling_is_against_the_smallest():
    results = results_of(
        measurement(seconds=1e-3, batch=2, case="2"),
        measurement(seconds=4e-3, batch=16, case="16"),
        measurement(seconds=6e-4, batch=2, case="2", threads=2),
        measurement(seconds=2e-3, batch=16, case="16", threads=2),
    )
    (batches,) = comparisons.batch_scaling(results.measurements)
    assert batches.fixed == "2 threads"
    assert batches.lines[0].points == {2: 1, 16: pytest.approx(8 * 6e-4 / 2e-3)}
    few, many = comparisons.thread_scaling(results.measurements)
    assert (few.mean[2], many.mean[2]) == (pytest.approx(1e-3 / 6e-4), pytest.approx(2))


def test_another_precision_is_another_layer():
    results = results_of(measurement(), measurement(precision="fast", algorithm="winograd6"))
    (table,) = comparisons.algorithm_tables(results.measurements)
    assert [row.layer for row in table.rows] == ["a", "a, fast"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0123456, "12.3"), (12.3456, "12,346"), (1.234e-7, "0.00012"), (None, "–"), (1, "1,000")],
)
def test_milliseconds_in_words(seconds, words):
    assert importlib.import_module("fastconv.report.rendering").milliseconds(seconds) == words
