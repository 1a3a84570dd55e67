cdef int kind_of(str name) except -1
