"""What the convolutions share: packed weights, and the loop over blocks of output pixels.

A block is a rectangle of output pixels of one image and some output channels: those of one
group, or several whole groups where these are small. Its pixels are gathered
(``csrc/simd/gather.h``) for some input channels at a time, or read in place, and multiplied
(``csrc/simd/product.h``); the sums wait until the last input channel. Blocks are what threads
share out: one is computed by one thread, in the same order of terms whatever its size.
"""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.isa cimport (
    Block, Gather, Gathering, Geometry, Kernels, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take

from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64               # bytes of a cache line
    PAGE = 4096             # bytes after which addresses share a place in the first cache
    GATHERED = 192 * 1024   # bytes of the second cache for what a block gathers,
    WEIGHTS = 320 * 1024    # for the weights that meet it
    SUMS = 256 * 1024       # and for its sums
    PIXELS = 256            # enough pixels to make gathering and weights worth loading
    WIDEST_BLOCK = 512      # columns of a block of a wide picture
    MOST_CHANNELS = 256     # output channels of a block
    MANY_GROUPS = 16        # groups worth gathering together where channels lie side by side
    REACH = 8               # vectors that a tile may read beyond the last pixel (LARGEST_V)


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
        give(self.panels)


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
    cdef Py_ssize_t i
    packed.panels = take(count * panel_size * size)
    packed.panel_width, packed.panel_size = width, panel_size
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(array, i) // size
    threads = <int>min(team(threads), count)
    with nogil:
        if threads == 1:
            for i in range(count):
                pack_one(table, &g, width, panels, i, source, strides, packed.panels)
        else:
            for i in prange(count, num_threads=threads, schedule="static"):
                pack_one(table, &g, width, panels, i, source, strides, packed.panels)
    return packed


cdef void pack_one(
    const Kernels* table, const Geometry* g, Py_ssize_t width, Py_ssize_t panels, Py_ssize_t i,
    const char* w, const Py_ssize_t* strides, char* packed,
) noexcept nogil:
    cdef Py_ssize_t oc = i % panels * width
    table.convolution.pack_panel(
        g, min(width, g.OC - oc), width,
        w + (i // panels * g.OC + oc) * strides[0] * table.itemsize, strides,
        packed + i * g.IC * g.KH * g.KW * width * table.itemsize,
    )


# ---------------------------------------------------------------- cutting into blocks


cdef enum Order:  # in which pixels are gathered, see gather.h
    PLANES
    PIXEL_BY_PIXEL
    COLUMNS


cdef struct Cutting:
    Order order
    Gathering gathering
    bint pixel_vectors
    bint group_panels  # a block spans several groups, each of one narrow panel
    Py_ssize_t N, G    # G is 1 then
    Py_ssize_t row_blocks, col_blocks, channel_blocks  # of one image and group
    Py_ssize_t panels            # of a group
    Py_ssize_t ics, terms        # gathered at a time
    Py_ssize_t reach_h, reach_w  # rows and columns of planes beyond one for each output pixel
    Py_ssize_t row_bytes         # gathered for one row of output and one input channel
    Py_ssize_t tasks
    Py_ssize_t pixel_bytes, sums_bytes, offset_bytes, bias_bytes


cdef bint prefers_pixels(
    const Kernels* table, const Geometry* g, Py_ssize_t gap, bint channels_last,
) noexcept:
    """Whether vectors should run along pixels, in rows that lie gap cells apart: which leaves
    fewer lanes idle, where turning the results costs about one more term on every lane of a
    vector, and a lone pixel per row leaves half of the arithmetic idle."""
    cdef Py_ssize_t pixels = g.OH * g.OW
    cdef double along_pixels, along_channels, turning
    if panel_width(table, g.OC) < table.panel:
        return True
    along_pixels = <double>g.OC * table.width * ceil_div(pixels + (g.OH - 1) * gap, table.width)
    along_channels = <double>pixels * table.panel * ceil_div(g.OC, table.panel)
    if g.OW == 1:
        along_channels *= 2
    turning = <double>g.OC * pixels * table.width / (g.IC * g.KH * g.KW)
    if channels_last:
        along_pixels += turning
    else:
        along_channels += turning
    return along_pixels <= along_channels


cdef Cutting cut(Algorithm algorithm, spec, int threads):
    """Blocks that suit the caches and give every thread its share."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry g = geometry_of(spec)
    cdef Cutting c
    cdef bint channels_last = spec.layout == "NHWC"
    cdef Py_ssize_t size = table.itemsize, width = panel_width(table, g.OC), cols
    c.N, c.G, c.panels = spec.N, spec.G, ceil_div(g.OC, width)
    c.group_panels = False
    c.reach_h = (g.KH - 1) * g.DH // g.SH if algorithm == DIRECT else 0
    c.reach_w = (g.KW - 1) * g.DW // g.SW if algorithm == DIRECT else 0
    c.col_blocks = ceil_div(g.OW, WIDEST_BLOCK if algorithm == DIRECT else PIXELS)
    cols = ceil_div(g.OW, c.col_blocks)
    c.pixel_vectors = prefers_pixels(table, &g, c.reach_w, channels_last)
    c.gathering.cols = cols
    c.gathering.slots_h = min(g.KH, g.SH // gcd(g.SH, g.DH))
    c.gathering.slots_w = min(g.KW, g.SW // gcd(g.SW, g.DW))
    if algorithm == IM2COL:
        c.order = COLUMNS
        c.row_bytes = g.KH * g.KW * cols * size
    elif channels_last and not c.pixel_vectors:
        c.order = PIXEL_BY_PIXEL
        c.row_bytes = g.SH * ((cols - 1) * g.SW + (g.KW - 1) * g.DW + 1) * size
    else:
        c.order = PLANES
        c.row_bytes = c.gathering.slots_h * c.gathering.slots_w * (cols + c.reach_w) * size
    cut_channels_and_rows(&c, &g, table, channels_last)
    share_out(&c, &g, threads)
    c.tasks = c.N * c.G * c.channel_blocks * c.row_blocks * c.col_blocks
    size_up(&c, &g, table)
    return c


cdef void cut_channels_and_rows(
    Cutting* c, const Geometry* g, const Kernels* table, bint channels_last,
) noexcept:
    """All input channels at once, or fewer where they would leave room for too few rows. Along
    pixels every strip of vectors meets all weights again, which should stay in the cache too.
    Small groups share a block instead."""
    cdef Py_ssize_t size = table.itemsize, width = panel_width(table, g.OC), taps = g.KH * g.KW
    cdef Py_ssize_t cols = c.gathering.cols, wanted = min(g.OH, ceil_div(PIXELS, cols))
    cdef Py_ssize_t rows, per_block, together = 1
    c.ics = g.IC
    if c.G > 1 and width < table.panel and fitting(g.IC, c.row_bytes) >= wanted + c.reach_h:
        c.group_panels, c.G, c.panels = True, 1, c.G
        if channels_last:
            together = fitting(g.IC * (wanted + c.reach_h), c.row_bytes)
            together = min(together, c.panels, MANY_GROUPS)
        rows = min(g.OH, fitting(together * g.IC, c.row_bytes) - c.reach_h)
        per_block = fitting(g.IC * (rows + c.reach_h), c.row_bytes)
        per_block = max(1, min(per_block, c.panels, MOST_CHANNELS))
    else:
        per_block = ceil_div(c.panels, ceil_div(c.panels, max(MOST_CHANNELS // width, 1)))
        if c.pixel_vectors and g.OH * g.OW > PIXELS // 4:
            c.ics = max(1, min(c.ics, WEIGHTS // (per_block * width * taps * size)))
        while c.ics > 1 and fitting(c.ics, c.row_bytes) < wanted + c.reach_h:
            c.ics = ceil_div(c.ics, 2)
        rows = fitting(c.ics, c.row_bytes) - c.reach_h
    c.terms = c.ics * taps
    if c.order == COLUMNS and rows < 1:  # the columns of one channel are too many
        c.terms = max(1, GATHERED // (cols * size))
    c.channel_blocks = ceil_div(c.panels, per_block)
    rows = max(1, min(rows, g.OH, SUMS // sums_of(c, g, table, 1)))
    c.row_blocks = ceil_div(g.OH, rows)


cdef Py_ssize_t sums_of(
    const Cutting* c, const Geometry* g, const Kernels* table, Py_ssize_t rows,
) noexcept:
    """Bytes of the sums of a block: all of them, or those of one strip along channels."""
    cdef Py_ssize_t channels = ceil_div(c.panels, c.channel_blocks) * panel_width(table, g.OC)
    if c.pixel_vectors:
        return rows * (c.gathering.cols + c.reach_w) * channels * table.itemsize
    if c.terms == g.IC * g.KH * g.KW:
        channels = 4 * table.width
    return rows * c.gathering.cols * channels * table.itemsize


cdef void size_up(Cutting* c, const Geometry* g, const Kernels* table) noexcept:
    """Distances in what is gathered, and the memory that a thread needs. Planes are an odd number
    of cache lines apart: powers of two would make neighbours push each other out of the cache."""
    cdef Gathering* to = &c.gathering
    cdef Py_ssize_t size = table.itemsize, width = panel_width(table, g.OC)
    cdef Py_ssize_t per_block = ceil_div(c.panels, c.channel_blocks), lines, planes
    to.rows = ceil_div(g.OH, c.row_blocks)
    if c.order == PIXEL_BY_PIXEL:
        lines = ceil_div(c.row_bytes // g.SH * c.ics, LINE) | 1
        planes = (to.rows - 1) * g.SH + (g.KH - 1) * g.DH + 1
    elif c.order == PLANES:
        lines = ceil_div((to.rows + c.reach_h) * c.row_bytes, LINE) | 1
        planes = c.ics
    else:
        lines = ceil_div(to.rows * to.cols * size, LINE) | 1
        planes = c.terms
    if c.group_panels:
        planes *= per_block
    to.plane = lines * LINE // size
    to.step, to.pitch = 1, to.cols + c.reach_w
    if c.order == PIXEL_BY_PIXEL:
        to.step, to.pitch = g.SW * c.ics, g.SH * to.plane
    c.pixel_bytes = in_lines(planes * lines * LINE + REACH * table.width * size)
    c.sums_bytes = sums_of(c, g, table, to.rows)
    if c.pixel_vectors:  # the last vector may be partly idle
        c.sums_bytes += per_block * width * table.width * size
    c.sums_bytes = in_lines(c.sums_bytes)
    c.offset_bytes = in_lines(c.terms * sizeof(Py_ssize_t))
    c.bias_bytes = in_lines(c.G * c.panels * width * size)


cdef inline Py_ssize_t fitting(Py_ssize_t n, Py_ssize_t nbytes) noexcept nogil:
    """How many times n pieces of nbytes fit into the share of what a block gathers."""
    return GATHERED // (n * nbytes)


cdef void share_out(Cutting* c, const Geometry* g, int threads) noexcept:
    """Where there are few blocks, cut finer until the threads have equal numbers of them:
    rows first, output channels where that would leave too few pixels."""
    cdef Py_ssize_t others, more
    if threads == 1:
        return
    others = c.N * c.G * c.col_blocks * c.channel_blocks
    if others * c.row_blocks >= 4 * threads:
        return
    for more in range(c.row_blocks, min(c.row_blocks + threads, g.OH + 1)):
        if others * more % threads == 0 and ceil_div(g.OH, more) * c.gathering.cols >= PIXELS // 4:
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
    cdef Cutting c = cut(algorithm, spec, threads)
    return scratch_bytes(&c, <int>min(threads, c.tasks)) + LINE


# ---------------------------------------------------------------- where pixels lie


cdef struct Call:
    const Kernels* table
    Geometry geometry
    Cutting cutting
    Gather gather  # NULL where x is read in place
    Block block    # what all blocks have in common
    const char* x
    char* out
    Py_ssize_t x_n, out_n  # bytes between images
    Py_ssize_t OC          # of all groups that share panels
    char* scratch          # of the first thread


cdef bint readable_in_place(const Call* call) noexcept:
    """Whether x itself is what gathering would give: nothing is padded, and, where vectors run
    along pixels, these are neighbours and no strip reads beyond the last."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    if c.order == COLUMNS or g.PT or g.PL:
        return False
    if (g.OH - 1) * g.SH + (g.KH - 1) * g.DH >= g.IH:
        return False
    if (g.OW - 1) * g.SW + (g.KW - 1) * g.DW >= g.IW:
        return False
    if g.x_c != 1 and g.x_c * call.table.itemsize % PAGE == 0:
        return False  # planes would push each other out of the cache
    if not c.pixel_vectors:
        return True
    return (
        g.SH == 1 and g.SW == 1 and g.x_w == 1 and g.x_h == c.gathering.pitch and c.col_blocks == 1
        and (g.OH // c.row_blocks - 1) * g.x_h + g.OW >= REACH * call.table.width
    )


cdef void lay_out(Call* call, Py_ssize_t* offsets) noexcept:
    """Where the pixels are, and where the factor of each term lies, seen from an output pixel."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    cdef const Gathering* to = &c.gathering
    cdef Py_ssize_t period_h = g.SH // gcd(g.SH, g.DH), period_w = g.SW // gcd(g.SW, g.DW)
    cdef Py_ssize_t channel = to.plane, tap, term, slot, k, kh, kw
    call.block.step, call.block.pitch = to.step, to.pitch
    if readable_in_place(call):
        call.gather = NULL
        channel = g.x_c
        call.block.step, call.block.pitch = g.SW * g.x_w, g.SH * g.x_h
    elif c.order == PLANES:
        call.gather = call.table.convolution.gather_planes
    elif c.order == PIXEL_BY_PIXEL:
        call.gather = call.table.convolution.gather_pixels
        channel = 1
    else:
        call.gather = call.table.convolution.gather_columns
        channel = g.KH * g.KW * to.plane
    call.block.panel_pixels = c.ics * channel if c.group_panels else 0
    for tap in range(min(g.KH * g.KW, c.terms)):
        kh, kw = tap // g.KW, tap % g.KW
        if call.gather is NULL:
            k = kh * g.DH * g.x_h + kw * g.DW * g.x_w
        elif c.order == PLANES:
            slot = kh % period_h * to.slots_w + kw % period_w
            k = (slot * (to.rows + c.reach_h) + kh * g.DH // g.SH) * to.pitch + kw * g.DW // g.SW
        elif c.order == PIXEL_BY_PIXEL:
            k = kh * g.DH * to.plane + kw * g.DW * c.ics
        else:
            k = tap * to.plane
        term = tap
        while term < c.terms:
            offsets[term] = k
            term += g.KH * g.KW
            k += channel


# ---------------------------------------------------------------- computing


cdef void compute(const Call* call, Py_ssize_t task, int thread) noexcept nogil:
    """One block: some input channels after others, gather and multiply."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    cdef Block b = call.block
    cdef Py_ssize_t size = call.table.itemsize
    cdef Py_ssize_t taps = g.KH * g.KW
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
    groups = last_panel - first_panel if c.group_panels else 1
    x = call.x + task * call.x_n + size * g.x_c * g.IC * (first_panel if c.group_panels else group)
    oc = first_panel * b.panel_width
    b.channels = min(last_panel * b.panel_width, call.OC) - oc
    b.out = call.out + task * call.out_n + size * (
        (group * g.OC + oc) * g.out_c + b.at.oh * g.out_h + b.at.ow * g.out_w
    )
    b.geometry = g
    b.weights = <const char*>b.weights + (group * c.panels + first_panel) * b.panel_size * size
    b.bias = <const char*>b.bias + (group * c.panels + first_panel) * b.panel_width * size
    b.pixels = scratch
    b.sums = scratch + c.pixel_bytes
    b.first = 0
    while b.first < g.IC * taps:
        b.terms = min(c.terms, g.IC * taps - b.first)
        if call.gather is NULL:
            b.pixels = x + size * (
                b.first // taps * g.x_c + b.at.oh * g.SH * g.x_h + b.at.ow * g.SW * g.x_w
            )
        else:
            call.gather(g, &c.gathering, x, &b.at, b.first, groups * b.terms, scratch)
        multiply(call.table, b)
        b.first += b.terms


cdef void multiply(const Kernels* table, Block b) noexcept nogil:
    """Rows of pixels that continue each other, in x and in out, are one row."""
    if b.pitch == b.at.cols * b.step and b.geometry.out_h == b.at.cols * b.geometry.out_w:
        b.at.cols, b.at.rows = b.at.cols * b.at.rows, 1
        b.pitch = b.at.cols * b.step
    table.convolution.product(&b)


cdef object run_blocks(Algorithm algorithm, spec, x, PackedWeights packed, bias, out, int threads):
    cdef Call call
    cdef char* memory
    cdef cnp.ndarray xs = x, outs = out, biases
    cdef Geometry* g = &call.geometry
    cdef Py_ssize_t task, tasks, group, size
    cdef char* padded_bias
    call.table = kernels(spec.dtype)
    size = call.table.itemsize
    call.geometry = geometry_of(spec)
    call.cutting = cut(algorithm, spec, threads)
    call.x, call.out = <const char*>cnp.PyArray_DATA(xs), <char*>cnp.PyArray_DATA(outs)
    call.x_n, call.out_n = cnp.PyArray_STRIDE(xs, 0), cnp.PyArray_STRIDE(outs, 0)
    g.x_c = cnp.PyArray_STRIDE(xs, 1) // size
    g.x_h = cnp.PyArray_STRIDE(xs, 2) // size
    g.x_w = cnp.PyArray_STRIDE(xs, 3) // size
    g.out_c = cnp.PyArray_STRIDE(outs, 1) // size
    g.out_h = cnp.PyArray_STRIDE(outs, 2) // size
    g.out_w = cnp.PyArray_STRIDE(outs, 3) // size
    call.OC = g.OC * (call.cutting.panels if call.cutting.group_panels else 1)

    tasks = call.cutting.tasks
    threads = <int>min(team(threads), tasks)
    memory = take(scratch_bytes(&call.cutting, threads))
    try:
        lay_out(&call, <Py_ssize_t*>memory)
        padded_bias = memory + call.cutting.offset_bytes
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
        call.block.offsets = <Py_ssize_t*>memory
        call.block.pixel_vectors = call.cutting.pixel_vectors
        call.block.activation = kind_of(spec.activation)
        call.block.slope = LEAKY_SLOPE
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
        give(memory)
