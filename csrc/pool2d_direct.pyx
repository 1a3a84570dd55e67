"""Pooling: sliding, adaptive and global windows, reduced by the kernels of ``csrc/simd/pool.h``.

Channels that are neighbours in memory go side by side in the vector, otherwise columns do.
Threads share out whole output rows.
"""

from cython.parallel cimport prange
from libc.stdint cimport INT32_MAX, int64_t

from fastconv.backends.cython.isa cimport Kernels, Pool, Pooling, Windows, kernels, team
from fastconv.backends.cython.memory cimport give, take
from fastconv.backends.cython.strides cimport strides_of

cimport numpy as cnp

cdef extern from "simd/windows.h":
    enum:
        POOL_MAX
        POOL_SUM
        POOL_AVG
        POOL_LP

cdef dict MODES = {"max": POOL_MAX, "sum": POOL_SUM, "avg": POOL_AVG, "lp": POOL_LP}

cnp.import_array()

cdef enum:
    LINE = 64      # bytes of a cache line
    APART = 2048   # bytes between the scratch of two threads, which prefetching does not cross
    PART = 64      # channels under which a row is not divided further
    SHORT = 3      # cells of a row of a window that are as soon taken again as joined
    JOINED = 8192  # cells of joined rows that stay near
    FEWEST = 8     # columns of a block, so that little is joined twice
    SLACK = 64     # cells by which a row may always be padded


def run(spec, cnp.ndarray x not None, cnp.ndarray out not None, cnp.ndarray indices, int threads):
    """Reduce each window of x to one value of out; see :mod:`fastconv.registry`."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Pooling p
    cdef Pool pool
    cdef int64_t* index = NULL
    cdef char* scratch = NULL
    cdef Py_ssize_t items, pitch
    cdef int64_t[5] flat
    cdef int part, parts
    cdef tuple rows = spec.rows(), columns = spec.columns()
    p.mode = MODES[spec.mode]
    p.norm = spec.norm
    p.divisor = spec.divisor_override or 0
    p.C, p.OH, p.OW = spec.C, spec.OH, spec.OW
    p.height, p.width = spec.IH, spec.IW
    p.wide_index = 0
    set_windows(&p.rows, rows, spec.adaptive, spec.IH, spec.KH, spec.SH, spec.DH, spec.PT)
    set_windows(&p.columns, columns, spec.adaptive, spec.IW, spec.KW, spec.SW, spec.DW, spec.PL)
    p.x = strides_of(x, table.itemsize)
    p.out = strides_of(out, table.itemsize)
    if indices is not None:
        index = <int64_t*>cnp.PyArray_DATA(indices)
        p.indices = strides_of(indices, sizeof(int64_t))
        p.wide_index = table.itemsize == 4 and spec.IH * spec.IW > INT32_MAX

    threads = team(threads)
    items = spec.N * spec.OH
    p.row_cells = p.block = 0
    if p.C > 1 and p.x.c == 1 and p.out.c == 1 and not p.wide_index:
        pool = table.pooling.channels
        p.channel_parts = 1
        if items < 4 * threads:
            p.channel_parts = (p.C + PART - 1) // PART
        items *= p.channel_parts
        if index is NULL:
            p.block = columns_of_block(&p.columns, p.width, p.OW, p.C)
    else:
        pool = table.pooling.planes
        items *= p.C
        if index is NULL and is_whole_plane(&p):
            flatten(&p, flat)
        elif index is NULL:
            p.row_cells = cells_of_row(&p.columns, p.width, p.OW)
    parts = <int>min(threads, items)
    pitch = scratch_cells(&p) * table.itemsize
    pitch = (pitch + LINE - 1) // LINE * LINE + APART
    if index is NULL:
        scratch = take(parts * pitch)
    try:
        with nogil:
            if parts == 1:
                pool(&p, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), index, 0, items, scratch)
            else:
                for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
                    pool(&p, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), index,
                         items * part // parts, items * (part + 1) // parts,
                         scratch + part * pitch)
    finally:
        if scratch is not NULL:
            give(scratch)


def workspace_bytes(spec, int threads) -> int:
    """The joined rows of each thread, in either memory order."""
    cdef Windows columns
    cdef Py_ssize_t cells, block, itemsize = 4 if spec.dtype == "float32" else 8
    cdef tuple arrays = spec.columns()
    set_windows(&columns, arrays, spec.adaptive, spec.IW, spec.KW, spec.SW, spec.DW, spec.PL)
    cells = 2 * cells_of_row(&columns, spec.IW, spec.OW)
    block = columns_of_block(&columns, spec.IW, spec.OW, spec.C)
    cells = spec.OW + max(cells, cells_of_block(&columns, block, spec.C))
    return threads * (cells * itemsize + LINE + APART)


cdef int set_windows(
    Windows* windows, tuple arrays, bint adaptive, Py_ssize_t n, Py_ssize_t taps,
    Py_ssize_t stride, Py_ssize_t step, Py_ssize_t before,
) except -1:
    """Point to the arrays, which must outlive ``windows``."""
    cdef cnp.ndarray first = arrays[0], stop = arrays[1], count = arrays[2]
    cdef Py_ssize_t size = cnp.PyArray_DIM(first, 0), i, reach
    windows.first = <const int64_t*>cnp.PyArray_DATA(first)
    windows.stop = <const int64_t*>cnp.PyArray_DATA(stop)
    windows.count = <const int64_t*>cnp.PyArray_DATA(count)
    windows.step, windows.before, windows.taps, windows.stride = step, before, taps, stride
    if adaptive:
        windows.even = n % size == 0
        windows.taps = windows.stride = (n + size - 1) // size
        for i in range(size):
            windows.taps = max(windows.taps, windows.stop[i] - windows.first[i])
    else:
        # Windows that lie mostly outside the picture are better clipped.
        reach = (size - 1) * stride + (taps - 1) * step + 1
        windows.even = before <= n + SLACK and reach - before <= 2 * n + SLACK
    if not windows.even:
        windows.before = 0
    return 0


cdef Py_ssize_t cells_of_row(const Windows* columns, Py_ssize_t width, Py_ssize_t OW) noexcept:
    """A row of the picture, padded as far as its windows reach."""
    if not columns.even:
        return width
    return max(
        columns.before + width,
        (OW - 1) * columns.stride + (columns.taps - 1) * columns.step + 1,
    )


cdef Py_ssize_t columns_of_block(
    const Windows* columns, Py_ssize_t width, Py_ssize_t OW, Py_ssize_t C,
) noexcept:
    """Columns whose cells are joined together, where windows overlap much or channels are few."""
    cdef Py_ssize_t reach = (columns.taps - 1) * columns.step + 1
    if not columns.even or (columns.taps <= max(columns.stride, SHORT) and C >= PART):
        return 0
    return min(OW, max(FEWEST, (JOINED // C - reach) // columns.stride + 1))


cdef Py_ssize_t cells_of_block(const Windows* columns, Py_ssize_t block, Py_ssize_t C) noexcept:
    """What a block reaches, and as much again to choose every stride-th column from."""
    return 2 * C * ((block - 1) * columns.stride + (columns.taps - 1) * columns.step + 1)


cdef Py_ssize_t scratch_cells(const Pooling* p) noexcept:
    if p.block:
        return p.OW + cells_of_block(&p.columns, p.block, p.C)
    return p.OW + 2 * p.row_cells


cdef bint is_whole_plane(const Pooling* p) noexcept:
    """Whether the one window is the plane, and the plane's cells follow one another."""
    return (
        p.OH == 1 and p.OW == 1 and p.rows.step == 1 and p.columns.step == 1
        and p.rows.first[0] == 0 and p.rows.stop[0] == p.height
        and p.columns.first[0] == 0 and p.columns.stop[0] == p.width
        and p.x.w == 1 and p.x.h == p.width
    )


cdef void flatten(Pooling* p, int64_t* bounds) noexcept:
    """Read the plane as one long row."""
    cdef int64_t count = p.rows.count[0]
    bounds[0], bounds[1], bounds[2] = 0, 1, count
    bounds[3], bounds[4] = 0, p.height * p.width
    p.rows.first, p.rows.stop, p.rows.count = &bounds[0], &bounds[1], &bounds[2]
    p.columns.first, p.columns.stop = &bounds[3], &bounds[4]
    p.columns.taps, p.columns.before, p.columns.even = bounds[4], 0, False
