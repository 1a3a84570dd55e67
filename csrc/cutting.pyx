"""Cutting a convolution into blocks that suit the caches and give every thread its share."""

from fastconv.backends.cython.isa cimport FAR_BYTES, Geometry, Kernels, STORING

cdef enum:
    LINE = 64               # bytes of a cache line
    GATHERED = 192 * 1024   # bytes of the second cache for what a block gathers,
    WEIGHTS = 320 * 1024    # for the weights that meet it
    SUMS = 256 * 1024       # and for its sums,
    MORE_SUMS = 1024 * 1024 # where most likely they need not wait
    PIXELS = 256            # enough pixels to make gathering and weights worth loading
    WIDEST_BLOCK = 512      # columns of a block of a wide picture
    MOST_CHANNELS = 256     # output channels of a block
    MANY = 16               # blocks for each thread, of which one more hardly matters
    MANY_GROUPS = 16        # groups worth gathering together where channels lie side by side
    DOTS_LONGER = 4         # pixels that take as long as dot products take longer than others
    PICKED = 40             # lanes of a term that take as long as a cell of strided rows
    REACH = 8               # vectors that a tile may read beyond the last pixel (LARGEST_V)
    TALLEST = 8             # output channels of a tile along pixels (TALLEST_ALONG_PIXELS), at most
    WORTH_STREAMING = 24    # terms that take about as long as writing their sum past the caches

cdef double GATHERED_ALONG = 1.06  # time of wide vectors of gathered pixels, to that of others


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil:
    return ceil_div(nbytes, LINE) * LINE


cdef Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline Py_ssize_t fitting(Py_ssize_t n, Py_ssize_t nbytes) noexcept nogil:
    """How many times n pieces of nbytes fit into the share of what a block gathers."""
    return GATHERED // (n * nbytes)


cdef bint along_pixels(
    const Kernels* table, const Geometry* g, bint channels_last, bint kept,
) noexcept:
    """Whether vectors should run along pixels: which leaves fewer lanes idle, where turning the
    results costs about one more term on every lane of a vector, and gathered pixels meet the
    weights of a panel a little sooner than the rows of a kernel. Dot products take longer than
    other pixels, but only weights that are ``kept`` are worth a panel for their sake."""
    cdef Py_ssize_t lanes = g.OH * g.OW + (g.OH - 1) * ((g.KW - 1) * g.DW // g.SW)
    cdef double along, across, turning
    cdef bint wide = table.width * table.itemsize == 64
    if g.OC <= table.panel // 2:
        return True
    if g.OH > 1 or channels_last or lanes < table.width or lanes % table.width > table.dots:
        lanes = ceil_div(lanes, table.width) * table.width
    elif kept and lanes % table.width:
        lanes += DOTS_LONGER
    along = <double>g.OC * lanes * (GATHERED_ALONG if wide and g.KH * g.KW > 1 else 1)
    across = <double>g.OH * g.OW * table.panel * ceil_div(g.OC, table.panel)
    turning = <double>g.OC * g.OH * g.OW * table.width / (g.IC * g.KH * g.KW)
    if channels_last:
        along += turning
    else:
        across += turning
    if g.KH * g.KW == 1 and g.SH * g.SW > 1:
        along += PICKED * g.OH * g.OW
    return along <= across


cdef Cutting cut(
    Algorithm algorithm, const Kernels* table, const Geometry* g, Py_ssize_t N, Py_ssize_t G,
    bint channels_last, bint kept, bint in_place, int threads,
) noexcept:
    cdef Cutting c
    cdef bint is_flat = g.OH == 1 and g.KH * g.KW == 1
    cdef Py_ssize_t size = table.itemsize, cols
    cdef bint is_far = N * G * g.OC * g.OH * g.OW * size >= FAR_BYTES  # what is written
    c.width = g.OC if g.OC <= table.panel // 2 else table.panel
    c.N, c.G, c.panels = N, G, ceil_div(g.OC, c.width)
    c.groups_together = False
    c.reach_h = (g.KH - 1) * g.DH // g.SH if algorithm == DIRECT else 0
    c.reach_w = (g.KW - 1) * g.DW // g.SW if algorithm == DIRECT else 0
    c.pixel_vectors = along_pixels(table, g, channels_last, kept)
    cols = WIDEST_BLOCK if algorithm == DIRECT else PIXELS
    c.columns = table.width if c.pixel_vectors else 1
    if in_place and c.pixel_vectors:
        cols = g.OW
        if g.IC < WORTH_STREAMING or (is_far and g.IC <= table.near_terms):
            cols = table.near_cells // g.IC // c.columns * c.columns
    elif is_flat:
        cols = max(PIXELS // 4, min(cols, fitting(g.IC, size)))
    c.col_blocks = ceil_div(g.OW, max(cols, c.columns))
    cols = most_columns(&c, g)
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
    cut_channels_and_rows(&c, g, table, channels_last, in_place)
    share_out(&c, g, threads)
    c.tasks = c.N * c.G * c.channel_blocks * c.row_blocks * c.col_blocks
    size_up(&c, g, table)
    if in_place:
        c.order = IN_PLACE
        c.pixel_bytes = 0
        if c.pixel_vectors:  # and the sums wait in `out`, or go past the caches from here
            c.sums_bytes = 0
            if is_far and WORTH_STREAMING <= g.IC <= table.near_terms:
                c.sums_bytes = in_lines(TALLEST * (most_columns(&c, g) + table.width) * size)
    return c


cdef Py_ssize_t first_column(
    const Cutting* c, const Geometry* g, Py_ssize_t block,
) noexcept nogil:
    """Of output, in a block of columns: whole vectors are shared out."""
    return min(g.OW, ceil_div(g.OW, c.columns) * block // c.col_blocks * c.columns)


cdef Py_ssize_t most_columns(const Cutting* c, const Geometry* g) noexcept:
    return min(g.OW, ceil_div(ceil_div(g.OW, c.columns), c.col_blocks) * c.columns)


cdef void cut_channels_and_rows(
    Cutting* c, const Geometry* g, const Kernels* table, bint channels_last, bint in_place,
) noexcept:
    """All input channels at once, or fewer where they would leave room for too few rows. Along
    pixels every strip of vectors meets all weights again, which should stay in the cache too.
    Small groups share a block instead."""
    cdef Py_ssize_t size = table.itemsize, taps = g.KH * g.KW
    cdef Py_ssize_t cols = c.gathering.cols, wanted = min(g.OH, ceil_div(PIXELS, cols))
    cdef Py_ssize_t rows, near, per_block, together = 1
    c.ics = g.IC
    if in_place:
        rows = max(fitting(g.IC, c.row_bytes) - c.reach_h, ceil_div(4 * PIXELS, cols))
        if c.pixel_vectors:
            rows = g.OH
        per_block = max(MOST_CHANNELS // c.width, 1)
        if c.pixel_vectors:
            per_block = max(4, WEIGHTS // (g.IC * c.width * size))
        per_block = ceil_div(c.panels, ceil_div(c.panels, per_block))
    elif c.G > 1 and c.width < table.panel and fitting(g.IC, c.row_bytes) >= wanted + c.reach_h:
        c.groups_together, c.G, c.panels = True, 1, c.G
        if channels_last:
            together = fitting(g.IC * (wanted + c.reach_h), c.row_bytes)
            together = min(together, c.panels, MANY_GROUPS)
        rows = min(g.OH, fitting(together * g.IC, c.row_bytes) - c.reach_h)
        per_block = fitting(g.IC * (rows + c.reach_h), c.row_bytes)
        per_block = max(1, min(per_block, c.panels, MOST_CHANNELS))
    else:
        per_block = ceil_div(c.panels, ceil_div(c.panels, max(MOST_CHANNELS // c.width, 1)))
        if c.pixel_vectors and g.OH * g.OW > PIXELS // 4:
            c.ics = max(1, min(c.ics, WEIGHTS // (per_block * c.width * taps * size)))
        while c.ics > 1 and fitting(c.ics, c.row_bytes) < wanted + c.reach_h:
            c.ics = ceil_div(c.ics, 2)
        if c.ics == g.IC and not c.pixel_vectors:  # no sums wait: gathered once for all channels
            per_block = c.panels
        rows = fitting(c.ics, c.row_bytes) - c.reach_h
    c.terms = c.ics * taps
    if c.order == COLUMNS and rows < 1:  # the columns of one channel are too many
        c.terms = max(1, GATHERED // (cols * size))
    c.channel_blocks = ceil_div(c.panels, per_block)
    if not (in_place and c.pixel_vectors):
        near = near_rows(c, g, table)
        rows = min(rows, (MORE_SUMS if near else SUMS) // sums_of(c, g, table, 1))
        if near:
            rows = min(rows, near)
    c.row_blocks = ceil_div(g.OH, max(1, min(rows, g.OH)))


cdef Py_ssize_t near_rows(const Cutting* c, const Geometry* g, const Kernels* table) noexcept:
    """Rows of a block that stays near while its channels pass, a few at a time, and whose sums go
    straight to where they belong; or 0."""
    cdef Py_ssize_t width = c.gathering.cols + c.reach_w, terms = g.IC * g.KH * g.KW
    cdef Py_ssize_t vectors = ceil_div(c.gathering.cols, table.width)
    if (
        not c.pixel_vectors or c.groups_together or c.order != PLANES or c.terms < terms
        or terms > table.near_terms or g.out_w != 1 or c.gathering.cols < table.width
        or vectors * table.width * terms > width * (terms + STORING)
    ):
        return 0
    return max(0, (table.near_cells // (g.IC * g.SW * width) - g.KH * g.DH) // g.SH)


cdef Py_ssize_t sums_of(
    const Cutting* c, const Geometry* g, const Kernels* table, Py_ssize_t rows,
) noexcept:
    """Bytes of the sums of a block: all of them, or those of one strip along channels."""
    cdef Py_ssize_t channels = ceil_div(c.panels, c.channel_blocks) * c.width
    if c.pixel_vectors:
        return rows * (c.gathering.cols + c.reach_w) * channels * table.itemsize
    if c.terms == g.IC * g.KH * g.KW:
        channels = 4 * table.width
    return rows * c.gathering.cols * channels * table.itemsize


cdef void size_up(Cutting* c, const Geometry* g, const Kernels* table) noexcept:
    """Distances in what is gathered, and the memory that a thread needs. Planes are an odd number
    of cache lines apart: powers of two would make neighbours push each other out of the cache."""
    cdef Gathering* to = &c.gathering
    cdef Py_ssize_t size = table.itemsize
    cdef Py_ssize_t per_block = ceil_div(c.panels, c.channel_blocks), lines, planes
    to.rows = ceil_div(g.OH, c.row_blocks)
    to.cols = most_columns(c, g)
    if c.order == PIXEL_BY_PIXEL:
        lines = ceil_div(c.row_bytes // g.SH * c.ics, LINE) | 1
        planes = (to.rows - 1) * g.SH + (g.KH - 1) * g.DH + 1
    elif c.order == PLANES:
        lines = ceil_div((to.rows + c.reach_h) * c.row_bytes, LINE) | 1
        planes = c.ics
    else:
        lines = ceil_div(to.rows * to.cols * size, LINE) | 1
        planes = c.terms
    if c.groups_together:
        planes *= per_block
    to.plane = lines * LINE // size
    to.step, to.pitch = 1, to.cols + c.reach_w
    if c.order == PIXEL_BY_PIXEL:
        to.step, to.pitch = g.SW * c.ics, g.SH * to.plane
    c.pixel_bytes = in_lines(planes * lines * LINE + REACH * table.width * size)
    c.sums_bytes = sums_of(c, g, table, to.rows)
    c.dense_bytes = 0
    if c.pixel_vectors:  # the last vector may be partly idle
        c.sums_bytes += per_block * c.width * table.width * size
        c.dense_bytes = in_lines(table.dense * size)
    c.sums_bytes = in_lines(c.sums_bytes)
    c.bias_bytes = in_lines(c.G * c.panels * c.width * size)


cdef void share_out(Cutting* c, const Geometry* g, int threads) noexcept:
    """Where there are few blocks, cut finer until the threads have equal numbers of them: rows or
    columns first, output channels where that would leave too few pixels."""
    cdef Py_ssize_t blocks = c.N * c.G * c.col_blocks * c.channel_blocks * c.row_blocks
    if threads == 1 or blocks >= MANY * threads:
        return
    if g.OH > 1:
        if finer(&c.row_blocks, blocks // c.row_blocks, threads,
                 min(g.OH, g.OH * c.gathering.cols // (PIXELS // 4))):
            return
    elif finer(&c.col_blocks, blocks // c.col_blocks, threads, g.OW // (PIXELS // 4)):
        return
    finer(&c.channel_blocks, blocks // c.channel_blocks, threads, c.panels)


cdef bint finer(Py_ssize_t* parts, Py_ssize_t others, int threads, Py_ssize_t most) noexcept:
    """Raise `parts` to at most `most` so that the threads get equal numbers of blocks."""
    cdef Py_ssize_t more
    for more in range(parts[0], min(parts[0] + threads, most + 1)):
        if others * more % threads == 0:
            parts[0] = more
            return True
    return False


cdef Py_ssize_t scratch_bytes(const Cutting* c, int threads) noexcept nogil:
    return c.bias_bytes + threads * (c.pixel_bytes + c.sums_bytes + c.dense_bytes)
