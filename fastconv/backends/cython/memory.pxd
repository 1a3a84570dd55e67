# `nbytes` bytes that start on a cache line, for whatever a call or packed weights need. The pages
# of large blocks have mostly been touched before; what stands in them is anything. Any thread may
# take and give; nobody else gets a block before it is given back.

# Never NULL; a MemoryError instead.
cdef char* take(Py_ssize_t nbytes) except NULL

# The same where the GIL is not held; NULL if there is no memory.
cdef char* take_or_null(Py_ssize_t nbytes) noexcept nogil

# Give back what either returned; NULL is allowed.
cdef void give(void* start) noexcept nogil
