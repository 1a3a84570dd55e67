"""Convolution of planes: depthwise layers, pictures, groups of few channels.

Each group has few channels, so vectors run along the pixels of a row, which are read where they
lie (``csrc/simd/planar.h``). In a depthwise layer whose channels lie side by side they run along
these (``csrc/simd/depthwise.h``), or, where these are too few to fill vectors, along both
(``csrc/simd/interleaved.h``). Threads share out the planes, and chunks of rows where the planes are
few; whoever computes a cell adds its terms in the same order.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.string cimport memset

from threading import Lock

from fastconv.backends.cython.activation_elementwise cimport kind_of
from fastconv.backends.cython.geometry cimport geometry_of, set_strides
from fastconv.backends.cython.isa cimport Geometry, Kernels, PlaneKernels, Planes, kernels, team
from fastconv.backends.cython.memory cimport give, take

from fastconv.spec import LEAKY_SLOPE

cdef extern from *:
    """
    /* Whoever sees a pointer sees what was written before it was shown. */
    static inline char *seen(char **place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }
    static inline void show(char **place, char *p) { __atomic_store_n(place, p, __ATOMIC_RELEASE); }
    """
    char* seen(char** place) noexcept nogil
    void show(char** place, char* p) noexcept nogil

cnp.import_array()

cdef enum:
    LINE = 64   # bytes of a cache line
    SHARE = 4   # work items that a thread should find, at least
    CHUNK = 16  # rows of a plane's work item, at least
    QUARTER = 4  # channels must fill more than one of so many parts of a vector


cdef enum:  # what vectors run along
    PIXELS
    CHANNELS
    BOTH
    DIRECTIONS  # so many


cdef class PlaneWeights:
    """The weights of every group, in the order in which the tiles walk over them: each of the
    orders is made when it is first asked for, and kept."""

    cdef cnp.ndarray w
    cdef char* packed[DIRECTIONS]
    cdef object lock

    def __init__(self, w):
        self.w = w
        self.lock = Lock()

    def __dealloc__(self):
        cdef int along
        for along in range(DIRECTIONS):
            give(self.packed[along])

    cdef const char* along(
        self, int along, const PlaneKernels* table, const Planes* planes,
    ) except NULL:
        cdef char* packed = seen(&self.packed[along])
        if packed is NULL:
            with self.lock:
                packed = self.packed[along]
                if packed is NULL:
                    packed = packed_for(self.w, table, planes)
                    show(&self.packed[along], packed)
        return packed


cdef char* packed_for(cnp.ndarray w, const PlaneKernels* table, const Planes* planes) except NULL:
    """Output channels of a group in blocks, and each block's weights side by side."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(w), group
    cdef Py_ssize_t cells = table.weight_cells(&planes.geometry)
    cdef Py_ssize_t[4] strides
    cdef int i
    cdef char* memory = take(planes.G * cells * size)
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(w, i) // size
    for group in range(planes.G):
        table.pack(
            &planes.geometry, planes.blocks,
            <char*>cnp.PyArray_DATA(w) + group * planes.geometry.OC * strides[0] * size, strides,
            memory + group * cells * size,
        )
    return memory


def pack(spec, w, int threads):
    """The weights in the order that this spec's pictures need."""
    cdef Planes planes
    cdef PlaneWeights weights = PlaneWeights(w)
    cdef int along
    planes.geometry = geometry_of(spec)
    along = direction(&planes, spec)
    weights.along(along, set_groups(&planes, along, spec), &planes)
    return weights


def run(spec, cnp.ndarray x not None, PlaneWeights weights not None, bias,
        cnp.ndarray out not None, int threads):
    """Write the convolution of x into out."""
    cdef const PlaneKernels* table
    cdef Planes planes
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(x), zeros, scratch, items
    cdef cnp.ndarray biases
    cdef char* memory
    cdef int along
    cdef int part, parts
    threads = team(threads)
    planes.geometry = geometry_of(spec)
    set_arrays(&planes, x, out, size)
    along = direction(&planes, spec)
    table = set_groups(&planes, along, spec)
    set_chunks(&planes, along, threads)
    planes.weights = weights.along(along, table, &planes)
    planes.bias = NULL
    if bias is not None:
        biases = bias
        planes.bias = cnp.PyArray_DATA(biases)
    planes.activation = kind_of(spec.activation)
    planes.slope = LEAKY_SLOPE
    items = planes.N * planes.G * planes.blocks * planes.chunks
    parts = <int>min(threads, items)
    zeros = in_lines(table.zero_cells(&planes.geometry) * size)
    scratch = in_lines(table.scratch(&planes)) + LINE
    memory = take(zeros + parts * scratch)
    memset(memory, 0, zeros)
    planes.zeros = memory
    try:
        with nogil:
            if parts == 1:
                table.run(&planes, 0, items, memory + zeros)
            else:
                for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
                    table.run(&planes, items * part // parts, items * (part + 1) // parts,
                              memory + zeros + part * scratch)
    finally:
        give(memory)


def workspace_bytes(spec, int threads) -> int:
    """Zeros, and for each thread the patch at the border that it works on."""
    cdef const PlaneKernels* table
    cdef Planes planes
    cdef Py_ssize_t most = 0, zeros, scratch, x_w
    cdef int along
    for along in range(DIRECTIONS if spec.IC == spec.OC == spec.G else 1):
        for x_w in range(2):  # rows in place, or in patches: whatever it will be, these are enough
            planes.geometry = geometry_of(spec)
            planes.geometry.x_w, planes.geometry.out_w = x_w, 0
            table = set_groups(&planes, along, spec)
            scratch = in_lines(table.scratch(&planes)) + LINE
            zeros = in_lines(table.zero_cells(&planes.geometry) * kernels(spec.dtype).itemsize)
            most = max(most, zeros + threads * scratch)
    return most


cdef inline Py_ssize_t in_lines(Py_ssize_t nbytes) noexcept nogil:
    return (nbytes + LINE - 1) // LINE * LINE


cdef int direction(const Planes* planes, spec) except -1:
    """Along channels, or along both, where each has a group of its own and they lie side by side.

    Few channels fill no vectors by themselves. Otherwise that depends on whose code is straight:
    ``interleaved.h`` has it for some numbers of kernel rows, ``depthwise.h`` of columns.
    """
    cdef const Geometry* g = &planes.geometry
    cdef Py_ssize_t lanes = kernels(spec.dtype).width
    cdef bint few = spec.G * QUARTER <= lanes, dense, filled
    if spec.G == 1 or g.IC * g.OC > 1 or g.x_c != 1 or g.out_c != 1:
        return PIXELS
    dense = g.SH == g.SW == 1 and g.x_w == g.out_w == spec.G
    if few:
        return BOTH if dense else PIXELS
    filled = (spec.G + lanes - 1) // lanes * lanes * 2 <= 3 * spec.G
    if dense and 2 <= g.KH <= 7 and not (filled and g.DW == 1 and g.KW in (3, 5, 7)):
        return BOTH
    return CHANNELS


cdef const PlaneKernels* set_groups(Planes* planes, int along, spec) except NULL:
    """Along channels, and along both, all of them are one group."""
    cdef const Kernels* table = kernels(spec.dtype)
    cdef Geometry* g = &planes.geometry
    planes.N, planes.chunks = spec.N, 1
    if along != PIXELS:
        g.IC, g.OC = spec.IC, spec.OC
        planes.G, planes.blocks = 1, 1
        return table.depthwise if along == CHANNELS else table.interleaved
    planes.G = spec.G
    planes.blocks = (g.OC + table.planar.together - 1) // table.planar.together
    return table.planar


cdef void set_chunks(Planes* planes, int along, int threads) noexcept:
    """Rows are divided where there are too few planes for the threads."""
    cdef Py_ssize_t others = planes.N * planes.G * planes.blocks
    cdef Py_ssize_t least = 1 if along == CHANNELS else CHUNK
    if threads > 1 and others < SHARE * threads:
        planes.chunks = (SHARE * threads + others - 1) // others
        planes.chunks = max(1, min(planes.chunks, planes.geometry.OH // least))


cdef void set_arrays(Planes* planes, cnp.ndarray x, cnp.ndarray out, Py_ssize_t size) noexcept:
    planes.x, planes.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
    planes.x_n, planes.out_n = cnp.PyArray_STRIDE(x, 0) // size, cnp.PyArray_STRIDE(out, 0) // size
    set_strides(&planes.geometry, x, out)
