"""Winograd's F(4×4, 3×3) with tiles in the lanes: 3×3 kernels on few input channels.

``csrc/simd/winograd_planar.h`` computes a row of tiles from the picture to its outputs. Rows, cut
into blocks of columns whose transformed inputs stay in the first cache, are what threads share
out. Every output is computed by the same operations in the same order whatever the cut is.

A NaN or infinity spreads over its tiles.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport (
    FAR_BYTES, Geometry, Kernels, TileRows, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take

from fastconv.backends.tile_rows import TileWeights, tile_rows_of
from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64   # bytes of a cache line
    FILLED = 2  # channels must fill more than one of so many parts of a vector


def pack(spec, w, int threads):
    """The transformed weights."""
    return TileWeights(w, spec.G)


cdef struct Plan:
    const Kernels* table
    TileRows tiles
    Py_ssize_t G, rows, vectors, blocks, tasks  # vectors of tiles in a row, and blocks of them
    Py_ssize_t together                         # rows of a task
    Py_ssize_t scratch                          # bytes of each thread
    Py_ssize_t x_n, out_n, weights_group        # bytes
    const char* x
    const char* weights
    const char* bias
    char* out


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef Plan plan_of(spec, bint pooled, bint narrow) except *:
    """As ``fastconv/backends/tile_rows.py`` cuts it."""
    cdef Plan p
    cdef Geometry* g = &p.tiles.geometry
    cdef Py_ssize_t results
    p.table = kernels(spec.dtype)
    g[0] = geometry_of(spec)
    cut = tile_rows_of(spec, 8 * p.table.itemsize * p.table.width, narrow)
    p.G, p.rows, p.vectors, p.blocks = spec.G, cut.rows, cut.vectors, cut.blocks
    p.tiles.vectors, p.tasks = cut.most, cut.tasks
    p.together, p.tiles.lanes = cut.together, cut.lanes
    p.tiles.pooled = pooled
    results = (g.OH // 2) * (g.OW // 2) if pooled else g.OH * g.OW
    p.tiles.past = spec.N * spec.OC * results * p.table.itemsize >= FAR_BYTES
    p.scratch = ceil_div(p.table.tile_rows.scratch(&p.tiles), LINE) * LINE
    return p


cdef void compute(const Plan* p, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Geometry* g = &p.tiles.geometry
    cdef Py_ssize_t size = p.table.itemsize, block, row, rows, group, first, vectors
    block, task = task % p.blocks, task // p.blocks
    rows = ceil_div(p.rows, p.together)
    row, task = task % rows * p.together, task // rows
    group, task = task % p.G, task // p.G
    rows = min(p.together, p.rows - row)
    first = p.vectors * block // p.blocks
    vectors = p.vectors * (block + 1) // p.blocks - first
    if p.tiles.lanes:
        vectors = ceil_div(rows * p.tiles.lanes, p.table.width)
    p.table.tile_rows.run(
        &p.tiles, p.x + task * p.x_n + group * g.IC * g.x_c * size,
        p.weights + group * p.weights_group,
        p.bias + group * g.OC * size if p.bias is not NULL else NULL,
        p.out + task * p.out_n + group * g.OC * g.out_c * size, row, rows, first, vectors,
        scratch,
    )


def run(spec, cnp.ndarray x not None, packed, bias, cnp.ndarray out not None, int threads,
        bint pooled=False):
    """Write the convolution of x into out; or, of its activated maps, the maxima of windows of
    2×2 side by side."""
    cdef Py_ssize_t task, tasks
    cdef cnp.ndarray biases, weights
    cdef char* memory
    cdef Plan p = plan_of(spec, pooled, is_row(out))
    cdef Geometry* g = &p.tiles.geometry
    set_strides(g, x, out)
    p.x_n, p.out_n = cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(out, 0)
    p.x, p.out = <const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out)
    p.tiles.along_channels = g.out_c == 1 and g.out_w != 1 and FILLED * g.OC >= p.table.width
    weights = packed.along_channels(p.table.width) if p.tiles.along_channels else packed.points
    p.weights = <const char*>cnp.PyArray_DATA(weights)
    p.weights_group = cnp.PyArray_NBYTES(weights) // p.G
    p.bias = NULL
    if bias is not None:
        biases = bias
        p.bias = <const char*>cnp.PyArray_DATA(biases)
    p.tiles.activation, p.tiles.slope = kind_of(spec.activation), LEAKY_SLOPE
    tasks = p.tasks
    threads = <int>min(team(threads), tasks)
    memory = take(threads * p.scratch)
    with nogil:
        if threads == 1:
            for task in range(tasks):
                compute(&p, task, memory)
        else:
            for task in prange(tasks, num_threads=threads, schedule="static"):
                compute(&p, task, memory + threadid() * p.scratch)
    give(memory)


cdef inline bint is_row(cnp.ndarray out):
    """Whether pixels lie side by side: there narrow maps may share vectors."""
    return cnp.PyArray_STRIDE(out, 3) == cnp.PyArray_ITEMSIZE(out)


def workspace_bytes(spec, int threads) -> int:
    """Transformed inputs, the rows that they come from, and a vector of channels, for results in
    any memory order."""
    cdef Plan wide = plan_of(spec, False, False), narrow = plan_of(spec, False, True)
    return max(min(threads, wide.tasks) * wide.scratch, min(threads, narrow.tasks) * narrow.scratch)
