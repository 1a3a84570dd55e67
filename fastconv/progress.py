"""A progress bar for those who wait at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[], object]


@contextmanager
def bar(title: str, total: int, wanted: bool) -> Iterator[Advance]:
    """Yields what is to be called after each of ``total`` steps. Nothing is shown where stderr is
    no terminal or the package ``rich`` is not there."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        wanted = False
    if not wanted:
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield lambda: shown.advance(task)
