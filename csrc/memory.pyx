"""The one door to memory for this wing: packed weights, scratch, and pages for large results.

``take`` and ``give`` are malloc and free for the other modules of the wing, which reach them by
a ``cimport`` of ``fastconv.backends.cython.memory``; what they do is said in ``csrc/pages.h``.
:func:`pooled` lets NumPy itself allocate there, by NumPy's own rules for allocators (NEP 49): the
arrays own their memory like any other, and it comes back when NumPy frees it, whenever and in
whatever thread that is.
"""

import os
import sys

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport SIZE_MAX, uintptr_t
from libc.string cimport memcpy, memset

cimport numpy as cnp

cdef extern from "pages.h":
    void* pages_take(size_t nbytes, size_t place) nogil
    void pages_give(void* start) nogil
    size_t pages_room(const void* start) nogil
    void pages_set_limit(size_t nbytes) nogil
    size_t pages_held() nogil
    size_t PAGES_APART

cnp.import_array()

DEFAULT_LIMIT = 256 << 20

cdef str problem = None  # with FASTCONV_POOL_BYTES, told by the first call that needs memory
cdef size_t limit = DEFAULT_LIMIT


cdef int read_limit() except -1:
    global problem, limit
    given = os.environ.get("FASTCONV_POOL_BYTES")
    if given:
        if given.strip().isdecimal() and int(given) <= sys.maxsize:
            limit = int(given)
        else:
            problem = (
                f"FASTCONV_POOL_BYTES must be a number of bytes, 0 to switch the pool off; "
                f"got {given!r}"
            )
    pages_set_limit(limit)
    return 0


read_limit()


cdef char* take(Py_ssize_t nbytes) except NULL:
    cdef char* start
    if problem is not None:
        raise ValueError(problem)
    start = <char*>pages_take(nbytes, 0)
    if start is NULL:
        raise MemoryError(f"no memory for {nbytes} bytes of packed weights or scratch")
    return start


cdef char* take_or_null(Py_ssize_t nbytes) noexcept nogil:
    return <char*>pages_take(nbytes, 0)


cdef void give(void* start) noexcept nogil:
    pages_give(start)


def pool_limit() -> int:
    """The bytes that may lie idle. ValueError if ``FASTCONV_POOL_BYTES`` is no such number."""
    if problem is not None:
        raise ValueError(problem)
    return limit


def pool_held() -> int:
    """The bytes that lie idle now."""
    return pages_held()


# ---------------------------------------------------------------- arrays


cdef void* array_malloc(void* place, size_t size) noexcept nogil:
    return pages_take(size, <size_t>place)


cdef void* array_calloc(void* place, size_t count, size_t size) noexcept nogil:
    cdef void* start
    if size and count > SIZE_MAX // size:
        return NULL
    start = pages_take(count * size, <size_t>place)
    if start is not NULL:
        memset(start, 0, count * size)
    return start


cdef void* array_realloc(void* place, void* old, size_t size) noexcept nogil:
    cdef void* start = pages_take(size, <size_t>place)
    if start is not NULL and old is not NULL:
        memcpy(start, old, min(size, pages_room(old)))
        pages_give(old)
    return start


cdef void array_free(void* place, void* start, size_t size) noexcept nogil:
    pages_give(start)


cdef object handler(cnp.PyDataMem_Handler* table, size_t place):
    """An allocator of NumPy's whose arrays start `place` bytes after a multiple of 4 KB."""
    memcpy(table.name, b"fastconv pages", 15)
    table.version = 1
    table.allocator.ctx = <void*>place
    table.allocator.malloc = array_malloc
    table.allocator.calloc = array_calloc
    table.allocator.realloc = array_realloc
    table.allocator.free = array_free
    return PyCapsule_New(table, b"mem_handler", NULL)


cdef cnp.PyDataMem_Handler[2] tables
handlers = handler(&tables[0], 0), handler(&tables[1], PAGES_APART // 2)


def pooled(make, arguments, cnp.ndarray beside):
    """``make(*arguments)``, whose array lies in the pool's pages.

    Kernels that stream read ``beside`` while they write the array: the two start as far from
    the same place modulo 4 KB as two places to choose from allow.
    """
    cdef size_t place = 0
    if beside is not None:
        place = <uintptr_t>cnp.PyArray_DATA(beside) % PAGES_APART
    cdef bint in_the_middle = PAGES_APART // 4 <= place < PAGES_APART // 4 * 3
    if problem is not None:
        raise ValueError(problem)
    previous = cnp.PyDataMem_SetHandler(handlers[0 if in_the_middle else 1])
    try:
        return make(*arguments)
    finally:
        cnp.PyDataMem_SetHandler(previous)
