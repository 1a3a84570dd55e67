"""Convolution of planes: depthwise layers, pictures, groups of few channels.

Each group has few channels, so vectors run along the pixels of a row, which are read where they
lie (``csrc/simd/planar.h``). Threads share out the planes, and strips of rows where the planes are
few; whoever computes a cell adds its terms in the same order.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.string cimport memset

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of
from fastconv.backends.cython.isa cimport Geometry, Kernels, Planes, kernels, team
from fastconv.backends.cython.memory cimport give, take

from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64   # bytes of a cache line
    SHARE = 4   # work items that a thread should find, at least
    CHUNK = 16  # rows of a work item, at least


cdef class PackedPlanes:
    """The weights of every group, in the order in which the tiles walk over them."""

    cdef char* memory

    def __dealloc__(self):
        give(self.memory)


def pack(spec, cnp.ndarray w not None, int threads):
    """Output channels of a group in blocks, and each block's weights side by side."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Py_ssize_t size = table.itemsize, group
    cdef Py_ssize_t[4] strides
    cdef PackedPlanes packed = PackedPlanes.__new__(PackedPlanes)
    cdef Planes planes
    cdef int i
    set_geometry(&planes, spec, table)
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(w, i) // size
    packed.memory = take(cnp.PyArray_SIZE(w) * size)
    for group in range(planes.G):
        table.planar.pack(
            &planes.geometry, planes.blocks,
            <char*>cnp.PyArray_DATA(w) + group * planes.geometry.OC * strides[0] * size, strides,
            packed.memory + group * cnp.PyArray_SIZE(w) // planes.G * size,
        )
    return packed


def run(spec, cnp.ndarray x not None, PackedPlanes packed not None, bias, cnp.ndarray out not None,
        int threads):
    """Write the convolution of x into out."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Planes planes
    cdef Py_ssize_t zeros, scratch, items
    cdef cnp.ndarray biases
    cdef char* memory
    cdef int part, parts
    threads = team(threads)
    set_geometry(&planes, spec, table)
    set_chunks(&planes, threads)
    set_arrays(&planes, x, out, table.itemsize)
    planes.weights = packed.memory
    planes.bias = NULL
    if bias is not None:
        biases = bias
        planes.bias = cnp.PyArray_DATA(biases)
    planes.activation = kind_of(spec.activation)
    planes.slope = LEAKY_SLOPE
    items = planes.N * planes.G * planes.blocks * planes.chunks
    parts = <int>min(threads, items)
    zeros = in_lines(table.planar.zero_cells(&planes.geometry) * table.itemsize)
    scratch = in_lines(table.planar.scratch(&planes)) + LINE
    memory = take(zeros + parts * scratch)
    memset(memory, 0, zeros)
    planes.zeros = memory
    try:
        with nogil:
            if parts == 1:
                table.planar.run(&planes, 0, items, memory + zeros)
            else:
                for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
                    table.planar.run(&planes, items * part // parts, items * (part + 1) // parts,
                                     memory + zeros + part * scratch)
    finally:
        give(memory)


def workspace_bytes(spec, int threads) -> int:
    """A row of zeros, and for each thread the patch at the border that it works on."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Planes planes
    cdef Py_ssize_t scratch = 0, x_w
    set_geometry(&planes, spec, table)
    planes.geometry.out_w = 0
    for x_w in range(2):  # whatever it will be, this is enough
        planes.geometry.x_w = x_w
        scratch = max(scratch, in_lines(table.planar.scratch(&planes)) + LINE)
    return in_lines(table.planar.zero_cells(&planes.geometry) * table.itemsize) + threads * scratch


cdef inline Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil:
    return (nbytes + LINE - 1) // LINE * LINE


cdef int set_geometry(Planes* planes, spec, const Kernels* table) except -1:
    cdef Geometry* g = &planes.geometry
    g[0] = geometry_of(spec)
    planes.N, planes.G, planes.chunks = spec.N, spec.G, 1
    planes.blocks = (g.OC + table.planar.together - 1) // table.planar.together
    return 0


cdef void set_chunks(Planes* planes, int threads) noexcept:
    """Rows are divided where there are too few planes for the threads."""
    cdef Py_ssize_t others = planes.N * planes.G * planes.blocks
    if threads > 1 and others < SHARE * threads:
        planes.chunks = (SHARE * threads + others - 1) // others
        planes.chunks = max(1, min(planes.chunks, planes.geometry.OH // CHUNK))


cdef void set_arrays(Planes* planes, cnp.ndarray x, cnp.ndarray out, Py_ssize_t size) noexcept:
    cdef Geometry* g = &planes.geometry
    planes.x, planes.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    planes.x_n = cnp.PyArray_STRIDE(x, 0) // size
    g.x_c = cnp.PyArray_STRIDE(x, 1) // size
    g.x_h = cnp.PyArray_STRIDE(x, 2) // size
    g.x_w = cnp.PyArray_STRIDE(x, 3) // size
    planes.out_n = cnp.PyArray_STRIDE(out, 0) // size
    g.out_c = cnp.PyArray_STRIDE(out, 1) // size
    g.out_h = cnp.PyArray_STRIDE(out, 2) // size
    g.out_w = cnp.PyArray_STRIDE(out, 3) // size
