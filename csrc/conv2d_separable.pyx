"""Convolution by kernels of low rank: down the columns, then across the rows.

The weights of every pair of channels are factored by a singular value decomposition into
``spec.rank`` products of a column and a row, which is as many as they need (see
``fastconv/rank.py``). ``csrc/simd/separable.h`` has the two passes; here the picture is cut into
bands of rows and blocks of columns, which threads share out. What is left between the passes
never leaves the cache.

A NaN or infinity spreads over the rows that are computed together and over a kernel's extent.
"""

import numpy as np

cimport numpy as cnp
from cython.parallel cimport prange, threadid

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport FACTOR_ROWS, Factors, Kernels, kernels, team
from fastconv.backends.cython.memory cimport give, take

from fastconv.backends.factors import are_alike, factors, in_one_row, side_by_side, widened
from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64      # bytes of a cache line
    BLOCK = 1024   # bytes of a block of columns: rows of a band that meet again stay near
    BAND = 32      # rows of a band: where x is copied, neighbours copy rows again


cdef class Packed:
    cdef object factors  # (OC, factors of one output channel)
    cdef bint alike      # all channels have the same


def pack(spec, w, int threads):
    """Each output channel's columns, with zeros around them, then its rows."""
    cdef Packed packed = Packed.__new__(Packed)
    columns, rows = factors(w, spec.rank)
    around = np.zeros((*columns.shape[:3], spec.KH + 2 * (FACTOR_ROWS - 1)), w.dtype)
    around[..., FACTOR_ROWS - 1 : FACTOR_ROWS - 1 + spec.KH] = columns
    flat = [part.reshape(w.shape[0], -1) for part in (around, rows)]
    packed.factors = np.ascontiguousarray(np.concatenate(flat, axis=1))
    packed.alike = are_alike(spec, w)
    return packed


# ---------------------------------------------------------------- cutting


cdef struct Cut:
    Factors factors
    Py_ssize_t N, G, bands, blocks, tasks  # bands of all phases of the dilation
    Py_ssize_t offset_bytes, scratch       # of each thread


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef Cut cut(spec) except *:
    cdef Cut c
    cdef Py_ssize_t size = kernels(spec.dtype).itemsize, width = kernels(spec.dtype).width
    cdef Py_ssize_t halo, reads, rows, terms
    c.factors.geometry = geometry_of(spec)
    g = &c.factors.geometry
    c.N, c.G = spec.N, spec.G
    c.factors.rank = spec.rank
    halo = (g.KW - 1) * g.DW
    # The blocks of a wide kernel are wide too: neighbours compute its extent twice.
    c.blocks = max(1, g.OW // max(BLOCK // size, 4 * halo))
    c.factors.cols = ceil_div(g.OW, c.blocks)
    rows = ceil_div(g.OH, g.DH)  # of a phase
    c.factors.band = min(BAND, rows)
    c.bands = ceil_div(rows, c.factors.band) * min(g.DH, g.OH)
    reads = (ceil_div(c.factors.cols, width) + 1) * width + halo
    c.factors.pitch = ceil_div(reads * size, LINE) * LINE // size
    c.factors.width = c.factors.pitch
    terms = g.IC * c.factors.rank
    c.scratch = (terms * FACTOR_ROWS + 1) * c.factors.pitch * size
    c.scratch += g.IC * (g.KH + c.factors.band) * c.factors.width * size
    c.offset_bytes = (2 * (g.KH + c.factors.band) + terms * g.KW) * sizeof(Py_ssize_t)
    c.offset_bytes = ceil_div(c.offset_bytes, LINE) * LINE
    c.tasks = c.N * c.G * g.OC * c.bands * c.blocks
    return c


def workspace_bytes(spec, int threads) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return max(
        scratch_of(cut(each), threads)
        for each in ((spec, widened(spec)) if spec.IC == spec.OC == spec.G else (spec,))
    )


cdef Py_ssize_t scratch_of(Cut c, int threads) noexcept:
    return c.offset_bytes + min(threads, c.tasks) * c.scratch


cdef void lay_out(Cut* c, Py_ssize_t* offsets) noexcept:
    """Where rows of x lie, seen from a task's first, and the factors of the second pass."""
    cdef Factors* f = &c.factors
    cdef Py_ssize_t rows = f.geometry.KH + f.band, k, t
    f.down, f.patch_down, f.across = offsets, offsets + rows, offsets + 2 * rows
    for k in range(rows):
        offsets[k] = k * f.geometry.DH * f.geometry.x_h
        offsets[rows + k] = k * f.width
    offsets += 2 * rows
    for t in range(f.geometry.IC * f.rank):
        for k in range(f.geometry.KW):
            offsets[t * f.geometry.KW + k] = t * FACTOR_ROWS * f.pitch + k * f.geometry.DW


# ---------------------------------------------------------------- computing


cdef struct Call:
    const Kernels* table
    Cut cut
    const char* x
    const char* factors
    const char* bias
    char* out
    Py_ssize_t x_n, out_n      # bytes between images
    Py_ssize_t factors_size    # bytes of an output channel's
    char* scratch              # of the first thread


cdef void compute(const Call* call, Py_ssize_t task, int thread) noexcept nogil:
    cdef const Cut* c = &call.cut
    cdef const Factors* f = &c.factors
    cdef Py_ssize_t size = call.table.itemsize, phases = min(f.geometry.DH, f.geometry.OH)
    cdef Py_ssize_t block, phase, oh, rows, oc, ow
    block, task = task % c.blocks, task // c.blocks
    phase, task = task % phases, task // phases
    oh, task = task % (c.bands // phases) * f.band, task // (c.bands // phases)
    oc, task = task % (c.G * f.geometry.OC), task // (c.G * f.geometry.OC)
    oh = oh * f.geometry.DH + phase
    if oh >= f.geometry.OH:
        return
    rows = min(f.band, (f.geometry.OH - 1 - oh) // f.geometry.DH + 1)
    ow = f.geometry.OW * block // c.blocks
    call.table.factoring.separable(
        f,
        call.x + task * call.x_n
        + oc // f.geometry.OC * f.geometry.IC * f.geometry.x_c * size,
        call.factors + oc * call.factors_size,
        call.bias + oc * size,
        call.out + task * call.out_n + oc * f.geometry.out_c * size,
        oh, rows, ow, f.geometry.OW * (block + 1) // c.blocks - ow,
        call.scratch + thread * c.scratch,
    )


def run(spec, x, Packed packed not None, bias, out, int threads):
    """Write the convolution of x into out."""
    cdef Call call
    cdef Cut* c = &call.cut
    cdef Py_ssize_t task, tasks
    cdef char* memory
    if packed.alike and bias is None and side_by_side(x, out):
        # One picture, wider as many times as there are channels, and taps as far apart.
        spec = widened(spec)
        x, out = in_one_row(x), in_one_row(out)
    cdef cnp.ndarray xs = x, outs = out, packed_factors = packed.factors
    cdef cnp.ndarray biases = np.zeros(spec.OC, packed_factors.dtype) if bias is None else bias
    call.table = kernels(spec.dtype)
    c[0] = cut(spec)
    set_strides(&c.factors.geometry, xs, outs)
    call.x_n, call.out_n = cnp.PyArray_STRIDE(xs, 0), cnp.PyArray_STRIDE(outs, 0)
    call.x, call.out = <const char*>cnp.PyArray_DATA(xs), <char*>cnp.PyArray_DATA(outs)
    call.bias = <const char*>cnp.PyArray_DATA(biases)
    call.factors = <const char*>cnp.PyArray_DATA(packed_factors)
    call.factors_size = cnp.PyArray_STRIDE(packed_factors, 0)
    c.factors.activation = kind_of(spec.activation)
    c.factors.slope = LEAKY_SLOPE
    tasks = c.tasks
    threads = <int>min(team(threads), tasks)
    memory = take(scratch_of(c[0], threads))
    lay_out(c, <Py_ssize_t*>memory)
    call.scratch = memory + c.offset_bytes
    with nogil:
        if threads == 1:
            for task in range(tasks):
                compute(&call, task, 0)
        else:
            for task in prange(tasks, num_threads=threads, schedule="static"):
                compute(&call, task, threadid())
    give(memory)
