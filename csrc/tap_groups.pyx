"""Winograd's convolution by groups of taps: large kernels on few channels.

Its rows say along how many axes: ``csrc/simd/winograd1d.h`` has the transforms down the columns,
``csrc/simd/winograd2d.h`` those of both. Between them lies a convolution of planes at each point,
which ``csrc/simd/planar.h`` computes. The picture is cut into bands of tiles and blocks of
columns, which threads share out, and all that belongs to one stays in the cache. Every output is
computed by the same operations in the same order whatever the cut is.
"""

import numpy as np

cimport numpy as cnp
from cython.parallel cimport prange, threadid

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport (
    Geometry, Kernels, Planes, TapGroupKernels, TapGroups, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take

from fastconv.backends.tap_groups import BOTH, tap_groups_of, weights_at_points
from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64  # bytes of a cache line


def pack(int axes, spec, w, int threads):
    """The weights at every point, a group of channels after another, as the planes' kernels walk
    over them."""
    cdef Plan plan = plan_of(axes, spec, 1)
    cdef Planes* planes = &plan.planes
    cdef cnp.ndarray points = weights_at_points(spec, axes, w)
    cdef cnp.ndarray packed = np.empty_like(points)
    cdef Py_ssize_t point_bytes = cnp.PyArray_STRIDE(points, 1), i
    cdef Py_ssize_t[4] strides
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(points, i + 2) // cnp.PyArray_ITEMSIZE(points)
    for i in range(spec.G * plan.points):
        plan.table.planar.pack(
            &planes.geometry, planes.blocks, <char*>cnp.PyArray_DATA(points) + i * point_bytes,
            strides, <char*>cnp.PyArray_DATA(packed) + i * point_bytes,
        )
    return packed


# ---------------------------------------------------------------- cutting


cdef struct Plan:
    const Kernels* table
    const TapGroupKernels* transforms
    TapGroups groups
    Planes planes              # at all points of one group's task
    Py_ssize_t points                      # of all transformed axes
    Py_ssize_t G, bands, blocks, tiles, cols, tasks  # tiles of a column, and of a row
    Py_ssize_t values, products, lines     # bytes
    Py_ssize_t scratch                     # of each thread
    const char* x
    const char* weights
    const char* bias
    char* out
    Py_ssize_t x_n, out_n, group_weights   # bytes


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef Plan plan_of(int axes, spec, int threads) except *:
    """As ``fastconv/backends/tap_groups.py`` cuts it."""
    cdef Plan p
    cdef TapGroups* c = &p.groups
    cdef Py_ssize_t size
    p.table = kernels(spec.dtype)
    p.transforms = p.table.winograd2d if axes == BOTH else p.table.winograd1d
    size = p.table.itemsize
    c.geometry = geometry_of(spec)
    g = &c.geometry
    cut = tap_groups_of(spec, axes, 8 * size * p.table.width, threads)
    c.down, c.across, c.tiles, c.cols = cut.down, cut.across, cut.tiles, cut.cols
    c.values_row, c.values_plane = cut.values_row, cut.values_plane
    c.products_row, c.products_plane = cut.products_row, cut.products_plane
    p.points, p.G, p.tasks = cut.points, spec.G, cut.tasks
    p.bands, p.blocks, p.tiles, p.cols = cut.bands, cut.blocks, cut.all_tiles, cut.all_cols
    set_planes(&p)
    p.values = p.points * g.IC * c.values_plane * size
    p.products = p.points * g.OC * c.products_plane * size
    p.lines = p.transforms.lines * c.values_row * size
    p.scratch = p.values + p.products + p.lines + scratch_of_planes(&p)
    return p


cdef Py_ssize_t scratch_of_planes(Plan* p) noexcept nogil:
    """Of whole blocks, or of the last one: narrow rows go in taller slabs."""
    cdef Py_ssize_t whole = p.table.planar.scratch(&p.planes), last
    fit_planes(p, &p.planes, p.groups.tiles, p.cols - (p.blocks - 1) * p.groups.cols)
    last = p.table.planar.scratch(&p.planes)
    return ceil_div(max(whole, last), LINE) * LINE


cdef void set_planes(Plan* p) noexcept nogil:
    """The points are groups of a convolution without padding, on whole vectors."""
    cdef const TapGroups* c = &p.groups
    cdef const Geometry* g = &c.geometry
    cdef Planes* planes = &p.planes
    cdef Geometry* of = &planes.geometry
    of.IC, of.OC = g.IC, g.OC
    of.KH, of.KW, of.SH, of.SW, of.DH, of.DW = c.down, c.across, 1, 1, 1, g.DW
    of.PT, of.PL = 0, 0
    of.x_c, of.x_h, of.x_w = c.values_plane, c.values_row, 1
    of.out_c, of.out_h, of.out_w = c.products_plane, c.products_row, 1
    planes.N, planes.G, planes.chunks = 1, p.points, 1
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
    of.OH, of.IH = tiles, tiles + p.groups.down - 1
    of.OW = ceil_div(cols, width) * width
    of.IW = of.OW + (of.KW - 1) * of.DW


# ---------------------------------------------------------------- computing


cdef void compute(const Plan* p, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const TapGroups* c = &p.groups
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
    cols, tiles = min(c.cols, p.cols - col), min(c.tiles, p.tiles - tile)
    p.transforms.input(
        c, p.x + task * p.x_n + group * g.IC * g.x_c * size, tile, tiles, col, cols, values, lines,
    )
    fit_planes(p, &planes, tiles, cols)
    planes.x, planes.out = values, products
    planes.weights = p.weights + group * p.group_weights
    p.table.planar.run(&planes, 0, p.points * planes.blocks, lines + p.lines)
    p.transforms.output(
        c, products, p.bias + group * g.OC * size if p.bias is not NULL else NULL, tile, tiles,
        col, cols, p.out + task * p.out_n + group * g.OC * g.out_c * size, lines,
    )


def run(int axes, spec, cnp.ndarray x not None, cnp.ndarray packed not None, bias,
        cnp.ndarray out not None, int threads):
    """Write the convolution of x into out."""
    cdef Py_ssize_t task, tasks
    cdef cnp.ndarray biases
    cdef char* memory
    threads = team(threads)
    cdef Plan p = plan_of(axes, spec, threads)
    set_strides(&p.groups.geometry, x, out)
    p.x_n, p.out_n = cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(out, 0)
    p.x, p.out = <const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out)
    p.weights = <const char*>cnp.PyArray_DATA(packed)
    p.group_weights = cnp.PyArray_STRIDE(packed, 0)
    p.bias = NULL
    if bias is not None:
        biases = bias
        p.bias = <const char*>cnp.PyArray_DATA(biases)
    p.groups.activation, p.groups.slope = kind_of(spec.activation), LEAKY_SLOPE
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


def workspace_bytes(int axes, spec, int threads) -> int:
    """Values, products and lines of each thread's band."""
    cdef Plan p = plan_of(axes, spec, threads)
    return min(threads, p.tasks) * p.scratch
