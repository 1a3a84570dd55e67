"""The door to the command line: it opens without the packages that the commands need."""

from __future__ import annotations

import sys

REPORT = ("jinja2", "matplotlib", "rich", "skimage", "typer")
"""What the extra ``report`` installs."""


def main() -> None:
    """Run the command that the arguments name (``fastconv.commands``), or end with a line that
    says what to install, where one of the packages of the extra ``report`` is missing."""
    try:
        from .commands import app

        app()
    except ModuleNotFoundError as missing:
        if missing.name not in REPORT:
            raise
        sys.exit(f'fastconv: {missing.name} is not installed; pip install "fastconv[report]"')
