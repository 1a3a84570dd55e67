# The four strides of a (N, C, H, W) array, in elements.
cimport numpy as cnp

cdef extern from "simd/windows.h":
    ctypedef struct Strides:
        Py_ssize_t n, c, h, w


cdef inline Strides strides_of(cnp.ndarray array, Py_ssize_t itemsize) noexcept:
    cdef Strides strides
    strides.n = cnp.PyArray_STRIDE(array, 0) // itemsize
    strides.c = cnp.PyArray_STRIDE(array, 1) // itemsize
    strides.h = cnp.PyArray_STRIDE(array, 2) // itemsize
    strides.w = cnp.PyArray_STRIDE(array, 3) // itemsize
    return strides
