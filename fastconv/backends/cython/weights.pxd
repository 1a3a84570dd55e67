cimport numpy as cnp

from fastconv.backends.cython.isa cimport Geometry, Kernels

# Weights as they were given, and what the kernels make of them.
cdef class Weights:
    cdef cnp.ndarray w
    cdef bint kept    # for more than one call
    cdef char* packed
    cdef bint finite  # whether what is packed is
    cdef object lock

    cdef const char* rows(self) except NULL
    cdef const char* panels(self, const Kernels* table, const Geometry* g, Py_ssize_t G,
                            int threads) except NULL
