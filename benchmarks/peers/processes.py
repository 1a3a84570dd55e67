"""What only a fresh process can tell: the time of an import, and peak memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

from ..layers import Layer
from .measure import Outcome

IMPORTS = 7
"""Processes that the least time of an import is taken from."""

HEAVY = ("numba", "scipy", "torch")
"""What ``import fastconv`` must leave alone."""

_IMPORT = f"""
import sys, time, numpy
start = time.perf_counter()
import fastconv
print(time.perf_counter() - start, *(name for name in {HEAVY} if name in sys.modules))
"""

# A tiny call loads the kernels and their threads, the plan is made for the shape, and all large
# arrays are touched: after that the peak can only grow by what the call takes for itself. A few
# MB may come from memory that imports have freed; then the kernel's own statement is the larger.
_PEAK = """
import sys, resource, numpy as np, fastconv
from benchmarks.layers import Layer
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
layer, options = Layer(**eval(sys.argv[1])), eval(sys.argv[2])
fastconv.set_num_threads(1)
ones = lambda *shape: np.full(shape, 0.5, np.float32)
fastconv.plan_conv2d(ones(1, 1, 3, 3), **options)(ones(1, 1, 5, 5))
w, x, out = ones(*layer.w_shape), ones(*layer.x_shape), ones(*layer.spec().out_shape)
plan = fastconv.plan_conv2d(w, x_shape=x.shape, **layer.geometry, **options)
before = peak()
plan(x, out=out)
print(max(peak() - before, plan.workspace_bytes / 2**20))
"""

PEAKS = {
    "direct": (
        Layer("memory 3x3 64@512", 1, 64, 512, 512, 64, 3, 3, padding=1),
        Layer("memory 7x7s2 3@2048", 1, 3, 2048, 2048, 32, 7, 7, 2, 3),
        Layer("memory 3x3 16@256 N=16", 16, 16, 256, 256, 24, 3, 3, padding=1),
    ),
    "im2col": (Layer("memory 127x127 1@1024", 1, 1, 1024, 1024, 1, 127, 127, padding=63),),
}


def import_time() -> Outcome:
    """The least time of ``import fastconv`` once NumPy is there."""
    outcome = Outcome("import fastconv", "processes", ("import",), 1)
    lines = [_run(_IMPORT) for _ in range(IMPORTS)]
    outcome.milliseconds["fastconv/import"] = 1e3 * min(float(line.split()[0]) for line in lines)
    if heavy := lines[0].split()[1:]:
        outcome.failed["fastconv/import"] = f"imports {', '.join(heavy)}"
    return outcome


def peaks(backend: str) -> list[Outcome]:
    """How far one call raises the peak of the process, where the system counts it in kB."""
    if sys.platform != "linux":
        return []
    found = []
    for algorithm, layers in PEAKS.items():
        for layer in layers:
            labels = ("memory", algorithm)
            outcome = Outcome(layer.name, "processes", labels, 1, layer.spec().flops / 1e9)
            options = {"algorithm": algorithm, "backend": backend}
            answer = _run(_PEAK, repr(asdict(layer)), repr(options))
            outcome.megabytes[f"{backend}/{algorithm}"] = float(answer)
            found.append(outcome)
    return found


def _run(code: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    ).stdout
