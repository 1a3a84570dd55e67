cimport numpy as cnp

from fastconv.backends.cython.isa cimport Geometry

# The sizes of a convolution; strides as of dense arrays.
cdef Geometry geometry_of(spec)

# Those of two arrays, in logical (N, C, H, W) order, instead.
cdef void set_strides(Geometry* g, cnp.ndarray x, cnp.ndarray out) noexcept
