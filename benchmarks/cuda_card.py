"""``python -m benchmarks.cuda_card``: all that a real GPU must tell, in one run below ten minutes.

First correctness: every CUDA row on geometries that cross its borders, in each type and layout,
against NumPy in float64; a row whose error exceeds what it states ends the run. Then timing by
CUDA events on random data, several sets of inputs in turn so that the cache does not answer: the
layers of ``layers.json`` at batch 32 beside PyTorch's cuDNN (``benchmark=True``) of the same
precision (float32 with TF32 off, TF32, bfloat16) with the errors of both against float64, ReLU and
pooling beside a copy on the device, and the host's part of a small call. Prints tables and writes
a JSON for the report. Needs PyTorch with CUDA, and CuPy for the row that computes with it. What
time or absent packages do not allow is listed as left out.

``--simulate`` rehearses it all in numba's simulator on tiny shapes, with a plain clock and no peer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
CACHE_BYTES = 128 << 20
"""What the sets of inputs exceed together: more than the second-level cache of an H100 or H200."""
MOST_SETS = 8
LARGE = (11, 31)
"""Sides of kernels for which an FFT is worth it; no network of the table has them at stride 1."""
SAMPLES = 7
SAMPLE_SECONDS = 0.01
DTYPES = ("float32", "float64", "float16", "bfloat16")
TOLERANCE = {"float32": 4e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 1.6e-2}
"""Of the rms error, relative to the result's rms: a direct sum, rounded once to its type."""
PEERS = {"tf32": "cudnn_tf32", "bf16": "cudnn_bf16", "tensor": "cudnn_bf16"}
"""cuDNN in the precision of a row; float32 with TF32 off for all others."""
TIMED = {"float32": None, "bfloat16": ("tensor",)}
"""Types of the arrays of a layer, and the rows that are timed with them: None for all."""


@dataclass
class Results:
    """What goes into the JSON."""

    machine: dict[str, str]
    command: str
    simulated: bool
    correctness: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    memory_bound: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- the two places


class Card:
    """A real GPU, by PyTorch: arrays are tensors."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        torch.backends.cudnn.benchmark = True
        self.tf32(False)

    def tf32(self, on: bool) -> None:
        """Whether cuDNN may round float32 to TF32."""
        self.torch.backends.cudnn.allow_tf32 = on
        self.torch.backends.cuda.matmul.allow_tf32 = on

    def put(self, a: np.ndarray[Any, Any]) -> Any:
        """A host array on the GPU."""
        if a.dtype.name == "bfloat16":
            bits = self.torch.from_numpy(a.view(np.int16)).cuda()
            return bits.view(self.torch.bfloat16)
        return self.torch.from_numpy(np.ascontiguousarray(a)).cuda()

    def get(self, a: Any) -> np.ndarray[Any, Any]:
        """An array of the GPU as float64 on the host."""
        found: np.ndarray[Any, Any] = a.double().cpu().numpy()
        return found

    def random(self, shape: tuple[int, ...]) -> Any:
        """Normally distributed float32."""
        return self.torch.randn(shape, device="cuda")

    def cast(self, a: Any, dtype: str) -> Any:
        """The same numbers in another type."""
        return a.to(getattr(self.torch, dtype))

    def seconds(self, calls: list[Callable[[], object]]) -> float:
        """The median time of one of ``calls``, made in turn, by CUDA events."""
        for call in calls:
            call()
        self.torch.cuda.synchronize()
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))

        def sample(n: int) -> float:
            turn = cycle(calls)
            start.record()
            for _ in range(n):
                next(turn)()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) * 1e-3 / n

        once = sample(len(calls))
        n = max(len(calls), math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))
        return statistics.median(sample(n) for _ in range(SAMPLES))

    def machine(self) -> dict[str, str]:
        """The card and what drives it."""
        found = self.torch.cuda.get_device_properties(0)
        return {
            "gpu": found.name, "multiprocessors": str(found.multi_processor_count),
            "memory": f"{found.total_memory / 2**30:.0f} GiB",
            "torch": self.torch.__version__, "cuda": str(self.torch.version.cuda),
            "cudnn": str(self.torch.backends.cudnn.version()),
        }


class Simulator:
    """numba's simulator: arrays are its device arrays, times those of a plain clock."""

    torch = None

    def tf32(self, on: bool) -> None:
        """There is none."""

    def put(self, a: np.ndarray[Any, Any]) -> Any:
        """A host array as a simulated device array."""
        from numba import cuda

        return cuda.to_device(np.ascontiguousarray(a))

    def get(self, a: Any) -> np.ndarray[Any, Any]:
        """Its numbers as float64."""
        found: np.ndarray[Any, Any] = a.copy_to_host().astype(np.float64)
        return found

    def random(self, shape: tuple[int, ...]) -> Any:
        """Normally distributed float32."""
        return self.put(np.random.default_rng(0).standard_normal(shape).astype(np.float32))

    def cast(self, a: Any, dtype: str) -> Any:
        """The same numbers as float16: numba's device arrays know no bfloat16."""
        return self.put(a.copy_to_host().astype(np.float16))

    def seconds(self, calls: list[Callable[[], object]]) -> float:
        """The time of the first call."""
        start = time.perf_counter()
        calls[0]()
        return time.perf_counter() - start

    def machine(self) -> dict[str, str]:
        """What there is."""
        return {"gpu": "numba's simulator"}


# ---------------------------------------------------------------- correctness


Geometry = tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]


def geometries(tiny: bool) -> Iterator[Geometry]:
    """Name, shapes of x and w, options: borders of every tile on a card, a few in the simulator."""
    yield "3x3", (1, 3, 6, 7) if tiny else (2, 3, 7, 9), (5, 3, 3, 3), {"padding": 1}
    channels = 2 if tiny else 8
    yield "depthwise", (1, channels, 6, 7), (channels, 1, 3, 3), {"padding": 1, "groups": channels}
    yield "1x1_s2", (1, 5, 5, 6), (9, 5, 1, 1), {"stride": 2}
    yield "groups_dilated", (1, 4, 9, 8), (6, 2, 3, 3), {"groups": 2, "dilation": 2, "padding": 2}
    if tiny:
        return
    yield "many_pixels", (32, 16, 56, 56), (64, 16, 3, 3), {"padding": 1}
    for channels in (31, 32, 33, 63, 64, 65, 127, 128, 129, 256):
        yield f"oc{channels}", (2, 17, 23, 29), (channels, 17, 3, 3), {"padding": 1}
        yield f"ic{channels}", (1, channels, 14, 15), (64, channels, 3, 3), {"padding": 1}
        yield f"1x1_{channels}", (3, channels, 13, 13), (channels, channels, 1, 1), {}
    for mode in ("reflect", "replicate", "circular"):
        yield mode, (2, 16, 20, 21), (40, 16, 5, 5), {"padding": 2, "padding_mode": mode}
    yield "11x11", (3, 16, 61, 70), (24, 16, 11, 11), {"padding": 5}
    yield "31x31_circular", (2, 2, 90, 64), (3, 2, 31, 31), {
        "padding": 15, "padding_mode": "circular"}
    yield "7x7_s2", (4, 3, 64, 65), (64, 3, 7, 7), {"stride": 2, "padding": 3}
    yield "asymmetric", (2, 8, 20, 31), (24, 8, 4, 3), {"padding": ((2, 0), (1, 3))}


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    from fastconv.spec import dtype_of

    return rng.standard_normal(shape).astype(np.float32).astype(dtype_of(dtype))


def _error(got: Any, right: Any) -> float:
    scale = float(np.sqrt(np.mean(right**2))) or 1.0
    return float(np.sqrt(np.mean((got - right) ** 2))) / scale


def _dtypes(name: str, options: dict[str, Any], tiny: bool) -> tuple[str, ...]:
    """Each costs seconds of compilation, so paddings are tried in one type. numba's device arrays
    know no bfloat16."""
    if tiny and name == "1x1_s2":
        return "float32", "float16"
    return DTYPES[:1] if tiny or "padding_mode" in options else DTYPES


def check(place: Any, results: Results, tiny: bool, seconds: float) -> None:
    """Every row beside NumPy in float64; raises AssertionError at the first that is wrong."""
    import fastconv as fc
    from fastconv.registry import rows

    rng, start = np.random.default_rng(1), time.monotonic()

    def judged(name: str, dtype: str, got: Any, right: Any, stated: float = 0.0) -> None:
        error = _error(place.get(got), right)
        results.correctness.append({"case": name, "dtype": dtype, "rms_error": error})
        terms = 1.0 if dtype in ("float16", "bfloat16") else 8.0  # long sums on a card
        allowed = max(TOLERANCE[dtype] * terms, stated)
        assert error <= allowed, f"{name} {dtype}: rms error {error:.1e}, at most {allowed:.1e}"

    def convolve(function: Any, *arrays: Any, **options: Any) -> Any:
        """None where no row can serve it."""
        try:
            return function(*arrays, precision="fast", **options)
        except ValueError as reason:
            if "no kernel can serve" not in str(reason):
                raise
            return None

    for name, x_shape, w_shape, options in geometries(tiny):
        if time.monotonic() - start > seconds:
            results.left_out.append(f"correctness of {name}")
            continue
        for dtype in _dtypes(name, options, tiny):
            x, w = _values(rng, x_shape, dtype), _values(rng, w_shape, dtype)
            bias = _values(rng, w_shape[:1], dtype)
            wide = [a.astype(np.float64) for a in (x, w, bias)]
            right = fc.conv2d(*wide, activation="relu", backend="numpy", algorithm="im2col",
                              **options)
            flat = fc.max_pool2d(right, 2)
            for layout in ("NCHW", "NHWC"):
                order = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
                on_card = [place.put(a) for a in (x.transpose(order), w, bias)]
                for row in (r for r in rows("conv2d") if r.backend == "cuda"):
                    stated = row.bound(math.prod(w_shape[1:]), dtype)
                    more = {"layout": layout, "algorithm": row.algorithm, **options}
                    got = convolve(fc.conv2d, *on_card, activation="relu", **more)
                    if got is None:
                        continue
                    label = f"{row.algorithm} {name} {layout}"
                    judged(f"conv2d.{label}", dtype, got, right.transpose(order), stated)
                    if not tiny or row.algorithm == "direct":  # the others' pooling is the same
                        got = convolve(fc.conv2d_pool2d, *on_card, **more)
                        judged(f"conv2d_pool2d.{label}", dtype, got, flat.transpose(order), stated)
    for dtype in DTYPES[:1] if tiny else DTYPES:
        x = _values(rng, (2, 8, 13, 14), dtype)
        wide, there = x.astype(np.float64), place.put(x)
        for function, arguments, options in (
            ("relu", (), {}), ("sigmoid", (), {}), ("tanh", (), {}),
            ("max_pool2d", (3,), {"stride": 2, "padding": 1}), ("max_pool2d", (2,), {}),
            ("avg_pool2d", (2,), {}), ("lp_pool2d", (2, 3), {}), ("sum_pool2d", (3,), {}),
            ("adaptive_avg_pool2d", ((5, 3),), {}), ("global_max_pool2d", (), {}),
        ):
            call = getattr(fc, function)
            judged(f"{function} {arguments}", dtype, call(there, *arguments, **options),
                   call(wide, *arguments, backend="numpy", **options))
        w = _values(rng, (8, 4, 3, 3), dtype)
        judged("conv_transpose2d", dtype,
               fc.conv_transpose2d(there, place.put(w), stride=2, padding=1),
               fc.conv_transpose2d(wide, w.astype(np.float64), stride=2, padding=1,
                                   backend="numpy"))
        values, indices = fc.max_pool2d(there, 2, return_indices=True)
        judged("max_unpool2d", dtype, fc.max_unpool2d(values, indices, 2, output_size=(13, 14)),
               fc.max_unpool2d(*fc.max_pool2d(wide, 2, return_indices=True, backend="numpy"), 2,
                               output_size=(13, 14), backend="numpy"))


# ---------------------------------------------------------------- timing


def _sets(nbytes: int, tiny: bool) -> int:
    return 1 if tiny else max(1, min(MOST_SETS, CACHE_BYTES // max(nbytes, 1) + 1))


def layers(tiny: bool) -> list[Any]:
    """Those of ``layers.json`` at batch 32, and kernels so large that an FFT pays; in the simulator
    two of the former's kinds, tiny."""
    from fastconv.spec import Conv2dSpec

    if tiny:
        return [
            ("tiny 3x3", Conv2dSpec.of((1, 3, 6, 6), (8, 3, 3, 3), padding=1, precision="fast")),
            ("tiny depthwise", Conv2dSpec.of((1, 2, 6, 6), (2, 1, 3, 3), padding=1, groups=2)),
        ]
    from .layers import LAYERS

    found: dict[Any, str] = {}
    for layer in LAYERS:
        spec = Conv2dSpec.of(
            (BATCH, *layer.x_shape[1:]), layer.w_shape, precision="fast", **layer.geometry
        )
        found.setdefault(spec, layer.name)
    for side in LARGE:
        spec = Conv2dSpec.of(
            (BATCH, 64, 56, 56), (64, 64, side, side), padding=side // 2, precision="fast"
        )
        found[spec] = f"{side}x{side} of 64"
    return [(name, spec) for spec, name in found.items()]


def time_layer(place: Any, name: str, spec: Any, layout: str, tiny: bool) -> list[dict[str, Any]]:
    """Each row that serves a layer, beside cuDNN."""
    import fastconv as fc
    from fastconv.dispatch import absent
    from fastconv.registry import rows

    options: dict[str, Any] = {
        "stride": (spec.SH, spec.SW), "padding": ((spec.PT, spec.PB), (spec.PL, spec.PR)),
        "dilation": (spec.DH, spec.DW), "groups": spec.G, "layout": layout,
    }
    n, c, h, w_ = spec.x_shape
    shape = (n, c, h, w_) if layout == "NCHW" else (n, h, w_, c)
    xs = [place.random(shape) for _ in range(_sets(spec.bytes, tiny))]
    w = place.random(spec.w_shape)
    peer, errors = _peer(place, spec, xs, w, layout)
    found = []
    for dtype, timed in TIMED.items():
        some = [place.cast(x, dtype) for x in xs] if dtype != "float32" else xs
        weights = place.cast(w, dtype) if dtype != "float32" else w
        for row in rows("conv2d"):
            seen = replace(spec, layout=layout, dtype=dtype)
            if row.backend != "cuda" or row.why_not(seen) is not None or absent(row):
                continue
            if timed and row.algorithm not in timed:
                continue
            plan = fc.plan_conv2d(weights, algorithm=row.algorithm, precision="fast", **options)
            out = plan(some[0])
            seconds = place.seconds([partial(plan, x, out=out) for x in some])
            plan(some[0], out=out)
            theirs = PEERS.get(row.algorithm, "cudnn")
            found.append({
                "layer": name, "layout": layout, "row": row.name, "dtype": dtype,
                "seconds": seconds, "tflops": spec.flops / seconds / 1e12, **peer,
                "against": theirs, "ratio": peer[theirs] / seconds if theirs in peer else None,
                "rms_error": errors(out) if errors else None,
            })
    return found


def _peer(
    place: Any, spec: Any, xs: list[Any], w: Any, layout: str
) -> tuple[dict[str, float], Callable[[Any], float] | None]:
    """cuDNN's seconds with TF32 off, on, and in bfloat16, and what judges a result."""
    torch = place.torch
    if torch is None:
        return {}, None
    functional = torch.nn.functional
    if spec.PT != spec.PB or spec.PL != spec.PR:
        return {}, None
    options = {
        "stride": (spec.SH, spec.SW), "padding": (spec.PT, spec.PL),
        "dilation": (spec.DH, spec.DW), "groups": spec.G,
    }
    last = layout == "NHWC"
    given = [x.permute(0, 3, 1, 2) for x in xs] if last else xs  # a channels_last tensor
    weights = w.to(memory_format=torch.channels_last) if last else w
    found = {}
    for key, dtype, on in (
        ("cudnn", torch.float32, False), ("cudnn_tf32", torch.float32, True),
        ("cudnn_bf16", torch.bfloat16, False),
    ):
        some, of_type = [x.to(dtype) for x in given], weights.to(dtype)
        place.tf32(on)
        found[key] = place.seconds(
            [partial(functional.conv2d, x, of_type, **options) for x in some]
        )
    place.tf32(False)
    few = min(2, spec.N)
    right = functional.conv2d(given[0][:few].double(), w.double(), **options)

    def error(got: Any) -> float:
        a = got[:few].permute(0, 3, 1, 2) if last else got[:few]
        return float((a.double() - right).square().mean().sqrt() / right.square().mean().sqrt())

    found["cudnn_rms_error"] = float(
        (functional.conv2d(given[0][:few], weights, **options).double() - right)
        .square().mean().sqrt() / right.square().mean().sqrt()
    )
    return found, error


Work = tuple[str, Callable[[Any], Any], float, Callable[[Any], Any] | None]


def _works(layout: str, functional: Any) -> list[Work]:
    """A name, ours, arrays of x's size that it reads and writes, and PyTorch's if it is there."""
    import fastconv as fc

    def of(name: str, ours: Callable[[Any], Any], arrays: float, theirs: str, *more: Any) -> Work:
        if functional is None:
            return name, ours, arrays, None
        function = getattr(functional, theirs)
        if layout == "NCHW":
            return name, ours, arrays, lambda x: function(x, *more)
        return name, ours, arrays, lambda x: function(x.permute(0, 3, 1, 2), *more)

    return [
        of("relu", fc.relu, 2.0, "relu"),
        of("max_pool 2x2", lambda x: fc.max_pool2d(x, 2, layout=layout), 1.25, "max_pool2d", 2),
        of("max_pool 3x3_s2", lambda x: fc.max_pool2d(x, 3, stride=2, padding=1, layout=layout),
           1.25, "max_pool2d", 3, 2, 1),
        of("avg_pool 2x2", lambda x: fc.avg_pool2d(x, 2, layout=layout), 1.25, "avg_pool2d", 2),
        of("global_avg_pool", lambda x: fc.global_avg_pool2d(x, layout=layout), 1.0,
           "adaptive_avg_pool2d", 1),
    ]


def memory_bound(place: Any, tiny: bool) -> list[dict[str, Any]]:
    """ReLU and pooling: bytes per second, beside a copy of the same array on the device."""
    n, c, h, w = shape = (1, 4, 8, 8) if tiny else (BATCH, 64, 112, 112)  # 103 MB
    cells, torch, found = math.prod(shape), place.torch, []
    for layout in ("NCHW", "NHWC"):
        there = shape if layout == "NCHW" else (n, h, w, c)
        xs = [place.random(there) for _ in range(1 if tiny else 3)]
        copy = None
        if torch is not None:
            target = torch.empty_like(xs[0])
            copy = 8 * cells / place.seconds([partial(target.copy_, x) for x in xs])
        for name, ours, arrays, peer in _works(layout, torch and torch.nn.functional):
            seconds = place.seconds([partial(ours, x) for x in xs])
            theirs = place.seconds([partial(peer, x) for x in xs]) if peer else None
            rate = 4 * arrays * cells / seconds
            found.append({
                "work": name, "layout": layout, "seconds": seconds, "bytes_per_second": rate,
                "of_copy": rate / copy if copy else None, "torch": theirs,
                "ratio": theirs / seconds if theirs else None,
            })
    return found


def host_seconds(place: Any, tiny: bool) -> list[dict[str, Any]]:
    """What a call of a small layer takes the host: the time until the call returns."""
    import fastconv as fc

    x, w = place.random((1, 8, 8, 8)), place.random((8, 8, 3, 3))
    plan = fc.plan_conv2d(w, padding=1)
    out = plan(x)
    found = []
    for name, call in (
        ("conv2d", lambda: fc.conv2d(x, w, padding=1)), ("plan", lambda: plan(x, out=out)),
        ("relu", lambda: fc.relu(x)),
    ):
        n = 1 if tiny else 500
        call()
        start = time.perf_counter()
        for _ in range(n):
            call()
        found.append({"call": name, "host_seconds": (time.perf_counter() - start) / n})
    return found


# ---------------------------------------------------------------- the run


def run(place: Any, *, tiny: bool, seconds: float) -> Results:
    """All of it; what does not fit into ``seconds`` is listed as left out."""
    from fastconv.dispatch import absent
    from fastconv.registry import rows

    start = time.monotonic()
    results = Results(
        {**place.machine(), "python": platform.python_version(), "numba-cuda":
         version("numba-cuda"), "fastconv": version("fastconv") if _installed() else "source"},
        " ".join(sys.argv), tiny,
    )
    for row in rows("conv2d"):
        if row.backend == "cuda" and (reason := absent(row)):
            results.left_out.append(f"{row.name}: {reason}")
    check(place, results, tiny, seconds / 2)
    print(f"{len(results.correctness)} results agree with float64")
    results.memory_bound = memory_bound(place, tiny)
    results.calls = host_seconds(place, tiny)
    for layout in ("NCHW", "NHWC"):
        for name, spec in layers(tiny):
            if time.monotonic() - start > seconds:
                results.left_out.append(f"{name} {layout}")
                continue
            results.layers += time_layer(place, name, spec, layout, tiny)
    return results


def _installed() -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version("fastconv")
    except PackageNotFoundError:
        return False
    return True


def show(results: Results) -> None:
    """The tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=120)
    for title, rows in (
        ("layers", results.layers), ("memory bound", results.memory_bound),
        ("the host's part", results.calls),
    ):
        if not rows:
            continue
        table = Table(title=title)
        for column in rows[0]:
            table.add_column(column)
        for row in rows:
            table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
        console.print(table)
    best: dict[str, dict[tuple[str, str], float]] = {}
    for row in results.layers:
        if row["ratio"]:
            of_peer, key = best.setdefault(row["against"], {}), (row["layer"], row["layout"])
            of_peer[key] = max(of_peer.get(key, 0.0), row["ratio"])
    for peer, ratios in best.items():
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        console.print(f"geometric mean of the best row beside {peer}: {mean:.2f}")
    for name in results.left_out:
        console.print(f"left out: {name}")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true", help="rehearse without a card")
    parser.add_argument("--output", type=Path, default=Path("cuda_card.json"))
    parser.add_argument("--seconds", type=float, default=480.0, help="after which layers are left")
    options = parser.parse_args(arguments)
    if options.simulate:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    import fastconv as fc

    if reason := fc.backends()["cuda"]:
        print(reason, file=sys.stderr)
        return 2
    place = Simulator() if options.simulate else Card()
    seconds = math.inf if options.simulate else options.seconds
    results = run(place, tiny=options.simulate, seconds=seconds)
    show(results)
    options.output.write_text(json.dumps(asdict(results), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
