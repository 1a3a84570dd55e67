"""What the convolutions share: packed weights, and the loop over blocks of output pixels.

A block is a rectangle of output pixels of one image and some output channels: those of one
group, or several whole groups where these are small. Its pixels are gathered
(``csrc/simd/conv.h``) for some input channels at a time and multiplied; the sums wait in scratch
memory until the last input channel. Blocks are what threads share out: one is computed by one
thread, in the same order of terms whatever its size.
"""

cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.isa cimport (
    Block, Gather, Gathering, Geometry, Kernels, kernels, team,
)

from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64               # bytes of a cache line
    GATHERED = 192 * 1024   # bytes of the second cache for what a block gathers,
    WEIGHTS = 320 * 1024    # for the weights that meet it
    SUMS = 256 * 1024       # and for its sums
    PIXELS = 256            # enough pixels to make gathering and weights worth loading
    WIDEST_BLOCK = 512      # columns of a block of a wide picture
    MOST_CHANNELS = 256     # output channels of a block
    MANY_GROUPS = 16        # groups worth gathering together where channels lie side by side
    REACH = 8               # vectors that a tile may read beyond the last pixel (LARGEST_V)


# ---------------------------------------------------------------- memory


cdef struct Memory:
    void* base
    char* start  # on a cache line


cdef Memory allocate(Py_ssize_t nbytes) except *:
    cdef Memory memory
    memory.base = PyMem_RawMalloc(nbytes + LINE)
    if memory.base is NULL:
        raise MemoryError(f"no memory for {nbytes} bytes of packed weights or scratch")
    memory.start = <char*>((<uintptr_t>memory.base + LINE - 1) // LINE * LINE)
    return memory


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil:
    return ceil_div(nbytes, LINE) * LINE


# ---------------------------------------------------------------- geometry and weights


cdef Geometry geometry_of(spec):
    cdef Geometry g
    g.IC, g.IH, g.IW = spec.IC // spec.G, spec.IH, spec.IW
    g.OC, g.OH, g.OW = spec.OC // spec.G, spec.OH, spec.OW
    g.KH, g.KW, g.SH, g.SW = spec.KH, spec.KW, spec.SH, spec.SW
    g.DH, g.DW, g.PT, g.PL = spec.DH, spec.DW, spec.PT, spec.PL
    g.x_c = g.x_h = g.x_w = g.out_c = g.out_h = g.out_w = 0
    return g


cdef inline Py_ssize_t panel_width(const Kernels* table, Py_ssize_t OC) noexcept nogil:
    """Few channels get a narrow panel, where vectors cannot run along the channels."""
    return OC if OC <= table.panel // 2 else table.panel


cdef class PackedWeights:
    def __dealloc__(self):
        PyMem_RawFree(self.memory)


cdef PackedWeights pack_weights(spec, w, int threads):
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry g = geometry_of(spec)
    cdef Py_ssize_t size = table.itemsize
    cdef Py_ssize_t width = panel_width(table, g.OC)
    cdef Py_ssize_t panels = ceil_div(g.OC, width)
    cdef Py_ssize_t panel_size = g.IC * g.KH * g.KW * width
    cdef Py_ssize_t count = spec.G * panels
    cdef cnp.ndarray array = w
    cdef const char* source = <const char*>cnp.PyArray_DATA(array)
    cdef Py_ssize_t[4] strides
    cdef PackedWeights packed = PackedWeights.__new__(PackedWeights)
    cdef Memory memory = allocate(count * panel_size * size)
    cdef Py_ssize_t i
    packed.memory = memory.base
    packed.panels = memory.start
    packed.panel_width, packed.panel_size = width, panel_size
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(array, i) // size
    threads = <int>min(team(threads), count)
    with nogil:
        if threads == 1:
            for i in range(count):
                pack_one(table, &g, width, panels, i, source, strides, memory.start)
        else:
            for i in prange(count, num_threads=threads, schedule="static"):
                pack_one(table, &g, width, panels, i, source, strides, memory.start)
    return packed


cdef void pack_one(
    const Kernels* table, const Geometry* g, Py_ssize_t width, Py_ssize_t panels, Py_ssize_t i,
    const char* w, const Py_ssize_t* strides, char* packed,
) noexcept nogil:
    cdef Py_ssize_t oc = i % panels * width
    table.pack_panel(
        g, min(width, g.OC - oc), width,
        w + (i // panels * g.OC + oc) * strides[0] * table.itemsize, strides,
        packed + i * g.IC * g.KH * g.KW * width * table.itemsize,
    )


# ---------------------------------------------------------------- cutting into blocks


cdef struct Cutting:
    Gathering gathering
    bint pixel_vectors
    bint group_panels  # a block spans several groups, each of one narrow panel
    Py_ssize_t N, G    # G is 1 then
    Py_ssize_t row_blocks, col_blocks, channel_blocks  # of one image and group
    Py_ssize_t panels  # of a group
    Py_ssize_t terms   # gathered at a time
    Py_ssize_t tasks
    Py_ssize_t pixel_bytes, sums_bytes, offset_bytes, bias_bytes


cdef double lanes_along_pixels(const Kernels* table, const Geometry* g, Py_ssize_t gap) noexcept:
    """Lanes per image and term when vectors run along rows of pixels that lie gap apart."""
    cdef Py_ssize_t pixels = (g.OH - 1) * (g.OW + gap) + g.OW
    return <double>g.OC * ceil_div(pixels, table.width) * table.width


cdef double lanes_along_channels(const Kernels* table, const Geometry* g) noexcept:
    """The same for vectors along channels; one pixel alone does not fill the arithmetic units."""
    cdef double lanes = <double>g.OH * g.OW * ceil_div(g.OC, table.panel) * table.panel
    return lanes * 2 if g.OW == 1 else lanes


cdef bint prefers_pixels(
    const Kernels* table, const Geometry* g, Py_ssize_t gap, bint channels_last,
) noexcept:
    """Whether vectors should run along pixels: fewer idle lanes, and results that need not be
    turned, which costs about as much as one more term on every lane of a vector."""
    cdef double turning
    if panel_width(table, g.OC) < table.panel:
        return True
    turning = <double>g.OC * g.OH * g.OW * table.width / (g.IC * g.KH * g.KW)
    return (
        lanes_along_pixels(table, g, gap) + (turning if channels_last else 0)
        <= lanes_along_channels(table, g) + (0 if channels_last else turning)
    )


cdef Cutting cut(bint direct, spec, int threads):
    """Blocks that suit the caches and give every thread its share."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry g = geometry_of(spec)
    cdef Cutting c
    cdef bint channels_last = spec.layout == "NHWC"
    cdef Py_ssize_t size = table.itemsize
    cdef Py_ssize_t taps = g.KH * g.KW, all_terms = g.IC * taps
    cdef Py_ssize_t reach_h = (g.KH - 1) * g.DH // g.SH if direct else 0
    cdef Py_ssize_t reach_w = (g.KW - 1) * g.DW // g.SW if direct else 0
    cdef Py_ssize_t width = panel_width(table, g.OC)
    cdef Py_ssize_t cols, rows, wanted, row_bytes, plane, planes, ics, per_block, sums

    c.N, c.G, c.panels = spec.N, spec.G, ceil_div(g.OC, width)
    c.gathering.slots_h = min(g.KH, g.SH // gcd(g.SH, g.DH))
    c.gathering.slots_w = min(g.KW, g.SW // gcd(g.SW, g.DW))
    c.col_blocks = ceil_div(g.OW, WIDEST_BLOCK if direct else PIXELS)
    cols = ceil_div(g.OW, c.col_blocks)
    c.gathering.pitch = cols + reach_w
    c.pixel_vectors = prefers_pixels(table, &g, reach_w, channels_last)

    # Rows of pixels for which all input channels fit are too few at some depth: then fewer input
    # channels at a time. Along pixels every group of vectors meets all weights again, which
    # should stay in the cache too. Small groups share a block instead.
    per_block = ceil_div(c.panels, ceil_div(c.panels, max(MOST_CHANNELS // width, 1)))
    row_bytes = c.gathering.pitch * size * (
        c.gathering.slots_h * c.gathering.slots_w if direct else taps
    )
    wanted = min(g.OH, ceil_div(PIXELS, cols))
    ics = g.IC
    planes = g.IC
    c.group_panels = c.G > 1 and width < table.panel and fitting(ics, row_bytes) >= wanted + reach_h
    if c.group_panels:
        c.G, c.panels = 1, c.G
        if channels_last:
            planes *= min(c.panels, MANY_GROUPS, fitting(ics * (wanted + reach_h), row_bytes))
    else:
        if c.pixel_vectors and g.OH * g.OW > PIXELS // 4:
            ics = max(1, min(ics, WEIGHTS // (per_block * width * taps * size)))
        while ics > 1 and fitting(ics, row_bytes) < wanted + reach_h:
            ics = ceil_div(ics, 2)
        planes = ics
    rows = fitting(planes, row_bytes) - reach_h
    c.terms = ics * taps
    if not direct and rows < 1:  # the columns of one channel are too many
        c.terms = max(1, GATHERED // (cols * size))
    if c.group_panels:
        plane = min(g.OH, rows) + reach_h
        per_block = min(c.panels, max(1, fitting(ics * plane, row_bytes)), MOST_CHANNELS)
    if c.pixel_vectors or c.terms < all_terms:
        sums = c.gathering.pitch * per_block * width * size
    else:
        sums = cols * 4 * table.width * size
    rows = max(1, min(rows, g.OH, SUMS // sums))
    c.row_blocks = ceil_div(g.OH, rows)
    c.channel_blocks = ceil_div(c.panels, per_block)
    share_out(&c, &g, cols, threads)
    rows = ceil_div(g.OH, c.row_blocks)
    per_block = ceil_div(c.panels, c.channel_blocks)
    c.tasks = c.N * c.G * c.channel_blocks * c.row_blocks * c.col_blocks

    # Distances between planes are odd numbers of cache lines: powers of two would make
    # neighbours push each other out of the cache.
    c.gathering.rows = rows
    plane = (rows + reach_h) * (row_bytes if direct else cols * size)
    plane = (ceil_div(plane, LINE) | 1) * LINE
    c.gathering.plane = plane // size
    planes = c.terms // taps if direct else c.terms
    if c.group_panels:
        planes *= per_block
    c.pixel_bytes = in_lines(planes * plane + REACH * table.width * size)
    sums = rows * c.gathering.pitch + table.width
    if c.pixel_vectors or c.terms < all_terms:
        c.sums_bytes = in_lines(sums * per_block * width * size)
    else:
        c.sums_bytes = in_lines(sums * 4 * table.width * size)
    c.offset_bytes = in_lines(c.terms * sizeof(Py_ssize_t))
    c.bias_bytes = in_lines(c.G * c.panels * width * size)
    return c


cdef inline Py_ssize_t fitting(Py_ssize_t n, Py_ssize_t nbytes) noexcept nogil:
    """How many times n pieces of nbytes fit into the share of what a block gathers."""
    return GATHERED // (n * nbytes)


cdef void share_out(Cutting* c, const Geometry* g, Py_ssize_t cols, int threads) noexcept:
    """Where there are few blocks, cut finer until the threads have equal numbers of them:
    rows first, output channels where that would leave too few pixels."""
    cdef Py_ssize_t others, more
    if threads == 1:
        return
    others = c.N * c.G * c.col_blocks * c.channel_blocks
    if others * c.row_blocks >= 4 * threads:
        return
    for more in range(c.row_blocks, min(c.row_blocks + threads, g.OH + 1)):
        if others * more % threads == 0 and ceil_div(g.OH, more) * cols >= PIXELS // 4:
            c.row_blocks = more
            return
    others = c.N * c.G * c.col_blocks * c.row_blocks
    for more in range(c.channel_blocks, min(c.channel_blocks + threads, c.panels + 1)):
        if others * more % threads == 0:
            c.channel_blocks = more
            return


cdef Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef Py_ssize_t scratch_bytes(const Cutting* c, int threads) noexcept nogil:
    return c.offset_bytes + c.bias_bytes + threads * (c.pixel_bytes + c.sums_bytes)


cdef Py_ssize_t blocks_bytes(Algorithm algorithm, spec, int threads) except -1:
    cdef Cutting c = cut(algorithm == DIRECT, spec, threads)
    return scratch_bytes(&c, <int>min(threads, c.tasks)) + LINE


# ---------------------------------------------------------------- computing


cdef struct Call:
    const Kernels* table
    Geometry geometry
    Cutting cutting
    Gather gather
    Block block  # what all blocks have in common
    const char* x
    char* out
    const char* bias
    Py_ssize_t x_n, out_n  # bytes between images
    Py_ssize_t OC          # of all groups that share panels
    char* scratch  # of the first thread


cdef void fill_offsets(Py_ssize_t* offsets, bint direct, const Geometry* g, const Cutting* c) noexcept:
    """Where the gathered factor of each term lies, from an output pixel's position."""
    cdef Py_ssize_t period_h = g.SH // gcd(g.SH, g.DH), period_w = g.SW // gcd(g.SW, g.DW)
    cdef Py_ssize_t pitch = c.gathering.pitch
    cdef Py_ssize_t rows = c.gathering.rows + (g.KH - 1) * g.DH // g.SH
    cdef Py_ssize_t k, ic, kh, kw, slot
    for k in range(c.terms):
        if not direct:
            offsets[k] = k * c.gathering.plane
            continue
        ic, kh, kw = k // (g.KH * g.KW), k // g.KW % g.KH, k % g.KW
        slot = kh % period_h * c.gathering.slots_w + kw % period_w
        offsets[k] = (
            ic * c.gathering.plane + (slot * rows + kh * g.DH // g.SH) * pitch + kw * g.DW // g.SW
        )


cdef Py_ssize_t panel_pixels(bint direct, const Geometry* g, const Cutting* c) noexcept:
    if not c.group_panels:
        return 0
    return c.gathering.plane * (g.IC if direct else g.IC * g.KH * g.KW)


cdef void compute(const Call* call, Py_ssize_t task, int thread) noexcept nogil:
    """One block: for some input channels after others, gather and multiply."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    cdef Block b = call.block
    cdef Py_ssize_t size = call.table.itemsize
    cdef Py_ssize_t all_terms = g.IC * g.KH * g.KW
    cdef Py_ssize_t col, row, first_panel, last_panel, group, groups, oc
    cdef char* scratch = call.scratch + thread * (c.pixel_bytes + c.sums_bytes)
    cdef const char* x
    col, task = task % c.col_blocks, task // c.col_blocks
    row, task = task % c.row_blocks, task // c.row_blocks
    first_panel, task = task % c.channel_blocks, task // c.channel_blocks
    last_panel = c.panels * (first_panel + 1) // c.channel_blocks
    first_panel = c.panels * first_panel // c.channel_blocks
    group, task = task % c.G, task // c.G

    b.at.oh = g.OH * row // c.row_blocks
    b.at.rows = g.OH * (row + 1) // c.row_blocks - b.at.oh
    b.at.ow = g.OW * col // c.col_blocks
    b.at.cols = g.OW * (col + 1) // c.col_blocks - b.at.ow
    if b.pitch == b.at.cols and g.out_h == b.at.cols * g.out_w:  # rows in one piece
        b.at.cols, b.at.rows = b.at.cols * b.at.rows, 1
        b.pitch = b.at.cols
    oc = first_panel * b.panel_width
    b.channels = min(last_panel * b.panel_width, call.OC) - oc
    groups = last_panel - first_panel if c.group_panels else 1
    x = call.x + task * call.x_n + size * g.x_c * g.IC * (first_panel if c.group_panels else group)
    b.geometry = g
    b.weights = <const char*>b.weights + (group * c.panels + first_panel) * b.panel_size * size
    b.bias = <const char*>b.bias + (group * c.panels + first_panel) * b.panel_width * size
    b.pixels = scratch
    b.sums = scratch + c.pixel_bytes
    b.out = call.out + task * call.out_n + size * (
        (group * g.OC + oc) * g.out_c + b.at.oh * g.out_h + b.at.ow * g.out_w
    )
    b.first = 0
    while b.first < all_terms:
        b.terms = min(c.terms, all_terms - b.first)
        call.gather(g, &c.gathering, x, &b.at, b.first, groups * b.terms, scratch)
        call.table.product(&b)
        b.first += b.terms


cdef object run_blocks(Algorithm algorithm, spec, x, PackedWeights packed, bias, out, int threads):
    cdef Call call
    cdef Memory memory
    cdef cnp.ndarray xs = x, outs = out, biases
    cdef Py_ssize_t task, tasks, group, size
    cdef Py_ssize_t* offsets
    cdef char* padded_bias
    call.table = kernels(spec.dtype)
    size = call.table.itemsize
    call.geometry = geometry_of(spec)
    call.cutting = cut(algorithm == DIRECT, spec, threads)
    call.gather = call.table.patch if algorithm == DIRECT else call.table.columns
    call.x, call.out = <const char*>cnp.PyArray_DATA(xs), <char*>cnp.PyArray_DATA(outs)
    call.x_n, call.out_n = cnp.PyArray_STRIDE(xs, 0), cnp.PyArray_STRIDE(outs, 0)
    call.OC = call.geometry.OC * (call.cutting.panels if call.cutting.group_panels else 1)
    call.geometry.x_c = cnp.PyArray_STRIDE(xs, 1) // size
    call.geometry.x_h = cnp.PyArray_STRIDE(xs, 2) // size
    call.geometry.x_w = cnp.PyArray_STRIDE(xs, 3) // size
    call.geometry.out_c = cnp.PyArray_STRIDE(outs, 1) // size
    call.geometry.out_h = cnp.PyArray_STRIDE(outs, 2) // size
    call.geometry.out_w = cnp.PyArray_STRIDE(outs, 3) // size

    tasks = call.cutting.tasks
    threads = <int>min(team(threads), tasks)
    memory = allocate(scratch_bytes(&call.cutting, threads))
    try:
        offsets = <Py_ssize_t*>memory.start
        fill_offsets(offsets, algorithm == DIRECT, &call.geometry, &call.cutting)
        padded_bias = memory.start + call.cutting.offset_bytes
        memset(padded_bias, 0, call.cutting.bias_bytes)
        if bias is not None:
            biases = bias
            for group in range(call.cutting.G):
                memcpy(
                    padded_bias + group * call.cutting.panels * packed.panel_width * size,
                    <char*>cnp.PyArray_DATA(biases) + group * call.OC * size,
                    call.OC * size,
                )
        call.scratch = padded_bias + call.cutting.bias_bytes
        call.block.pixel_vectors = call.cutting.pixel_vectors
        call.block.activation = kind_of(spec.activation)
        call.block.slope = LEAKY_SLOPE
        call.block.offsets = offsets
        call.block.pitch = call.cutting.gathering.pitch
        call.block.panel_pixels = panel_pixels(algorithm == DIRECT, &call.geometry, &call.cutting)
        call.block.weights = packed.panels
        call.block.panel_width = packed.panel_width
        call.block.panel_size = packed.panel_size
        call.block.bias = padded_bias
        with nogil:
            if threads == 1:
                for task in range(tasks):
                    compute(&call, task, 0)
            else:
                for task in prange(tasks, num_threads=threads, schedule="static"):
                    compute(&call, task, threadid())
    finally:
        PyMem_RawFree(memory.base)
