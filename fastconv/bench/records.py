"""The JSON of pytest-benchmark, and what fastconv adds to it.

``extra_info`` of each benchmark says what ran (:func:`extra_info`); the key ``fastconv`` at the
top says on what (:func:`environment`). pytest-benchmark ignores both, so ``pytest-benchmark
compare`` reads these files, too; ``benchmarks/conftest.py`` adds the same to its own.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..environment import show_config
from ..registry import Kernel
from ..spec import Spec
from . import ceilings
from .devices import Device, processor_name
from .run import Measured

VERSION = "5.1.0"
"""Of pytest-benchmark, whose form of JSON this is."""
PACKAGES = (
    "fastconv", "numpy", "scipy", "numba", "numba-cuda", "cython", "cupy", "torch", "onnxruntime",
    "openvino", "opencv-python-headless", "opencv-python",
)
"""Whose versions a figure depends on, peers included."""


def extra_info(
    spec: Spec, row: Kernel, *, layer: str, batch: int, threads: int, device: str, kind: str,
    auto: str, to_device: float | None = None, from_device: float | None = None,
) -> dict[str, Any]:
    """What a benchmark's figures are about. ``kind`` is "cpu" or "gpu", ``auto`` the row that
    fastconv would choose by itself; the transfers are seconds, apart from the benchmark's."""
    return {
        "operation": row.op, "layer": layer, "batch": batch, "dtype": spec.kernel_spec.dtype,
        "precision": getattr(spec, "precision", "default"),
        "case": str(spec), "flops": spec.flops, "bytes": spec.bytes,
        "backend": row.backend, "algorithm": row.algorithm, "threads": threads,
        "device": device, "device_kind": kind,
        "auto": auto, "chosen_by_auto": row.name == auto,
        "to_device_seconds": to_device, "from_device_seconds": from_device,
    }


def document(results: Iterable[Measured], added: dict[str, Any]) -> dict[str, Any]:
    """Everything that is written; ``added`` comes from :func:`environment`."""
    return {
        "machine_info": machine(), "commit_info": commit(Path(__file__).parent),
        "benchmarks": [_benchmark(result) for result in results],
        "datetime": _now(), "version": VERSION, "fastconv": added,
    }


def environment(devices: Iterable[Device], threads: Sequence[int], command: str) -> dict[str, Any]:
    """Versions, settings, and what each device can do at most; takes some seconds to measure."""
    return {
        "command": command, "versions": versions(), "config": show_config().items,
        "load_average": load_average(),
        "devices": [
            {
                "name": device.name, "kind": device.kind, "cores": cores(),
                "ceilings": [
                    asdict(found)
                    for number in (threads if device.kind == "cpu" else (1,))
                    if (found := ceilings.of(device, number))
                ],
            }
            for device in devices
        ],
    }


def versions() -> dict[str, str]:
    """The installed packages that take part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The fields that pytest-benchmark has."""
    return {
        "node": platform.node(), "processor": platform.processor(),
        "machine": platform.machine(), "system": platform.system(),
        "release": platform.release(),
        "python_compiler": platform.python_compiler(),
        "python_implementation": platform.python_implementation(),
        "python_implementation_version": platform.python_version(),
        "python_version": platform.python_version(),
        "python_build": list(platform.python_build()),
        "cpu": {"brand_raw": processor_name(), "count": cores(), "arch": platform.machine()},
    }


def load_average() -> float | None:
    """Of the last minute, before anything is timed: how busy others keep the machine."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (
        os.cpu_count() or 1
    )


def commit(folder: Path) -> dict[str, Any]:
    """The commit of the source tree that ``folder`` is part of, if it is one."""
    try:
        told = _git(folder, "log", "-1", "--format=%H%n%cI%n%aI").splitlines()
        return {
            "id": told[0], "time": told[1], "author_time": told[2],
            "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
            "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"), "project": "fastconv",
        }
    except (OSError, subprocess.SubprocessError, IndexError):
        return {"id": "unversioned", "time": None, "author_time": None, "dirty": False,
                "branch": "(unknown)", "project": "fastconv"}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10,
        check=True,
    ).stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _benchmark(result: Measured) -> dict[str, Any]:
    case, row = result.case, result.row
    layer = case.layer
    where = "gpu" if case.device.kind == "gpu" else f"t{case.threads}"
    name = f"{layer.name}-b{layer.N}-{row.name}-{where}"
    return {
        "group": f"{layer.name}, batch {layer.N}, {where}", "name": name,
        "fullname": f"fastconv bench::{name}",
        "params": {"layer": layer.name, "row": row.name, "batch": layer.N,
                   "threads": case.threads},
        "param": name,
        "extra_info": extra_info(
            layer.spec(precision=case.precision), row, layer=layer.name, batch=layer.N,
            threads=case.threads, device=case.device.name, kind=case.device.kind,
            auto=result.auto, to_device=result.to_device, from_device=result.from_device,
        ),
        "options": {"disable_gc": True, "timer": "perf_counter", "min_rounds": 1,
                    "max_time": None, "min_time": None, "warmup": True},
        "stats": statistics_of(result.samples, result.iterations),
    }


def statistics_of(samples: Sequence[float], iterations: int) -> dict[str, Any]:
    """The figures that pytest-benchmark takes from its samples."""
    ordered = sorted(samples)
    mean = statistics.fmean(ordered)
    deviation = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    q1, median, q3 = (
        statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1
        else ordered * 3
    )
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    outside = sum(not low <= s <= high for s in ordered)
    far = sum(abs(s - mean) > deviation for s in ordered)
    return {
        "min": ordered[0], "max": ordered[-1], "mean": mean, "stddev": deviation,
        "rounds": len(ordered), "median": median, "iqr": q3 - q1, "q1": q1, "q3": q3,
        "iqr_outliers": outside, "stddev_outliers": far, "outliers": f"{far};{outside}",
        "ld15iqr": next(s for s in ordered if s >= low),
        "hd15iqr": next(s for s in reversed(ordered) if s <= high),
        "ops": 1 / mean if mean else math.inf, "total": math.fsum(ordered),
        "iterations": iterations,
    }
