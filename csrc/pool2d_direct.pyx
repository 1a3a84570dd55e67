"""Pooling: sliding, adaptive and global windows, reduced by the kernels of ``csrc/simd/pool.h``.

Channels that are neighbours in memory go side by side in the vector, otherwise columns do.
Threads share out whole output rows.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange
from libc.stdint cimport INT32_MAX, int64_t, uintptr_t

from fastconv.backends.cython.isa cimport Kernels, Pool, Pooling, Windows, kernels, team
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
    LINE = 64  # bytes of a cache line
    APART = 2048  # bytes between the rows of two threads, which prefetching does not cross
    PART = 64  # channels under which a row is not divided further


def run(spec, cnp.ndarray x not None, cnp.ndarray out not None, cnp.ndarray indices, int threads):
    """Reduce each window of x to one value of out; see :mod:`fastconv.registry`."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Pooling p
    cdef Pool pool
    cdef int64_t* index = NULL
    cdef void* memory = NULL
    cdef char* row = NULL
    cdef Py_ssize_t items, pitch = row_bytes(spec)
    cdef int64_t[6] flat
    cdef int part, parts
    cdef tuple rows = spec.rows(), columns = spec.columns()
    p.mode = MODES[spec.mode]
    p.norm = spec.norm
    p.divisor = spec.divisor_override or 0
    p.C, p.OH, p.OW = spec.C, spec.OH, spec.OW
    p.height, p.width = spec.IH, spec.IW
    p.wide_index = 0
    set_windows(&p.rows, rows, spec.DH)
    set_windows(&p.columns, columns, spec.DW)
    set_regular(&p.columns, spec)
    p.x = strides_of(x, table.itemsize)
    p.out = strides_of(out, table.itemsize)
    if indices is not None:
        index = <int64_t*>cnp.PyArray_DATA(indices)
        p.indices = strides_of(indices, sizeof(int64_t))
        p.wide_index = table.itemsize == 4 and spec.IH * spec.IW > INT32_MAX

    threads = team(threads)
    items = spec.N * spec.OH
    if p.C > 1 and p.x.c == 1 and p.out.c == 1 and not p.wide_index:
        pool = table.pooling.channels
        p.channel_parts = 1
        if items < 4 * threads:
            p.channel_parts = (p.C + PART - 1) // PART
        items *= p.channel_parts
    else:
        pool = table.pooling.planes
        items *= p.C
        if index is NULL and is_whole_plane(&p, spec):
            flatten(&p, spec.IH, flat)
        elif index is NULL:
            memory = PyMem_RawMalloc(threads * pitch + LINE)
            if memory is NULL:
                raise MemoryError(f"no memory for {threads} rows of {pitch} bytes")
            row = <char*>((<uintptr_t>memory + LINE - 1) // LINE * LINE)
    parts = <int>min(threads, items)
    try:
        with nogil:
            if parts == 1:
                pool(&p, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), index, 0, items, row)
            else:
                for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
                    pool(&p, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out), index,
                         items * part // parts, items * (part + 1) // parts, row + part * pitch)
    finally:
        PyMem_RawFree(memory)


def workspace_bytes(spec, int threads) -> int:
    """A row of the picture for each thread."""
    return threads * row_bytes(spec) + LINE


cdef Py_ssize_t row_bytes(spec) except -1:
    """Whole cache lines, and far enough from the next thread's."""
    cdef Py_ssize_t itemsize = 4 if spec.dtype == "float32" else 8
    return (spec.IW * itemsize + LINE - 1) // LINE * LINE + APART


cdef int set_windows(Windows* windows, tuple arrays, Py_ssize_t step) except -1:
    """Point to the arrays, which must outlive ``windows``."""
    cdef cnp.ndarray first = arrays[0], stop = arrays[1], count = arrays[2]
    windows.first = <const int64_t*>cnp.PyArray_DATA(first)
    windows.stop = <const int64_t*>cnp.PyArray_DATA(stop)
    windows.count = <const int64_t*>cnp.PyArray_DATA(count)
    windows.step = step
    return 0


cdef int set_regular(Windows* columns, spec) except -1:
    """The columns whose windows lie inside the picture, one stride after another."""
    cdef Py_ssize_t start, reach, OW = spec.OW
    columns.regular_from = columns.regular_to = 0
    columns.taps = columns.stride = 1
    if not spec.adaptive:
        columns.taps, columns.stride = spec.KW, spec.SW
        reach = spec.DW * (spec.KW - 1) + 1
        start = (spec.PL + spec.SW - 1) // spec.SW
        columns.regular_from = min(start, OW)
        if spec.IW + spec.PL >= reach:
            columns.regular_to = min((spec.IW + spec.PL - reach) // spec.SW + 1, OW)
        columns.regular_to = max(columns.regular_from, columns.regular_to)
    elif spec.IW % OW == 0:
        columns.taps = columns.stride = spec.IW // OW
        columns.regular_to = OW
    return 0


cdef bint is_whole_plane(const Pooling* p, spec) except -1:
    """Whether the one window is the plane, and the plane's cells follow one another."""
    return (
        p.OH == 1 and p.OW == 1 and p.rows.step == 1 and p.columns.step == 1
        and p.rows.first[0] == 0 and p.rows.stop[0] == spec.IH
        and p.columns.first[0] == 0 and p.columns.stop[0] == spec.IW
        and p.x.w == 1 and p.x.h == spec.IW
    )


cdef void flatten(Pooling* p, Py_ssize_t IH, int64_t* bounds) noexcept:
    """Read the plane as one long row."""
    cdef int64_t count = p.rows.count[0]
    bounds[0], bounds[1], bounds[2] = 0, 1, count
    bounds[3], bounds[4] = 0, IH * p.width
    p.rows.first, p.rows.stop, p.rows.count = &bounds[0], &bounds[1], &bounds[2]
    p.columns.first, p.columns.stop = &bounds[3], &bounds[4]
    p.columns.regular_from = p.columns.regular_to = 0
