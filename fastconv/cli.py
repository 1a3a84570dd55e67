"""The door to the command line: it opens without the packages that the commands need."""

from __future__ import annotations

import sys

REPORT = ("jinja2", "matplotlib", "rich", "skimage", "typer")
"""What the extra ``report`` installs."""


def main() -> None:
    """Run a command, or say what to install first."""
    try:
        from .commands import app

        app()
    except ModuleNotFoundError as missing:
        if missing.name not in REPORT:
            raise
        sys.exit(f'fastconv: {missing.name} is not installed; pip install "fastconv[report]"')
