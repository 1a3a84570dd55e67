"""Max unpooling: out is zero but for the values of x, each at its index.

Threads share out whole planes, or groups of channels where these are neighbours in memory,
so that of several values with one index the last in row-major order remains.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastconv.backends.cython.isa cimport team
from fastconv.backends.cython.strides cimport Strides, strides_of

cimport numpy as cnp

cnp.import_array()

# Values are only moved, whatever their type.
ctypedef fused Value:
    uint32_t
    uint64_t

cdef enum:
    GROUP = 16  # channels that are neighbours: a cache line of floats

ctypedef struct Scatter:
    Py_ssize_t C, IH, IW, OH, OW
    Py_ssize_t group, groups
    Strides x, indices, out


def run(spec, cnp.ndarray x not None, cnp.ndarray indices not None, cnp.ndarray out not None,
        int threads):
    """Scatter x into out; see :mod:`fastconv.registry`."""
    if spec.dtype == "float32":
        scatter[uint32_t](spec, <uint32_t*>cnp.PyArray_DATA(x), x, indices,
                          <uint32_t*>cnp.PyArray_DATA(out), out, threads)
    else:
        scatter[uint64_t](spec, <uint64_t*>cnp.PyArray_DATA(x), x, indices,
                          <uint64_t*>cnp.PyArray_DATA(out), out, threads)


def workspace_bytes(spec, int threads) -> int:
    """None is taken."""
    return 0


cdef int scatter(
    spec, const Value* values, cnp.ndarray x, cnp.ndarray indices, Value* to, cnp.ndarray out,
    int threads,
) except -1:
    cdef const int64_t* index = <const int64_t*>cnp.PyArray_DATA(indices)
    cdef Scatter s
    cdef Py_ssize_t items, item
    s.C, s.IH, s.IW, s.OH, s.OW = spec.C, spec.IH, spec.IW, spec.OH, spec.OW
    s.x = strides_of(x, sizeof(Value))
    s.indices = strides_of(indices, sizeof(int64_t))
    s.out = strides_of(out, sizeof(Value))
    s.group = GROUP if s.out.c == 1 else 1
    s.groups = (s.C + s.group - 1) // s.group
    items = spec.N * s.groups
    threads = <int>min(team(threads), items)
    with nogil:
        if threads == 1:
            for item in range(items):
                scatter_group(&s, item, values, index, to)
        else:
            for item in prange(items, num_threads=threads, schedule="static"):
                scatter_group(&s, item, values, index, to)
    return 0


cdef void scatter_group(
    const Scatter* s, Py_ssize_t item, const Value* values, const int64_t* indices, Value* out,
) noexcept nogil:
    """One group of channels of one picture."""
    cdef Py_ssize_t n = item // s.groups, first = item % s.groups * s.group
    cdef Py_ssize_t channels = min(s.group, s.C - first)
    cdef Py_ssize_t h, w, c, x_at, indices_at
    # Without a jump from row to row an index is a distance and needs no division.
    cdef bint even = s.out.h == s.OW * s.out.w
    cdef int64_t index
    values += n * s.x.n + first * s.x.c
    indices += n * s.indices.n + first * s.indices.c
    out += n * s.out.n + first * s.out.c
    fill_zero(s, channels, out)
    for h in range(s.IH):
        for w in range(s.IW):
            x_at = h * s.x.h + w * s.x.w
            indices_at = h * s.indices.h + w * s.indices.w
            for c in range(channels):
                index = indices[indices_at + c * s.indices.c]
                if even:
                    index *= s.out.w
                else:
                    index = index // s.OW * s.out.h + index % s.OW * s.out.w
                out[index + c * s.out.c] = values[x_at + c * s.x.c]


cdef void fill_zero(const Scatter* s, Py_ssize_t channels, Value* out) noexcept nogil:
    cdef Py_ssize_t h, w
    for h in range(s.OH):
        if s.out.w == 1 and channels == 1:
            memset(out + h * s.out.h, 0, s.OW * sizeof(Value))
        else:
            for w in range(s.OW):
                memset(out + h * s.out.h + w * s.out.w, 0, channels * sizeof(Value))
