"""``python -m fastconv bench``: layers timed on every backend, written as JSON.

``layers.py`` and ``models.py`` say what is timed, ``selection.py`` reads what was asked for,
``cases.py`` lists the rows that can serve it, ``run.py`` times them on the devices of
``devices.py``, ``ceilings.py`` measures what a device can do at most, and ``records.py`` writes
what pytest-benchmark would write, with the fields that ``fastconv.report`` reads.
"""
