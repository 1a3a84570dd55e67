cdef extern from "simd/table.h":
    ctypedef struct Kernels:
        int itemsize
        int width

# The kernels for "float32" or "float64"; a ValueError if FASTCONV_ISA asks for what cannot be.
cdef const Kernels* kernels(str dtype) except NULL

# The number of threads for a parallel loop: `threads`, or 1 where one must not be started.
cdef int team(int threads) noexcept nogil
