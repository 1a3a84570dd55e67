"""Winograd's convolution F(m, r): the loop over blocks of tiles that its rows share.

What a row brings is m, the side of a tile of outputs; the kernel and the stride give r
(``csrc/simd/winograd.h`` says how strides and dilation become plain convolutions). A block of
tiles is transformed in, multiplied and transformed out while it is in the cache; blocks are what
threads share out. Where these are too few, all threads work on each: first on slabs of input
channels, then on panels of output channels. Every output is computed by the same operations in
the same order whatever the blocks are.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport (
    Geometry, Kernels, TileBlock, Winograd, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take

import numpy as np

from fastconv.backends import winograd as sizes
from fastconv.backends.winograd import transforms
from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64            # bytes of a cache line
    MOST_SIMULATED = 16  # threads whose shares are compared beforehand

# What these mean is said where they stand, for all wings.
cdef Py_ssize_t KEPT_BYTES = sizes.KEPT_BYTES, BLOCK_BYTES = sizes.BLOCK_BYTES
cdef Py_ssize_t LARGE_BLOCK_BYTES = sizes.LARGE_BLOCK_BYTES, CHUNK_BYTES = sizes.CHUNK_BYTES
cdef Py_ssize_t SHORTEST_CHUNK = sizes.SHORTEST_CHUNK, LONGEST_CHUNK = sizes.LONGEST_CHUNK
cdef Py_ssize_t FEWEST = sizes.FEWEST, MOST_COLUMNS = sizes.MOST_COLUMNS, SHARING = sizes.SHARING


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil:
    return ceil_div(nbytes, LINE) * LINE


# ---------------------------------------------------------------- shapes


cdef struct Shape:
    const Kernels* table
    Winograd winograd           # without strides and bases
    Py_ssize_t points           # of a tile
    Py_ssize_t G, slabs         # slabs of all phases
    Py_ssize_t vectors, panels  # of output channels of a group
    Py_ssize_t chunks           # of all phases
    Py_ssize_t chunk_bytes      # of transformed weights
    Py_ssize_t taps_bytes, transformed_bytes  # of a panel


cdef Shape shape_of(Py_ssize_t m, spec):
    cdef Shape s
    cdef Winograd* w = &s.winograd
    cdef Geometry* g = &w.geometry
    cdef Py_ssize_t vector, phases, widest
    s.table = kernels(spec.dtype)
    vector = s.table.width * s.table.itemsize
    g[0] = geometry_of(spec)
    w.m, w.r = m, ceil_div(max(g.KH, g.KW), max(g.SH, g.SW))
    s.points = (w.m + w.r - 1) * (w.m + w.r - 1)
    phases = g.SH * g.SW
    s.G, s.slabs = spec.G, phases * ceil_div(g.IC, s.table.width)
    s.vectors = ceil_div(g.OC, s.table.width)
    s.panels = ceil_div(s.vectors, s.table.winograd.widest)
    if 1 < s.panels < s.vectors:
        s.panels += s.panels % 2  # two threads find as many each
    widest = ceil_div(s.vectors, s.panels)
    w.chunk = LONGEST_CHUNK
    while w.chunk > SHORTEST_CHUNK and s.points * w.chunk * widest * vector > CHUNK_BYTES:
        w.chunk //= 2
    s.chunks = phases * ceil_div(g.IC, w.chunk)
    s.chunk_bytes = s.points * (w.chunk * widest | 1) * vector
    s.taps_bytes = phases * g.IC * w.r * w.r * widest * vector
    s.transformed_bytes = s.chunks * s.chunk_bytes
    w.transformed = s.G * s.panels * s.transformed_bytes <= KEPT_BYTES
    return s


# ---------------------------------------------------------------- weights


cdef class WinogradWeights:
    """Panels of output channels, of the taps or of the transformed weights; or these as they were
    given, for one use."""

    cdef char* panels
    cdef cnp.ndarray given
    cdef object matrix  # G

    def __dealloc__(self):
        give(self.panels)


def pack(Py_ssize_t m, spec, w, int threads):
    """The weights in the order of their use, transformed where that pays."""
    cdef Shape s = shape_of(m, spec)
    cdef cnp.ndarray array = w, G = np.ascontiguousarray(transforms(m, s.winograd.r).G_mat)
    cdef WinogradWeights packed = WinogradWeights.__new__(WinogradWeights)
    cdef const char* source = <const char*>cnp.PyArray_DATA(array)
    cdef char* taps
    cdef Py_ssize_t[4] strides
    cdef Py_ssize_t i, vectors = s.G * s.vectors, chunks = s.G * s.panels * s.chunks
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(array, i) // s.table.itemsize
    threads = team(threads)
    s.winograd.G = <const double*>cnp.PyArray_DATA(G)
    packed.matrix = G
    packed.panels = taps = take(s.G * s.panels * s.taps_bytes)
    with nogil:
        if threads == 1:
            for i in range(vectors):
                pack_vector(&s, i, source, strides, taps)
        else:
            for i in prange(vectors, num_threads=threads, schedule="static"):
                pack_vector(&s, i, source, strides, taps)
    if s.winograd.transformed:
        try:
            packed.panels = take(s.G * s.panels * s.transformed_bytes)
            with nogil:
                if threads == 1:
                    for i in range(chunks):
                        transform_chunk(&s, i, taps, packed.panels)
                else:
                    for i in prange(chunks, num_threads=threads, schedule="static"):
                        transform_chunk(&s, i, taps, packed.panels)
        finally:
            if packed.panels != taps:
                give(taps)
    return packed


def once(Py_ssize_t m, spec, w, int threads):
    """What :func:`pack` returns, or the weights as they are where every block would transform
    them anyway and there is one."""
    cdef Shape s = shape_of(m, spec)
    cdef WinogradWeights given
    if s.winograd.transformed or s.winograd.geometry.SH * s.winograd.geometry.SW > 1:
        return pack(m, spec, w, threads)
    if cut(&s, spec.N, team(threads)).blocks > 1:
        return pack(m, spec, w, threads)
    given = WinogradWeights.__new__(WinogradWeights)
    given.given = w
    given.matrix = np.ascontiguousarray(transforms(m, s.winograd.r).G_mat)
    return given


cdef inline Py_ssize_t first_vector(const Shape* s, Py_ssize_t panel) noexcept nogil:
    return s.vectors * panel // s.panels


cdef void pack_vector(
    const Shape* s, Py_ssize_t i, const char* w, const Py_ssize_t* strides, char* panels,
) noexcept nogil:
    cdef Py_ssize_t VL = s.table.width, size = s.table.itemsize
    cdef Py_ssize_t group = i // s.vectors, vector = i % s.vectors
    cdef Py_ssize_t panel = ((vector + 1) * s.panels - 1) // s.vectors
    cdef Py_ssize_t first = first_vector(s, panel), OC = s.winograd.geometry.OC
    s.table.winograd.pack(
        &s.winograd, min(VL, OC - vector * VL), first_vector(s, panel + 1) - first,
        w + (group * OC + vector * VL) * strides[0] * size, strides,
        panels + (group * s.panels + panel) * s.taps_bytes + (vector - first) * VL * size,
    )


cdef inline Py_ssize_t taps_before(const Shape* s, Py_ssize_t chunk) noexcept nogil:
    """Of the chunks before this one, for one vector."""
    cdef const Winograd* w = &s.winograd
    cdef Py_ssize_t of_phase = ceil_div(w.geometry.IC, w.chunk)
    return (chunk // of_phase * w.geometry.IC + chunk % of_phase * w.chunk) * w.r * w.r


cdef void transform_chunk(
    const Shape* s, Py_ssize_t i, const char* taps, char* panels,
) noexcept nogil:
    cdef Py_ssize_t chunk = i % s.chunks, panel = i // s.chunks
    cdef Py_ssize_t vector = s.table.width * s.table.itemsize
    cdef Py_ssize_t V = (
        first_vector(s, panel % s.panels + 1) - first_vector(s, panel % s.panels)
    )
    s.table.winograd.weights(
        &s.winograd, chunk, V, taps + panel * s.taps_bytes + taps_before(s, chunk) * V * vector,
        panels + panel * s.transformed_bytes
        + chunk * s.points * (s.winograd.chunk * V | 1) * vector,
    )


# ---------------------------------------------------------------- blocks


cdef struct Cutting:
    Py_ssize_t pictures, together      # of all, and those of a block
    Py_ssize_t rows, cols              # tiles of a picture
    Py_ssize_t row_blocks, col_blocks  # of a picture
    Py_ssize_t blocks                  # of a group
    bint shared                        # all threads work on each block
    Py_ssize_t bias_bytes, value_bytes, patch_bytes, scratch_bytes


cdef Cutting cut(Shape* s, Py_ssize_t N, int threads) noexcept:
    """Blocks that fit in the cache, and enough of them to give every thread its share."""
    cdef Cutting c
    cdef Winograd* w = &s.winograd
    cdef Geometry* g = &w.geometry
    cdef Py_ssize_t VL = s.table.width, vector = VL * s.table.itemsize
    cdef Py_ssize_t widest = ceil_div(s.vectors, s.panels)
    cdef Py_ssize_t tiles, budget, most, block_rows, block_cols, height, width
    c.pictures = N * min(g.DH, g.OH) * min(g.DW, g.OW)
    c.rows = ceil_div(ceil_div(g.OH, g.DH), w.m)
    c.cols = ceil_div(ceil_div(g.OW, g.DW), w.m)
    tiles = c.pictures * c.rows * c.cols
    budget = BLOCK_BYTES if w.transformed else LARGE_BLOCK_BYTES
    most = max(FEWEST, budget // (s.points * (s.slabs + widest) * vector))
    most = max(1, min(most, tiles * s.G * s.panels // threads))
    c.together, c.row_blocks, c.col_blocks = 1, 1, 1
    if c.rows * c.cols <= most:
        c.together = ceil_div(c.pictures, ceil_div(c.pictures, most // (c.rows * c.cols)))
    else:
        c.col_blocks = ceil_div(c.cols, min(MOST_COLUMNS, most))
        c.row_blocks = ceil_div(c.rows, max(1, most // ceil_div(c.cols, c.col_blocks)))
    c.blocks = ceil_div(c.pictures, c.together) * c.row_blocks * c.col_blocks
    c.shared = is_better_shared(s, &c, threads)
    block_rows, block_cols = ceil_div(c.rows, c.row_blocks), ceil_div(c.cols, c.col_blocks)
    tiles = c.together * block_rows * block_cols
    w.tile_pitch = tiles | 1
    w.values_pitch = s.slabs * w.tile_pitch | 1
    w.products_pitch = tiles * widest | 1
    height, width = block_rows * w.m + w.r - 1, block_cols * w.m + w.r - 1
    c.bias_bytes = in_lines(s.G * s.vectors * vector)
    c.value_bytes = in_lines(s.points * w.values_pitch * vector)
    c.patch_bytes = in_lines((height + w.m + w.r - 1) * (width | 1) * vector)
    c.scratch_bytes = in_lines(
        (s.points * w.products_pitch + block_rows * block_cols * w.m * w.m) * vector
        + (0 if w.transformed else s.chunk_bytes + w.chunk * w.r * w.r * widest * vector)
    )
    c.scratch_bytes = max(c.scratch_bytes, c.patch_bytes)
    return c


cdef bint is_better_shared(const Shape* s, const Cutting* c, int threads) noexcept:
    """Whether all threads should work on each block: their parts of it, slabs and panels, would
    be more alike than whole blocks are."""
    cdef Py_ssize_t tasks = s.G * c.blocks, i, thread, least, most, all_tiles = 0
    cdef Py_ssize_t[MOST_SIMULATED] loads
    cdef TileBlock b
    if tasks < threads:
        return True
    if threads == 1 or threads > MOST_SIMULATED or tasks > 4 * threads:
        return False
    for thread in range(threads):
        loads[thread] = 0
    for i in range(tasks):  # each is taken by the thread that comes to an end first
        b = block_at(c, (tasks - 1 - i) % c.blocks)
        least = 0
        for thread in range(threads):
            if loads[thread] < loads[least]:
                least = thread
        loads[least] += b.pictures * b.rows * b.cols
        all_tiles += b.pictures * b.rows * b.cols
    most = loads[0]
    for thread in range(threads):
        most = max(most, loads[thread])
    # Of all products one thread does most / all_tiles, or its share of the panels.
    return most * s.panels > SHARING * all_tiles * ceil_div(s.panels, threads) // 16


cdef Py_ssize_t total_bytes(const Shape* s, const Cutting* c, int threads) noexcept:
    cdef Py_ssize_t sets = s.G * c.blocks if c.shared else threads
    return c.bias_bytes + sets * c.value_bytes + threads * c.scratch_bytes


def workspace_bytes(Py_ssize_t m, spec, int threads) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    cdef Shape s = shape_of(m, spec)
    cdef Cutting c = cut(&s, spec.N, threads)
    return total_bytes(&s, &c, threads)


cdef struct Call:
    Shape shape
    Cutting cutting
    const char* x
    const char* weights
    const char* bias
    char* out
    char* values   # of the first block that is being computed
    char* scratch  # of the first thread


cdef TileBlock block_at(const Cutting* c, Py_ssize_t i) noexcept nogil:
    cdef TileBlock b
    cdef Py_ssize_t row, col
    col, i = i % c.col_blocks, i // c.col_blocks
    row, i = i % c.row_blocks, i // c.row_blocks
    b.col = c.cols * col // c.col_blocks
    b.cols = c.cols * (col + 1) // c.col_blocks - b.col
    b.row = c.rows * row // c.row_blocks
    b.rows = c.rows * (row + 1) // c.row_blocks - b.row
    b.picture = i * c.together
    b.pictures = min(c.together, c.pictures - b.picture)
    return b


cdef void values_in(
    const Call* call, Py_ssize_t task, Py_ssize_t slab, char* values, int thread,
) noexcept nogil:
    cdef const Shape* s = &call.shape
    cdef const Geometry* g = &s.winograd.geometry
    cdef TileBlock b = block_at(&call.cutting, task % call.cutting.blocks)
    cdef Py_ssize_t group = task // call.cutting.blocks
    s.table.winograd.input(
        &s.winograd, &b, slab, call.x + group * g.IC * g.x_c * s.table.itemsize, values,
        call.scratch + thread * call.cutting.scratch_bytes,
    )


cdef void pixels_out(
    const Call* call, Py_ssize_t task, Py_ssize_t panel, const char* values, int thread,
) noexcept nogil:
    cdef const Shape* s = &call.shape
    cdef const Geometry* g = &s.winograd.geometry
    cdef TileBlock b = block_at(&call.cutting, task % call.cutting.blocks)
    cdef Py_ssize_t group = task // call.cutting.blocks, size = s.table.itemsize
    cdef Py_ssize_t first = first_vector(s, panel), before
    if s.winograd.given is not NULL:
        before = group * g.OC * s.winograd.given[0] * size
    else:
        before = (group * s.panels + panel) * (
            s.transformed_bytes if s.winograd.transformed else s.taps_bytes
        )
    s.table.winograd.output(
        &s.winograd, &b, first, first_vector(s, panel + 1) - first, values,
        call.weights + before,
        call.bias + group * s.vectors * s.table.width * size,
        call.out + group * g.OC * g.out_c * size,
        call.scratch + thread * call.cutting.scratch_bytes,
    )


cdef void whole_block(const Call* call, Py_ssize_t task, int thread) noexcept nogil:
    cdef char* values = call.values + thread * call.cutting.value_bytes
    cdef Py_ssize_t i
    for i in range(call.shape.slabs):
        values_in(call, task, i, values, thread)
    for i in range(call.shape.panels):
        pixels_out(call, task, i, values, thread)


cdef void slab_of_block(const Call* call, Py_ssize_t i, int thread) noexcept nogil:
    cdef Py_ssize_t task = i // call.shape.slabs
    values_in(call, task, i % call.shape.slabs, call.values + task * call.cutting.value_bytes,
              thread)


cdef void panel_of_block(const Call* call, Py_ssize_t i, int thread) noexcept nogil:
    cdef Py_ssize_t task = i // call.shape.panels
    pixels_out(call, task, i % call.shape.panels, call.values + task * call.cutting.value_bytes,
               thread)


def run(Py_ssize_t m, spec, x, WinogradWeights packed not None, bias, out, int threads,
        bint pooled=False):
    """Write the convolution of x into out; or, of its activated maps, the maxima of windows of
    2×2 side by side."""
    cdef Call call
    cdef Shape* s = &call.shape
    cdef Winograd* w = &s.winograd
    cdef Geometry* g = &w.geometry
    cdef Py_ssize_t tasks, i, slabs, panels, size, vector_bytes
    cdef Py_ssize_t[4] strides
    cdef char* memory
    cdef cnp.ndarray xs = x, outs = out, matrix, biases
    call.shape = shape_of(m, spec)
    size = s.table.itemsize
    threads = team(threads)
    call.cutting = cut(s, spec.N, threads)
    set_strides(g, xs, outs)
    w.x_n, w.out_n = cnp.PyArray_STRIDE(xs, 0) // size, cnp.PyArray_STRIDE(outs, 0) // size
    w.pooled, w.activation, w.slope = pooled, kind_of(spec.activation), LEAKY_SLOPE
    call.x, call.out = <const char*>cnp.PyArray_DATA(xs), <char*>cnp.PyArray_DATA(outs)
    call.weights = packed.panels
    w.given = NULL
    if packed.given is not None:
        call.weights = <const char*>cnp.PyArray_DATA(packed.given)
        for i in range(4):
            strides[i] = cnp.PyArray_STRIDE(packed.given, i) // size
        w.given = strides
    matrix = packed.matrix
    w.G = <const double*>cnp.PyArray_DATA(matrix)
    tasks, slabs, panels = s.G * call.cutting.blocks, s.slabs, s.panels
    memory = take(total_bytes(s, &call.cutting, threads))
    try:
        call.bias = memory
        call.scratch = memory + call.cutting.bias_bytes
        call.values = call.scratch + threads * call.cutting.scratch_bytes
        memset(memory, 0, call.cutting.bias_bytes)
        if bias is not None:
            biases = bias
            vector_bytes = s.vectors * s.table.width * size
            for i in range(s.G):
                memcpy(memory + i * vector_bytes,
                       <char*>cnp.PyArray_DATA(biases) + i * g.OC * size, g.OC * size)
        with nogil:
            if threads == 1:
                for i in range(tasks):
                    whole_block(&call, i, 0)
            elif not call.cutting.shared:
                for i in prange(tasks, num_threads=threads, schedule="dynamic"):
                    whole_block(&call, tasks - 1 - i, threadid())  # large ones first
            else:
                for i in prange(tasks * slabs, num_threads=threads, schedule="dynamic"):
                    slab_of_block(&call, i, threadid())
                for i in prange(tasks * panels, num_threads=threads, schedule="dynamic"):
                    panel_of_block(&call, i, threadid())
    finally:
        give(memory)
