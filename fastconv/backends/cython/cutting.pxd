from fastconv.backends.cython.isa cimport Gathering, Geometry, Kernels

cdef enum Algorithm:
    DIRECT
    IM2COL

cdef enum Order:  # in which pixels are gathered, see gather.h
    PLANES
    PIXEL_BY_PIXEL
    COLUMNS
    IN_PLACE  # not at all

# How one convolution is cut into blocks, and the memory that they take.
cdef struct Cutting:
    Order order
    Gathering gathering
    bint pixel_vectors
    bint groups_together  # a block spans several groups, each of few output channels
    Py_ssize_t N, G       # G is 1 then
    Py_ssize_t row_blocks, col_blocks, channel_blocks  # of one image and group
    Py_ssize_t width             # output channels that are not cut apart
    Py_ssize_t columns           # of output that are not cut apart
    Py_ssize_t panels            # of that many channels, in a group
    Py_ssize_t ics, terms        # gathered at a time
    Py_ssize_t reach_h, reach_w  # rows and columns of planes beyond one for each output pixel
    Py_ssize_t row_bytes         # gathered for one row of output and one input channel
    Py_ssize_t tasks
    Py_ssize_t pixel_bytes, sums_bytes, dense_bytes  # of a thread
    Py_ssize_t bias_bytes

# `x_c` and the other strides of the geometry need not be known where nothing is read in place.
cdef Cutting cut(Algorithm algorithm, const Kernels* table, const Geometry* g, Py_ssize_t N,
                 Py_ssize_t G, bint channels_last, bint kept, bint in_place, int threads) noexcept
cdef Py_ssize_t scratch_bytes(const Cutting* c, int threads) noexcept nogil
cdef bint along_pixels(const Kernels* table, const Geometry* g, bint channels_last,
                       bint kept) noexcept
cdef Py_ssize_t first_column(const Cutting* c, const Geometry* g, Py_ssize_t block) noexcept nogil
cdef Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil
cdef Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil
