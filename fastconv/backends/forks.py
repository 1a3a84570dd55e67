"""Whether this process was forked from one that had imported fastconv.

A fork copies the records of OpenMP's threads but not the threads: a child that starts a
parallel loop on the copied record waits forever. A wing that is imported only in the child asks
here, since the parent's loops may have been another wing's.
"""

from __future__ import annotations

import os

_forked = False


def forked() -> bool:
    """True in a child, and in its children."""
    return _forked


def _in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
