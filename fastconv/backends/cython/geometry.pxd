from fastconv.backends.cython.isa cimport Geometry

# The sizes of a convolution; strides as of dense arrays.
cdef Geometry geometry_of(spec)
