"""What the convolutions share: the loop over blocks of output pixels.

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
from fastconv.backends.cython.cutting cimport (
    COLUMNS, Cutting, IN_PLACE, PIXEL_BY_PIXEL, PLANES, along_pixels, cut, first_column, gcd,
    in_lines, scratch_bytes,
)
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport (
    Block, FAR_BYTES, Gather, Gathering, Geometry, Kernels, Place, Region, kernels, team,
)
from fastconv.backends.cython.memory cimport give, take
from fastconv.backends.cython.regions cimport Division, divide, divide_exactly, list_places

from fastconv.spec import LEAKY_SLOPE

cnp.import_array()

cdef enum:
    LINE = 64    # bytes of a cache line
    PAGE = 4096  # bytes after which addresses share a place in the first cache
    FEW_CHANNELS = 64   # of output, for which gathering takes as long as reading from far away
    PLANE_PER_TAP = 45  # cells of a padded plane with edges few enough to be tiles of their own


# ---------------------------------------------------------------- geometry


cdef Geometry geometry_with(spec, cnp.ndarray x, cnp.ndarray out):
    cdef Geometry g = geometry_of(spec)
    set_strides(&g, x, out)
    return g


cdef bint is_unpadded(const Geometry* g) noexcept:
    return (
        g.PT == 0 and g.PL == 0
        and (g.OH - 1) * g.SH + (g.KH - 1) * g.DH < g.IH
        and (g.OW - 1) * g.SW + (g.KW - 1) * g.DW < g.IW
    )


cdef void flatten(Geometry* g) noexcept:
    """A plane of single cells is one row, where rows continue each other in x and in out."""
    if g.KH * g.KW * g.SH * g.SW == 1 and is_unpadded(g) and g.OW == g.IW:
        if g.x_h == g.IW * g.x_w and g.out_h == g.OW * g.out_w:
            g.IW = g.OW = g.OH * g.OW
            g.IH = g.OH = 1


cdef bint readable_in_place(
    Algorithm algorithm, const Kernels* table, const Geometry* g, Py_ssize_t G, bint channels_last,
    bint kept,
) noexcept:
    """Whether x itself is what gathering would give: nothing is padded, and, where vectors run
    along pixels, these are neighbours and no strip reads beyond the last."""
    if algorithm != DIRECT or not is_unpadded(g):
        return False
    if along_pixels(table, g, channels_last, kept):
        return (
            g.OH == 1 and g.KH * g.KW * g.SW == 1 and g.x_w == 1 and g.out_w == 1
            and g.OW >= 2 * table.width and (G == 1 or g.OC > table.panel // 2)
        )
    # Planes must not push each other out of the cache.
    return g.x_c == 1 or g.x_c * table.itemsize % PAGE != 0


# ---------------------------------------------------------------- where pixels lie


cdef struct Call:
    const Kernels* table
    Geometry geometry
    Cutting cutting
    Division division
    Gather gather  # NULL where x is read in place
    Block block    # what all blocks have in common
    const char* x
    char* out
    Py_ssize_t x_n, out_n  # bytes between images
    Py_ssize_t OC          # of all groups that share a block
    Py_ssize_t row_bytes   # of the weights of a channel, or of a channel's part of a panel
    char* scratch          # of the first thread


cdef Py_ssize_t pass_channels(
    const Kernels* table, const Cutting* c, const Geometry* g,
) noexcept:
    """Input channels whose terms pass together, along output channels."""
    cdef Py_ssize_t most = max(1, table.pass_terms // (g.KH * g.KW))
    cdef Py_ssize_t passes = (c.ics + most - 1) // most
    return (c.ics + passes - 1) // passes


cdef Py_ssize_t tables_bytes(
    const Kernels* table, const Cutting* c, const Division* d, const Geometry* g,
) noexcept:
    """What lay_out() writes."""
    cdef Py_ssize_t taps = g.KH * g.KW
    if c.pixel_vectors:
        return in_lines((taps + c.terms) * sizeof(Py_ssize_t))
    return in_lines(
        taps * sizeof(Py_ssize_t) + d.count * sizeof(Region)
        + pass_channels(table, c, g) * d.taps * sizeof(Place)
    )


cdef void lay_out(Call* call, char* tables) noexcept:
    """Where the pixels are, and where the factor of each term lies, seen from an output pixel."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    cdef const Gathering* to = &c.gathering
    cdef Py_ssize_t channel = to.plane, taps = g.KH * g.KW, channels, tap, pixel, k
    cdef Py_ssize_t* pixels = <Py_ssize_t*>tables
    cdef Py_ssize_t* offsets = pixels + taps
    cdef Region* regions = <Region*>offsets
    call.block.step, call.block.pitch = to.step, to.pitch
    call.block.in_place = c.order == IN_PLACE
    if c.order == IN_PLACE:
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
        channel = taps * to.plane
    call.block.group_pixels = c.ics * channel if c.groups_together else 0
    place_taps(g, c, pixels)
    if c.pixel_vectors:
        for tap in range(min(taps, c.terms)):
            k, pixel = tap, pixels[tap]
            while k < c.terms:
                offsets[k] = pixel
                k += taps
                pixel += channel
        call.block.offsets = offsets
    else:
        channels = pass_channels(call.table, c, g)
        call.block.pass_terms, call.block.pass_pixels = channels * taps, channels * channel
        list_places(&call.division, g, pixels, channels, channel, call.table.panel, regions,
                    <Place*>(regions + call.division.count))
        call.block.regions, call.block.region_count = regions, call.division.count


cdef void place_taps(const Geometry* g, const Cutting* c, Py_ssize_t* pixels) noexcept:
    """Where the factor of each tap lies, in one channel."""
    cdef const Gathering* to = &c.gathering
    cdef Py_ssize_t period_h = g.SH // gcd(g.SH, g.DH), period_w = g.SW // gcd(g.SW, g.DW)
    cdef Py_ssize_t tap, slot, kh, kw
    for tap in range(g.KH * g.KW):
        kh, kw = tap // g.KW, tap % g.KW
        if c.order == IN_PLACE:
            pixels[tap] = kh * g.DH * g.x_h + kw * g.DW * g.x_w
        elif c.order == PLANES:
            slot = kh % period_h * to.slots_w + kw % period_w
            pixels[tap] = (
                (slot * (to.rows + c.reach_h) + kh * g.DH // g.SH) * to.pitch + kw * g.DW // g.SW
            )
        elif c.order == PIXEL_BY_PIXEL:
            pixels[tap] = kh * g.DH * to.plane + kw * g.DW * c.ics
        else:
            pixels[tap] = tap * to.plane


# ---------------------------------------------------------------- computing


cdef void compute(const Call* call, Py_ssize_t task, int thread) noexcept nogil:
    """One block: some input channels after others, gather and multiply."""
    cdef const Geometry* g = &call.geometry
    cdef const Cutting* c = &call.cutting
    cdef Block b = call.block
    cdef Py_ssize_t size = call.table.itemsize
    cdef Py_ssize_t taps = g.KH * g.KW
    cdef Py_ssize_t col, row, first_panel, last_panel, group, groups, oc
    cdef char* scratch = call.scratch + thread * (c.pixel_bytes + c.sums_bytes + c.dense_bytes)
    cdef const char* x
    col, task = task % c.col_blocks, task // c.col_blocks
    row, task = task % c.row_blocks, task // c.row_blocks
    first_panel, task = task % c.channel_blocks, task // c.channel_blocks
    last_panel = c.panels * (first_panel + 1) // c.channel_blocks
    first_panel = c.panels * first_panel // c.channel_blocks
    group, task = task % c.G, task // c.G

    b.at.oh = g.OH * row // c.row_blocks
    b.at.rows = g.OH * (row + 1) // c.row_blocks - b.at.oh
    b.at.ow = first_column(c, g, col)
    b.at.cols = first_column(c, g, col + 1) - b.at.ow
    groups = last_panel - first_panel if c.groups_together else 1
    x = call.x + task * call.x_n + size * g.x_c * g.IC * (
        first_panel if c.groups_together else group
    )
    oc = first_panel * c.width
    b.channels = min(last_panel * c.width, call.OC) - oc
    b.out = call.out + task * call.out_n + size * (
        (group * g.OC + oc) * g.out_c + b.at.oh * g.out_h + b.at.ow * g.out_w
    )
    b.geometry = g
    if c.pixel_vectors:
        b.weights = <const char*>b.weights + (group * g.OC + oc) * call.row_bytes
    else:
        b.weights = <const char*>b.weights + (group * c.panels + first_panel) * b.panel_size * size
    b.bias = <const char*>b.bias + (group * c.panels + first_panel) * c.width * size
    b.pixels = scratch
    b.sums = scratch + c.pixel_bytes
    b.dense = scratch + c.pixel_bytes + c.sums_bytes
    b.first = 0
    while b.first < g.IC * taps:
        b.terms = min(c.terms, g.IC * taps - b.first)
        if call.gather is NULL:
            b.pixels = x + size * (
                b.first // taps * g.x_c + (b.at.oh * g.SH - g.PT) * g.x_h
                + (b.at.ow * g.SW - g.PL) * g.x_w
            )
        else:
            call.gather(g, &c.gathering, x, &b.at, b.first, groups * b.terms, scratch)
        call.table.convolution.product(&b)
        b.first += b.terms


cdef inline bint leaves_out(const Geometry* g, const Cutting* c, Weights weights) noexcept:
    """Whether products with padded zeros may be left out: of infinite weights they are NaN."""
    return not c.pixel_vectors and weights.finite and not is_unpadded(g)


cdef bint has_edges_in_place(const Kernels* table, const Geometry* g, Division* d) noexcept:
    """Whether x is read in place although it is padded, by regions none of whose taps leave the
    picture. Planes that push each other out of the cache are better gathered, if what is gathered
    meets many channels."""
    return (
        g.x_w == 1 and (g.x_c * table.itemsize % PAGE != 0 or g.OC <= FEW_CHANNELS)
        and g.OH * g.OW >= PLANE_PER_TAP * g.KH * g.KW and divide_exactly(d, g, table.pass_terms)
    )


cdef bint goes_past_caches(const Call* call, Py_ssize_t nbytes) noexcept:
    """Whether a result of so many bytes is written in whole lines past the caches."""
    cdef Py_ssize_t plane = call.geometry.out_c * call.table.itemsize
    return (
        call.cutting.order == IN_PLACE and call.cutting.pixel_vectors
        and call.cutting.sums_bytes > 0 and nbytes >= FAR_BYTES
        and plane % LINE == 0 and call.out_n % LINE == 0 and <size_t>call.out % LINE == 0
    )


cdef object run_blocks(Algorithm algorithm, spec, x, Weights weights, bias, out, int threads):
    cdef Call call
    cdef char* memory
    cdef cnp.ndarray xs = x, outs = out, biases
    cdef Geometry* g = &call.geometry
    cdef Cutting* c = &call.cutting
    cdef Py_ssize_t task, group, size, tables
    cdef bint channels_last = spec.layout == "NHWC", leaving_out
    cdef char* padded_bias
    call.table = kernels(spec.dtype)
    size = call.table.itemsize
    call.x, call.out = <const char*>cnp.PyArray_DATA(xs), <char*>cnp.PyArray_DATA(outs)
    call.x_n, call.out_n = cnp.PyArray_STRIDE(xs, 0), cnp.PyArray_STRIDE(outs, 0)
    call.geometry = geometry_with(spec, xs, outs)
    flatten(g)
    c[0] = cut(
        algorithm, call.table, g, spec.N, spec.G, channels_last, weights.kept,
        readable_in_place(algorithm, call.table, g, spec.G, channels_last, weights.kept), threads,
    )
    call.OC = g.OC * (c.panels if c.groups_together else 1)
    call.row_bytes = g.IC * g.KH * g.KW * size
    call.block.panel_size = g.IC * g.KH * g.KW * call.table.panel
    if c.pixel_vectors:
        call.block.weights = weights.rows()
    else:
        call.block.weights = weights.panels(call.table, g, spec.G, threads)

    leaving_out = algorithm == DIRECT and leaves_out(g, c, weights)
    if leaving_out and has_edges_in_place(call.table, g, &call.division):
        c[0] = cut(
            algorithm, call.table, g, spec.N, spec.G, channels_last, weights.kept, True, threads)
    else:
        divide(&call.division, g, call.table.pass_terms, leaving_out)
    tables = tables_bytes(call.table, c, &call.division, g)
    threads = <int>min(team(threads), c.tasks)
    memory = take(tables + scratch_bytes(c, threads))
    try:
        lay_out(&call, memory)
        padded_bias = memory + tables
        memset(padded_bias, 0, c.bias_bytes)
        if bias is not None:
            biases = bias
            for group in range(c.G):
                memcpy(
                    padded_bias + group * c.panels * c.width * size,
                    <char*>cnp.PyArray_DATA(biases) + group * call.OC * size,
                    call.OC * size,
                )
        call.scratch = padded_bias + c.bias_bytes
        call.block.pixel_vectors = c.pixel_vectors
        call.block.past = goes_past_caches(&call, outs.nbytes)
        call.block.activation = kind_of(spec.activation)
        call.block.slope = LEAKY_SLOPE
        call.block.bias = padded_bias
        with nogil:
            if threads == 1:
                for task in range(c.tasks):
                    compute(&call, task, 0)
            else:
                for task in prange(c.tasks, num_threads=threads, schedule="static"):
                    compute(&call, task, threadid())
    finally:
        give(memory)


# ---------------------------------------------------------------- what it takes


cdef Weights prepare(Algorithm algorithm, spec, w, bint kept, int threads):
    """The weights, in the form that this spec's pictures need."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry g = geometry_of(spec)
    cdef Weights weights = Weights(w, kept)
    flatten(&g)
    if along_pixels(table, &g, spec.layout == "NHWC", kept):
        weights.rows()
    else:
        weights.panels(table, &g, spec.G, threads)
    return weights


cdef Py_ssize_t blocks_bytes(Algorithm algorithm, spec, int threads) except -1:
    """For arrays of any strides: they may forbid to flatten the planes, and to read in place."""
    cdef Division d
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry g = geometry_of(spec)
    cdef Py_ssize_t most = 0
    cdef Cutting c
    cdef bint channels_last = spec.layout == "NHWC", in_place
    cdef int attempt, kept, leaving_out
    for attempt in range(6):
        kept = attempt % 2
        if attempt == 2:
            flatten(&g)
        in_place = attempt >= 4 and readable_in_place(
            algorithm, table, &g, spec.G, channels_last, kept)
        c = cut(algorithm, table, &g, spec.N, spec.G, channels_last, kept, in_place, threads)
        for leaving_out in range(2):
            divide(&d, &g, table.pass_terms, leaving_out and algorithm == DIRECT)
            most = max(most, tables_bytes(table, &c, &d, &g)
                       + scratch_bytes(&c, <int>min(threads, c.tasks)))
        if algorithm == DIRECT and divide_exactly(&d, &g, table.pass_terms):
            c = cut(algorithm, table, &g, spec.N, spec.G, channels_last, kept, True, threads)
            most = max(most, tables_bytes(table, &c, &d, &g)
                       + scratch_bytes(&c, <int>min(threads, c.tasks)))
    return most
