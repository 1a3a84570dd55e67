"""Winograd's F(4, 4) down the columns of planes: tall kernels on few channels.

``csrc/simd/winograd1d.h`` has the transforms; between them lies a convolution of planes at each
point, which ``csrc/simd/planar.h`` computes. The picture is cut into bands of tiles and blocks of
columns, which threads share out, and all that belongs to one stays in the cache. Every output is
computed by the same operations in the same order whatever the cut is.

A NaN or infinity spreads over the rows of a tile.
"""

import numpy as np

cimport numpy as cnp
from cython.parallel cimport prange, threadid

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport (
    COLUMN_LINES, COLUMN_POINTS, Columns, Geometry, Kernels, Planes, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take

from fastconv.backends.columns import columns_of, weights_at_points
from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64  # bytes of a cache line


def pack(spec, w, int threads):
    """The weights at every point, a group of channels after another, as the planes' kernels walk
    over them."""
    cdef Plan plan = plan_of(spec, 1)
    cdef Planes* planes = &plan.planes
    cdef cnp.ndarray points = weights_at_points(spec, w)
    cdef cnp.ndarray packed = np.empty_like(points)
    cdef Py_ssize_t point_bytes = cnp.PyArray_STRIDE(points, 1), i
    cdef Py_ssize_t[4] strides
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(points, i + 2) // cnp.PyArray_ITEMSIZE(points)
    for i in range(spec.G * COLUMN_POINTS):
        plan.table.planar.pack(
            &planes.geometry, planes.blocks, <char*>cnp.PyArray_DATA(points) + i * point_bytes,
            strides, <char*>cnp.PyArray_DATA(packed) + i * point_bytes,
        )
    return packed


# ---------------------------------------------------------------- cutting


cdef struct Plan:
    const Kernels* table
    Columns columns
    Planes planes              # at all points of one group's task
    Py_ssize_t G, bands, blocks, tiles, tasks  # tiles of a column
    Py_ssize_t values, products, lines     # bytes
    Py_ssize_t scratch                     # of each thread
    const char* x
    const char* weights
    const char* bias
    char* out
    Py_ssize_t x_n, out_n, group_weights   # bytes


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef Plan plan_of(spec, int threads) except *:
    """As ``fastconv/backends/columns.py`` cuts it."""
    cdef Plan p
    cdef Columns* c = &p.columns
    cdef Py_ssize_t size
    p.table = kernels(spec.dtype)
    size = p.table.itemsize
    c.geometry = geometry_of(spec)
    g = &c.geometry
    cut = columns_of(spec, 8 * size * p.table.width, threads)
    c.groups, c.tiles, c.cols = cut.groups, cut.tiles, cut.cols
    c.values_row, c.values_plane = cut.values_row, cut.values_plane
    c.products_row, c.products_plane = cut.products_row, cut.products_plane
    p.G, p.bands, p.blocks, p.tiles = spec.G, cut.bands, cut.blocks, cut.all_tiles
    p.tasks = cut.tasks
    set_planes(&p)
    p.values = COLUMN_POINTS * g.IC * c.values_plane * size
    p.products = COLUMN_POINTS * g.OC * c.products_plane * size
    p.lines = COLUMN_LINES * c.values_row * size
    p.scratch = p.values + p.products + p.lines + ceil_div(
        p.table.planar.scratch(&p.planes), LINE
    ) * LINE
    return p


cdef void set_planes(Plan* p) noexcept nogil:
    """The points are groups of a convolution without padding, on whole vectors."""
    cdef const Columns* c = &p.columns
    cdef const Geometry* g = &c.geometry
    cdef Planes* planes = &p.planes
    cdef Geometry* of = &planes.geometry
    of.IC, of.OC = g.IC, g.OC
    of.KH, of.KW, of.SH, of.SW, of.DH, of.DW = c.groups, g.KW, 1, 1, 1, g.DW
    of.PT, of.PL = 0, 0
    of.x_c, of.x_h, of.x_w = c.values_plane, c.values_row, 1
    of.out_c, of.out_h, of.out_w = c.products_plane, c.products_row, 1
    planes.N, planes.G, planes.chunks = 1, COLUMN_POINTS, 1
    planes.blocks = ceil_div(g.OC, p.table.planar.together)
    planes.x_n, planes.out_n = 0, 0
    planes.activation, planes.slope = 0, 0
    planes.bias = planes.zeros = NULL  # no row is outside
    fit_planes(p, planes, c.tiles, c.cols)


cdef inline void fit_planes(
    const Plan* p, Planes* planes, Py_ssize_t tiles, Py_ssize_t cols,
) noexcept nogil:
    cdef Geometry* of = &planes.geometry
    cdef Py_ssize_t width = p.table.width
    of.OH, of.IH = tiles, tiles + p.columns.groups - 1
    of.OW = ceil_div(cols, width) * width
    of.IW = of.OW + (of.KW - 1) * of.DW


# ---------------------------------------------------------------- computing


cdef void compute(const Plan* p, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Columns* c = &p.columns
    cdef const Geometry* g = &c.geometry
    cdef Planes planes = p.planes
    cdef Py_ssize_t size = p.table.itemsize, band, block, group, col, cols, tile, tiles
    cdef char* values = scratch
    cdef char* products = values + p.values
    cdef char* lines = products + p.products
    band, task = task % p.bands, task // p.bands
    block, task = task % p.blocks, task // p.blocks
    group, task = task % p.G, task // p.G
    col, tile = block * c.cols, band * c.tiles
    cols, tiles = min(c.cols, g.OW - col), min(c.tiles, p.tiles - tile)
    p.table.columns.input(
        c, p.x + task * p.x_n + group * g.IC * g.x_c * size, tile, tiles, col, cols, values, lines,
    )
    fit_planes(p, &planes, tiles, cols)
    planes.x, planes.out = values, products
    planes.weights = p.weights + group * p.group_weights
    p.table.planar.run(&planes, 0, COLUMN_POINTS * planes.blocks, lines + p.lines)
    p.table.columns.output(
        c, products, p.bias + group * g.OC * size if p.bias is not NULL else NULL, tile, tiles,
        col, cols, p.out + task * p.out_n + group * g.OC * g.out_c * size, lines,
    )


def run(spec, cnp.ndarray x not None, cnp.ndarray packed not None, bias,
        cnp.ndarray out not None, int threads):
    """Write the convolution of x into out."""
    cdef Py_ssize_t task, tasks
    cdef cnp.ndarray biases
    cdef char* memory
    threads = team(threads)
    cdef Plan p = plan_of(spec, threads)
    set_strides(&p.columns.geometry, x, out)
    p.x_n, p.out_n = cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(out, 0)
    p.x, p.out = <const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out)
    p.weights, p.group_weights = <const char*>cnp.PyArray_DATA(packed), cnp.PyArray_STRIDE(packed, 0)
    p.bias = NULL
    if bias is not None:
        biases = bias
        p.bias = <const char*>cnp.PyArray_DATA(biases)
    p.columns.activation, p.columns.slope = kind_of(spec.activation), LEAKY_SLOPE
    tasks = p.tasks
    threads = <int>min(threads, tasks)
    memory = take(threads * p.scratch)
    with nogil:
        if threads == 1:
            for task in range(tasks):
                compute(&p, task, memory)
        else:
            for task in prange(tasks, num_threads=threads, schedule="static"):
                compute(&p, task, memory + threadid() * p.scratch)
    give(memory)


def workspace_bytes(spec, int threads) -> int:
    """Values, products and lines of each thread's band."""
    cdef Plan p = plan_of(spec, threads)
    return min(threads, p.tasks) * p.scratch
