from fastconv.backends.cython.cutting cimport DIRECT, IM2COL, Algorithm
from fastconv.backends.cython.weights cimport Weights

cdef Weights prepare(Algorithm algorithm, spec, w, bint kept, int threads)
cdef object run_blocks(Algorithm algorithm, spec, x, Weights weights, bias, out, int threads)
cdef Py_ssize_t blocks_bytes(Algorithm algorithm, spec, int threads) except -1
