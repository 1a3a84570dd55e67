"""``python -m fastconv``."""

from .cli import main

main()
