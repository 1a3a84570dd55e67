from fastconv.backends.cython.isa cimport Geometry, Place, Region

cdef enum:
    MOST_REGIONS = 48
    MOST_LISTED = 4096  # places of the terms of a pass, of all regions

# Cells first … stop − 1 of an axis, whose windows meet the picture only with their taps
# low … high − 1.
cdef struct Stretch:
    Py_ssize_t first, stop, low, high

cdef struct Part:
    Stretch down, across

cdef struct Division:
    Part[MOST_REGIONS] parts
    Py_ssize_t count
    Py_ssize_t taps      # of all parts
    Py_ssize_t products  # of a plane and a kernel
    Py_ssize_t most      # of these, in one part

# Regions where that is worth it and taps may be left out; else one, with all taps.
cdef void divide(Division* d, const Geometry* g, Py_ssize_t pass_terms,
                 bint leaving_out) noexcept

# Whether there are regions that meet the picture with all of their taps: no factor lies outside.
cdef bint divide_exactly(Division* d, const Geometry* g, Py_ssize_t pass_terms) noexcept

# The regions as kernels read them, with the places of their taps in so many channels: `pixels` are
# those of all taps in the first channel, and each channel's lie `channel` further.
cdef void list_places(
    const Division* d, const Geometry* g, const Py_ssize_t* pixels, Py_ssize_t channels,
    Py_ssize_t channel, Py_ssize_t panel, Region* regions, Place* places) noexcept
