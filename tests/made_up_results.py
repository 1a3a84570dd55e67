"""Benchmark JSON for tests of the report. EVERY FIGURE IS MADE UP: nothing here was measured,
on no processor and no card, and nothing here may be shown as a result.

The times follow simple formulas of a layer's operations and bytes, so that the plots have the
shapes that real ones have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

from fastconv.bench.layers import LAYERS, Layer
from fastconv.bench.records import extra_info, statistics_of
from fastconv.registry import Kernel, rows

CPU, GPU = "Made-up processor (test data)", "Made-up card (test data)"
PEAKS = {"cpu": (1e11, 2e10), "gpu": (6e13, 4e12)}
"""Operations and bytes a second; of the processor with one thread."""
GAIN = {"im2col": 0.6, "direct": 0.9, "fft": 0.25, "winograd2": 1.6, "winograd4": 2.5,
        "planar": 0.8}


def document(
    layers: Sequence[Layer] = LAYERS, *, gpu: bool = False, threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = (1, 16),
) -> dict[str, Any]:
    """What ``fastconv bench`` could have written."""
    sized = [replace(layer, N=n) for layer in layers if layer.N == 1 for n in batches]
    found = [entry for layer in sized for n in threads for entry in _processor(layer, n)]
    devices = [_device(CPU, "cpu", threads)]
    if gpu:
        found += [entry for layer in sized for entry in _card(layer)]
        devices.append(_device(GPU, "gpu", [1]))
    return {
        "machine_info": {"system": "Linux", "release": "0", "machine": "x86_64",
                         "python_implementation": "CPython", "python_version": "3.13.0",
                         "cpu": {"brand_raw": CPU, "count": 2}},
        "commit_info": {"id": "0" * 40, "dirty": False}, "datetime": "2000-01-01T00:00:00+00:00",
        "version": "5.1.0", "benchmarks": found,
        "fastconv": {"command": "made up by tests/made_up_results.py",
                     "versions": {"fastconv": "0.0", "numpy": "0.0"},
                     "config": {"instruction set": "none"}, "devices": devices},
    }


def _device(name: str, kind: str, threads: Sequence[int]) -> dict[str, Any]:
    flops, bandwidth = PEAKS[kind]
    return {"name": name, "kind": kind, "cores": 2, "ceilings": [
        {"threads": n if kind == "cpu" else None, "flops": flops * n,
         "bandwidth": bandwidth * n**0.5, "how": "made up"}
        for n in threads
    ]}


def _processor(layer: Layer, threads: int) -> Iterator[dict[str, Any]]:
    spec = layer.spec()
    able = [row for row in rows("conv2d")
            if row.backend in ("cython", "numpy") and row.algorithm in GAIN
            and row.why_not(spec.kernel_spec) is None]
    times = {row: _seconds(layer, row, "cpu", threads) for row in able}
    auto = _nearly_fastest(times, layer)
    for row, seconds in times.items():
        yield _entry(layer, row, seconds, threads, CPU, "cpu", auto)


def _card(layer: Layer) -> Iterator[dict[str, Any]]:
    spec = layer.spec()
    able = [replace(row, backend="cuda") for row in rows("conv2d")
            if (row.backend, row.algorithm) in
            {("cython", "im2col"), ("cython", "direct"), ("numpy", "fft"), ("cython", "winograd4")}
            and row.why_not(spec.kernel_spec) is None]
    times = {row: 4e-6 + _seconds(layer, row, "gpu", 1) for row in able}
    auto = _nearly_fastest(times, layer)
    there = 1e-5 + 4 * layer.N * layer.IC * layer.IH * layer.IW / 12e9
    back = 1e-5 + 4 * layer.N * layer.OC * spec.OH * spec.OW / 12e9
    for row, seconds in times.items():
        yield _entry(layer, row, seconds, 1, GPU, "gpu", auto, there, back)


def _seconds(layer: Layer, row: Kernel, kind: str, threads: int) -> float:
    spec = layer.spec()
    flops, bandwidth = PEAKS[kind]
    wave = 0.8 + 0.4 * (crc32(f"{layer.name}{row.name}".encode()) % 100) / 100
    busy = min(1.0, spec.flops / 5e8) if kind == "gpu" else 1.0
    compute = spec.flops / (flops * GAIN[row.algorithm] * (0.1 + 0.9 * busy) * threads**0.93)
    return wave * max(compute, spec.bytes / (bandwidth * threads**0.5))


def _nearly_fastest(times: dict[Kernel, float], layer: Layer) -> str:
    """The fastest, but on some layers the second."""
    order = sorted(times, key=lambda row: times[row])
    return order[crc32(layer.name.encode()) % 4 == 0 and len(order) > 1].name


def _entry(
    layer: Layer, row: Kernel, seconds: float, threads: int, device: str, kind: str, auto: str,
    there: float | None = None, back: float | None = None,
) -> dict[str, Any]:
    name = f"{layer.name}-b{layer.N}-{row.name}-t{threads}"
    return {
        "group": layer.name, "name": name, "fullname": name, "params": None, "param": None,
        "stats": statistics_of([seconds, seconds * 1.02, seconds * 1.05], 1), "options": {},
        "extra_info": extra_info(
            layer.spec(), row, layer=layer.name, batch=layer.N, threads=threads, device=device,
            kind=kind, auto=auto, to_device=there, from_device=back,
        ),
    }
