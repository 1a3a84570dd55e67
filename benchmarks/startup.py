"""``python -m benchmarks.startup``: what just-in-time compilation costs those who wait for it.

The first call of a 3×3 convolution in a fresh process of the Numba wing, ``import fastconv``
included, when its kernels are on disk; and, from an empty cache, how long each kernel takes to
be compiled, the longest first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

FIRST_CALL = 1.5
"""Seconds that it may take."""
LONGEST_COMPILE = 10.0
"""Seconds that a single kernel may take."""

_CALL = """
import time
start = time.perf_counter()
import numpy as np
numpy = time.perf_counter()
import fastconv
imported = time.perf_counter()
x, w = np.ones((1, 64, 56, 56), "f4"), np.ones((64, 64, 3, 3), "f4")
y = fastconv.conv2d(x, w, padding=1)
called = time.perf_counter()
print(called - start, numpy - start, imported - numpy, called - imported)
"""
_WARM = """
import json, sys, fastconv
fastconv.warmup("numba", sys.argv[1:])
from fastconv.backends.numba.jit import seconds
print(json.dumps(seconds))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a figure is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="processes of which the best counts")
    parser.add_argument("--dtypes", default="float32,float64", metavar="DTYPE[,DTYPE]",
                        help="what to compile the kernels for")
    parser.add_argument("--first-call-only", action="store_true", help="compile nothing else")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        _python(_CALL, folder)
        total, numpy, imported, called = min(
            tuple(map(float, _python(_CALL, folder).split())) for _ in range(args.repeat)
        )
        print(
            f"first 3×3 conv2d of a process, kernels on disk: {total:.2f} s (numpy {numpy:.2f}, "
            f"import fastconv {imported:.2f}, the call {called:.2f}); at most {FIRST_CALL} wanted"
        )
        if args.first_call_only:
            return int(total > FIRST_CALL)
    with tempfile.TemporaryDirectory() as folder:
        seconds = json.loads(_python(_WARM, folder, *args.dtypes.split(",")).splitlines()[-1])
    slowest = sorted(seconds, key=seconds.__getitem__, reverse=True)
    print(f"{len(seconds)} functions compiled in {sum(seconds.values()):.0f} s, the longest:")
    for name in slowest[:10]:
        print(f"  {seconds[name]:5.2f} s  {name}")
    print(f"at most {LONGEST_COMPILE:g} s wanted")
    return int(total > FIRST_CALL or seconds[slowest[0]] > LONGEST_COMPILE)


def _python(code: str, cache: str, *arguments: str) -> str:
    environment = {**os.environ, "FASTCONV_BACKEND": "numba", "NUMBA_CACHE_DIR": cache}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, env=environment, text=True,
        stdout=subprocess.PIPE,
    ).stdout


if __name__ == "__main__":
    raise SystemExit(main())
