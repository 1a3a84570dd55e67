"""Activations over arrays of any shape and strides, one pass, in place if ``out is x``.

The two arrays are read as nested axes, those of ``out``'s memory from the outermost to the
innermost, and neighbouring axes that both arrays step through evenly become one. So two dense
arrays of the same memory order, whatever it is, are one long run.
"""

cimport cython
from cython.parallel cimport prange

from fastconv.backends.cython.isa cimport Kernels, kernels, team

cimport numpy as cnp

cdef extern from "simd/table.h":
    enum:
        ACT_NONE
        ACT_RELU
        ACT_RELU6
        ACT_LEAKY_RELU
        ACT_SIGMOID
        ACT_TANH
        ACT_SILU
        ACT_HARDSWISH

cdef dict KINDS = {
    None: ACT_NONE,
    "relu": ACT_RELU,
    "relu6": ACT_RELU6,
    "leaky_relu": ACT_LEAKY_RELU,
    "sigmoid": ACT_SIGMOID,
    "tanh": ACT_TANH,
    "silu": ACT_SILU,
    "hardswish": ACT_HARDSWISH,
}

cnp.import_array()

cdef enum:
    MAX_AXES = 64  # NumPy's own limit

# Axes from the outermost to the innermost; strides in elements.
ctypedef struct Walk:
    int axes
    Py_ssize_t size
    Py_ssize_t[MAX_AXES] n
    Py_ssize_t[MAX_AXES] x_stride
    Py_ssize_t[MAX_AXES] out_stride
    char* x
    char* out


cdef int kind_of(str name) except -1:
    return KINDS[name]


def run(spec, cnp.ndarray x not None, cnp.ndarray out not None, int threads):
    """out = activation of x; see :mod:`fastconv.registry`."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef int kind = kind_of(spec.name)
    cdef double slope = spec.slope
    cdef Walk walk
    cdef int part, parts
    with nogil:
        parts = team(threads)
        plan(&walk, x, out, table.itemsize)
        if parts == 1:
            go(table, kind, slope, &walk, 0, walk.size)
        else:
            for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
                go(table, kind, slope, &walk, walk.size * part // parts,
                   walk.size * (part + 1) // parts)


def workspace_bytes(spec, int threads):
    """None is taken."""
    return 0


cdef void plan(Walk* walk, cnp.ndarray x, cnp.ndarray out, int itemsize) noexcept nogil:
    """Sort the axes by the memory of ``out``, forwards, and join what can be joined."""
    cdef int axis, at, last
    cdef Py_ssize_t n, xs, os
    walk.x = <char*> cnp.PyArray_DATA(x)
    walk.out = <char*> cnp.PyArray_DATA(out)
    walk.axes = 0
    walk.size = 1
    for axis in range(cnp.PyArray_NDIM(x)):
        n = cnp.PyArray_DIM(x, axis)
        walk.size *= n
        if n <= 1:
            continue
        xs = cnp.PyArray_STRIDE(x, axis)
        os = cnp.PyArray_STRIDE(out, axis)
        if os < 0:
            walk.x += (n - 1) * xs
            walk.out += (n - 1) * os
            xs, os = -xs, -os
        at = walk.axes
        while at > 0 and walk.out_stride[at - 1] * itemsize < os:
            walk.n[at] = walk.n[at - 1]
            walk.x_stride[at] = walk.x_stride[at - 1]
            walk.out_stride[at] = walk.out_stride[at - 1]
            at -= 1
        walk.n[at] = n
        walk.x_stride[at] = xs // itemsize
        walk.out_stride[at] = os // itemsize
        walk.axes += 1
    if walk.axes == 0:
        walk.axes = 1
        walk.n[0] = walk.size
        walk.x_stride[0] = walk.out_stride[0] = 1
        return
    last = 0
    for axis in range(1, walk.axes):
        n = walk.n[axis]
        if (walk.x_stride[last] != walk.x_stride[axis] * n
                or walk.out_stride[last] != walk.out_stride[axis] * n):
            last += 1
            walk.n[last] = 1
        walk.n[last] *= n
        walk.x_stride[last] = walk.x_stride[axis]
        walk.out_stride[last] = walk.out_stride[axis]
    walk.axes = last + 1


@cython.cdivision(True)
cdef void go(const Kernels* table, int kind, double slope, const Walk* walk, Py_ssize_t begin,
             Py_ssize_t end) noexcept nogil:
    """The elements begin … end − 1 of the walk, in runs along its innermost axis."""
    cdef int inner = walk.axes - 1, axis
    cdef Py_ssize_t n = walk.n[inner], start, run, rest, i
    cdef Py_ssize_t x_at, out_at
    while begin < end:
        start = begin % n
        run = min(n - start, end - begin)
        x_at = start * walk.x_stride[inner]
        out_at = start * walk.out_stride[inner]
        rest = begin // n
        for axis in range(inner - 1, -1, -1):
            i = rest % walk.n[axis]
            rest //= walk.n[axis]
            x_at += i * walk.x_stride[axis]
            out_at += i * walk.out_stride[axis]
        table.elementwise.activation(
            kind, slope, walk.x + x_at * table.itemsize, walk.x_stride[inner],
            walk.out + out_at * table.itemsize, walk.out_stride[inner], run,
        )
        begin += run
