"""The card's peak: chains of multiply-adds in registers. Imported where there is a card.

A chain waits for its own last result; a thread has several, so that the pipeline stays full.
"""

from __future__ import annotations

from typing import Any

from numba import cuda as numba_cuda

cuda: Any = numba_cuda  # numba has no types
CHAINS = 8
"""Independent ones in each thread."""


@cuda.jit(fastmath=True)
def chains(out, factor, summand, steps):  # type: ignore[no-untyped-def]
    """``CHAINS · steps`` multiply-adds in each thread; their sum is written, so that they stay."""
    i = cuda.grid(1)
    a = out[i]
    b, c, d, e = a + summand, a - summand, a + factor, a - factor
    f, g, h = b + factor, c + factor, d + summand
    for _ in range(steps):
        a = a * factor + summand
        b = b * factor + summand
        c = c * factor + summand
        d = d * factor + summand
        e = e * factor + summand
        f = f * factor + summand
        g = g * factor + summand
        h = h * factor + summand
    out[i] = a + b + c + d + e + f + g + h
