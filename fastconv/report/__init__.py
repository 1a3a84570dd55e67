"""One page from benchmark results: it stands alone, reads JSON and asks for no network.

``reading.py`` takes the JSON apart, ``comparisons.py`` computes what is shown, ``figures.py``
draws it, ``svg.py`` makes the drawings part of the page, ``page.html`` and ``page.css`` are the
page. Nothing here imports the rest of fastconv: a report can be made where it was not measured.
"""

from .reading import ReportError, read
from .rendering import page

__all__ = ["ReportError", "page", "read"]
