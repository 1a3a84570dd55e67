# The constant of table.h for the name of an activation, ACT_NONE for None.
cdef int kind_of(str name) except -1
