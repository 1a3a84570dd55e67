"""Headless Chromium for tests of pages: the page is served to it, and it says what it saw."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell",
         "chromium-headless-shell")
PATIENCE = 120

FRAME = """<!doctype html><link rel="icon" href="data:,"><body>
<iframe src="PAGE" style="border:0; width:WIDTHpx; height:800px"></iframe>
<script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentWindow, root = page.document;
  MEASURE
  document.body.innerHTML = "<pre id=seen></pre>";
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""
"""The page in a frame of a phone's width: Chromium's windows have a least width."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a browser found on a page."""

    seen: dict[str, Any]
    console: list[str]
    """Messages of the console."""
    requested: list[str]
    """Every path that was asked for."""


def find() -> str | None:
    """The browser's program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(
    program: str, page: Path, width: int, measure: str, *arguments: str
) -> Sight:
    """Open ``page`` at a width of so many pixels; ``measure`` is a script that makes ``seen`` from
    ``page``, its window, and ``root``, its document."""
    requested: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *arguments: object) -> None:
            requested.append(self.path)

    frame = page.with_name("frame.html")
    text = FRAME.replace("PAGE", page.name).replace("WIDTH", str(width))
    frame.write_text(text.replace("MEASURE", measure), encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page.parent)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        done = run(program, *arguments, "--dump-dom", "--virtual-time-budget=5000",
                   f"http://127.0.0.1:{server.server_port}/{frame.name}", profile=page.parent)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, f"the page did not load: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Sight(json.loads(unescape(found[1])), console,
                 [path for path in requested if path != f"/{frame.name}"])


def run(program: str, *arguments: str, profile: Path) -> subprocess.CompletedProcess[str]:
    """Headless, with a profile of its own."""
    return subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--enable-logging=stderr", "--hide-scrollbars",
         f"--user-data-dir={profile / 'profile'}", *arguments],
        capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=PATIENCE,
    )
