"""Cutting a plane of output pixels by the taps whose factors lie in the picture.

Windows near the edge of a picture meet padded zeros, the same taps of them for a whole stretch of
rows or columns. Products with zeros are left out where all weights are finite: in each region, a
stretch of rows by a stretch of columns, only the taps between two rows and two columns of the
kernel are multiplied. Their order stays, and an exact zero changes no sum, so that a pixel's bits
do not depend on where it was cut. What lies where is a matter of the plane alone, and the blocks
that threads compute are cut across it.
"""

from fastconv.backends.cython.isa cimport Geometry, Place, Region

cdef enum:
    MOST_STRETCHES = 24   # of an axis
    SHORTEST = 3          # pixels that a tile computes as fast as fewer
    FEWEST_SAVED = 65536  # products of a plane that are worth finding its regions


cdef inline Py_ssize_t tap_from(Py_ssize_t cells, Py_ssize_t dilation, Py_ssize_t taps) noexcept:
    """The first of the taps that is not before so many cells; `taps` if all are."""
    return 0 if cells <= 0 else min((cells + dilation - 1) // dilation, taps)


cdef Py_ssize_t stretches_of(
    Stretch* found, Py_ssize_t n, Py_ssize_t size, Py_ssize_t taps, Py_ssize_t stride,
    Py_ssize_t dilation, Py_ssize_t before, Py_ssize_t unit,
) noexcept:
    """The stretches of an axis, and how many these are; MOST_STRETCHES + 1 if too many. Taps come
    and go by `unit` at a time."""
    cdef Py_ssize_t count = 0, cell = 0, whole, low, high
    # The last cell whose last tap meets the picture.
    whole = (size + before - (taps - 1) * dilation - 1) // stride
    while cell < n:
        low = tap_from(before - cell * stride, dilation, taps)
        high = tap_from(size + before - cell * stride, dilation, taps)
        if low >= high:
            low = high = 0
        low -= low % unit
        high = min((high + unit - 1) // unit * unit, taps)
        if count and found[count - 1].low == low and found[count - 1].high == high:
            found[count - 1].stop = cell + 1
        elif count == MOST_STRETCHES:
            return count + 1
        else:
            found[count] = Stretch(cell, cell + 1, low, high)
            count += 1
        cell += 1
        if low == 0 and high == taps and cell <= whole:  # so it stays until then
            cell = min(whole + 1, n)
            found[count - 1].stop = cell
    return count


cdef inline Py_ssize_t cost(const Stretch* s, Py_ssize_t across) noexcept:
    """Of so many lines of a stretch: what tiles along the shorter or the longer side take."""
    cdef Py_ssize_t n = s.stop - s.first
    return (s.high - s.low) * min(across * max(n, SHORTEST), n * max(across, SHORTEST))


cdef Py_ssize_t join(Stretch* s, Py_ssize_t count, Py_ssize_t across) noexcept:
    """Neighbours become one stretch, with the taps of both, where that takes no longer; how many
    stretches are left."""
    cdef Py_ssize_t left = 0, i
    cdef Stretch both
    for i in range(count):
        s[left] = s[i]
        left += 1
        while left > 1:
            both = Stretch(
                s[left - 2].first, s[left - 1].stop,
                min(s[left - 2].low, s[left - 1].low), max(s[left - 2].high, s[left - 1].high),
            )
            if cost(&both, across) > cost(&s[left - 2], across) + cost(&s[left - 1], across):
                break
            left -= 1
            s[left - 1] = both
    return left


cdef bint add(Division* d, const Stretch* down, const Stretch* across) noexcept:
    """One region more, the one of most products first; False if there are too many."""
    cdef Py_ssize_t taps = (down.high - down.low) * (across.high - across.low)
    cdef Py_ssize_t products = taps * (down.stop - down.first) * (across.stop - across.first)
    if d.count == MOST_REGIONS:
        return False
    d.parts[d.count].down, d.parts[d.count].across = down[0], across[0]
    if products > d.most:
        d.parts[d.count], d.parts[0] = d.parts[0], d.parts[d.count]
        d.most = products
    d.count += 1
    d.taps += taps
    d.products += products
    return True


cdef bint divided(
    Division* d, const Geometry* g, Py_ssize_t pass_terms, Py_ssize_t unit, bint joining,
) noexcept:
    """Whether regions were found, not too many, where taps come and go by `unit` at a time."""
    cdef Stretch[MOST_STRETCHES] rows, columns, some
    cdef Py_ssize_t down, across, joined, i, k
    d.count = d.taps = d.products = d.most = 0
    down = stretches_of(rows, g.OH, g.IH, g.KH, g.SH, g.DH, g.PT, unit)
    across = stretches_of(columns, g.OW, g.IW, g.KW, g.SW, g.DW, g.PL, unit)
    if down > MOST_STRETCHES or across > MOST_STRETCHES:
        return False
    if joining:
        down = join(rows, down, g.OW)
    for i in range(down):
        for k in range(across):
            some[k] = columns[k]
        joined = join(some, across, rows[i].stop - rows[i].first) if joining else across
        for k in range(joined):
            if not add(d, &rows[i], &some[k]):
                return False
    return d.taps * max(1, pass_terms // (g.KH * g.KW)) <= MOST_LISTED


cdef void divide(
    Division* d, const Geometry* g, Py_ssize_t pass_terms, bint leaving_out,
) noexcept:
    cdef Py_ssize_t unit = 1, products = g.OH * g.OW * g.KH * g.KW, channels = g.IC * g.OC
    cdef Stretch rows, columns
    # A plane that small would have to save too large a part.
    leaving_out = leaving_out and products * channels > 4 * FEWEST_SAVED
    while leaving_out and unit < max(g.KH, g.KW):
        if divided(d, g, pass_terms, unit, joining=True):
            if (products - d.products) * channels < FEWEST_SAVED:
                break
            return
        unit *= 2
    d.count = d.taps = d.products = d.most = 0
    rows, columns = Stretch(0, g.OH, 0, g.KH), Stretch(0, g.OW, 0, g.KW)
    add(d, &rows, &columns)


cdef bint divide_exactly(Division* d, const Geometry* g, Py_ssize_t pass_terms) noexcept:
    return divided(d, g, pass_terms, unit=1, joining=False)


cdef void list_places(
    const Division* d, const Geometry* g, const Py_ssize_t* pixels, Py_ssize_t channels,
    Py_ssize_t channel, Py_ssize_t panel, Region* regions, Place* places,
) noexcept:
    cdef Py_ssize_t i, ic, kh, kw
    cdef Stretch down, across
    for i in range(d.count):
        down, across = d.parts[i].down, d.parts[i].across
        regions[i].at.oh, regions[i].at.rows = down.first, down.stop - down.first
        regions[i].at.ow, regions[i].at.cols = across.first, across.stop - across.first
        regions[i].taps = (down.high - down.low) * (across.high - across.low)
        regions[i].places = places
        for ic in range(channels):
            for kh in range(down.low, down.high):
                for kw in range(across.low, across.high):
                    places.pixel = pixels[kh * g.KW + kw] + ic * channel
                    places.weight = (ic * g.KH * g.KW + kh * g.KW + kw) * panel
                    places += 1
