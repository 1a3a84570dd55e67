"""Which row is the fastest, and how many threads it is worth: a cost model of seconds.

seconds = Σ price · feature. The *features* of a call are counts that its shape gives (vector
multiplications with all padding to panels and tiles, cells moved, bytes, blocks; see
``features.py``); the *prices* are seconds for each, one set per row, in ``prices.json``. They
are fitted to measurements by ``python -m benchmarks.calibrate``, for each kind of processor that
it has been run on: what a multiplication costs beside a load differs between them. Other
processors take the prices of the first, an Intel Xeon with AVX-512. Only the ratios of prices
decide. Those of the CUDA rows are guesses for an H100 from its data sheet and from what the inner
loops compile to, measured on no card.

Pure functions of the spec. The ranking does not depend on the number of threads, so that no
number of threads changes a result's bits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..registry import Kernel
from ..spec import Conv2dSpec, ConvPool2dSpec, Spec, itemsize
from .features import PACK, Features, counts, maps_nearby

VECTOR_BYTES = 64
"""Of the machine that the prices come from."""
ANY = "any"
"""The processor whose prices stand for all that have none of their own."""

# Prices that are no feature's: seconds of an empty call, seconds that a team of threads costs,
# and the share of the work that stays on one thread.
CALL, TEAM, SERIAL = "call", "team", "serial"
PACK_CALL = "pack_calls"
"""What a call that packs costs beside the weights; no thread shares it."""
SPECIAL = (CALL, TEAM, SERIAL, PACK_CALL)


# What a row's prediction is multiplied with in a choice: a gain within the model's error is
# worth neither the seconds that Numba takes to compile a kernel at its first use, nor the
# rounding errors of a transform where direct sums of small integers are exact.
_COMPILED_AT_FIRST_USE, _TRANSFORMED = 1.25, 1.1
# NumPy's matrix products take as many threads as their own settings say, whatever is asked here.
_THREADS_OF_ITS_OWN = 1.25
# Columns of single cells are copies of what direct summation reads in place: of all calls that
# benchmarks.calibrate draws they were faster in none by more than the noise.
_COPIED = 1.25


_POOLING_IN_TILES = {
    ("winograd_planar", "cython"), ("winograd_planar", "numba"), ("winograd2", "cython"),
    ("winograd4", "cython"), ("winograd6", "cython"),
}
"""Rows that take a quartered maximum before their results leave the tiles."""


def _reluctance(row: Kernel, spec: Spec) -> float:
    factor = _COMPILED_AT_FIRST_USE if row.backend == "numba" else 1.0
    if not row.direct_sum:
        factor *= _TRANSFORMED
    if row.algorithm == "im2col" and row.backend == "numpy":
        factor *= _THREADS_OF_ITS_OWN
    elif row.algorithm == "im2col" and isinstance(spec, Conv2dSpec) \
            and spec.KH * spec.KW * spec.SH * spec.SW == 1:
        factor *= _COPIED
    return factor


@cache
def measured() -> dict[str, dict[str, dict[str, float]]]:
    """All of ``prices.json``: processor → row name → name of a feature → seconds for one."""
    text = Path(__file__).with_name("prices.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return found


@cache
def prices(processor: str = ANY) -> dict[str, dict[str, float]]:
    """Row name → name of a feature → seconds for one; of a processor, or of :data:`ANY` where it
    has not been measured."""
    return measured()[ANY] | measured().get(processor, {})


def seconds(
    row: Kernel, spec: Spec, threads: int = 1, *, packed: bool = False,
    vector_bytes: int = VECTOR_BYTES, processor: str = ANY,
) -> float:
    """Predicted time of one call; ``packed`` if the weights have been packed beforehand.

    ``spec`` is what the kernel sees.
    """
    return _seconds(row, spec, threads, packed, vector_bytes, processor, {})


def _seconds(
    row: Kernel, spec: Spec, threads: int, packed: bool, vector_bytes: int, processor: str,
    known: dict[str, Features],
) -> float:
    """``known`` has the counts of algorithms that another backend's row has asked for."""
    lanes = max(1, vector_bytes // itemsize(spec.dtype))
    if isinstance(spec, ConvPool2dSpec):
        # Both parts find the maps in the cache, or one never writes them at all.
        of_conv, of_pool = maps_nearby(spec, row.algorithm, lanes)
        took = _seconds(
            replace(row, op="conv2d"), spec.conv, threads, packed, vector_bytes, processor,
            {row.algorithm: of_conv},
        )
        if (row.algorithm, row.backend) in _POOLING_IN_TILES and spec.is_quartered:
            return took
        return took + _seconds(
            replace(row, op="pool2d", algorithm="direct"), spec.pool, threads, packed,
            vector_bytes, processor, {"direct": of_pool},
        )
    found = known.get(row.algorithm)
    if found is None:
        found = known[row.algorithm] = counts(row.op, row.algorithm, spec, lanes)
    price = prices(processor)[row.name]
    work = 0.0
    for name, each in price.items():
        if name not in SPECIAL and not (packed and name.startswith(PACK)):
            work += each * found[name]
    if threads > 1:
        serial = price.get(SERIAL, 0.0)
        work = work * (serial + (1 - serial) / threads) + price.get(TEAM, 0.0)
    return price[CALL] + (0.0 if packed else price.get(PACK_CALL, 0.0)) + work


def rank(
    rows: Sequence[Kernel], spec: Spec, *, packed: bool = False, vector_bytes: int = VECTOR_BYTES,
    processor: str = ANY,
) -> list[Kernel]:
    """``rows`` from the fastest to the slowest; the table's order decides a tie."""
    known: dict[str, Features] = {}

    def cost(row: Kernel) -> float:
        return _reluctance(row, spec) * _seconds(
            row, spec, 1, packed, vector_bytes, processor, known
        )

    return sorted(rows, key=cost)


def threads_for(
    row: Kernel, spec: Spec, threads: int, *, packed: bool = False,
    vector_bytes: int = VECTOR_BYTES, processor: str = ANY,
) -> int:
    """``threads``, or one for work that is too small to share."""
    if threads == 1:
        return 1

    def taking(n: int) -> float:
        return _seconds(row, spec, n, packed, vector_bytes, processor, {})

    return threads if taking(threads) < taking(1) else 1
