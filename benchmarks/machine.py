"""What a figure was measured on, and whether the machine was quiet."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from fastconv.bench.devices import processor_name

BUSY_SHARE = 0.05
BUSY_LOAD = 0.5


def describe() -> dict[str, Any]:
    """The processor, the system and the interpreter."""
    return {
        "cpu": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def busy() -> str | None:
    """Why figures taken now would be doubtful, or None: other work is using the cores."""
    before = _cpu_ticks()
    time.sleep(0.3)
    after = _cpu_ticks()
    if before and after and after[1] > before[1]:
        share = (after[0] - before[0]) / (after[1] - before[1])
        if share > BUSY_SHARE:
            return f"other work uses {share:.0%} of the processor"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY_LOAD:
        return f"the load average is {load:.1f}"
    return None


class Others:
    """What share of the processor other processes used between ``with`` and its end."""

    share: float | None = None

    def __enter__(self) -> Others:
        self._ticks, self._own = _cpu_ticks(), _own_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        after, own = _cpu_ticks(), _own_seconds() - self._own
        if self._ticks and after and after[1] > self._ticks[1]:
            busy, total = after[0] - self._ticks[0], after[1] - self._ticks[1]
            self.share = max(0.0, (busy - own * os.sysconf("SC_CLK_TCK")) / total)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system


def load_average() -> float | None:
    """The load average of the last minute, where the system has one."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _cpu_ticks() -> tuple[int, int] | None:
    """(busy, all) clock ticks of every core since the start, from Linux."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    ticks = [int(field) for field in stat.read_text(encoding="utf-8").split("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
