"""The weights of a convolution by blocks, in the two forms that the tiles read.

Where vectors run along pixels the tile reads the weights as they are: a row of all terms
(ic, kh, kw) for each output channel. Where they run along channels it reads panels
(``csrc/simd/block.h``). Which of the two a call needs depends on the picture, and on whether
they are used again, so each is made when it is first asked for.
"""

cimport numpy as cnp
from cython.parallel cimport prange

from threading import Lock

from fastconv.backends.cython.isa cimport Geometry, Kernels, team
from fastconv.backends.cython.memory cimport give, take

cnp.import_array()


cdef class Weights:
    def __init__(self, w, bint kept):
        self.w = w
        self.kept = kept
        self.lock = Lock()

    def __dealloc__(self):
        give(self.packed)

    cdef const char* rows(self) except NULL:
        """A row of terms for each channel, one after another."""
        if not cnp.PyArray_IS_C_CONTIGUOUS(self.w):
            with self.lock:
                self.w = cnp.PyArray_GETCONTIGUOUS(self.w)
        return <const char*>cnp.PyArray_DATA(self.w)

    cdef const char* panels(
        self, const Kernels* table, const Geometry* g, Py_ssize_t G, int threads,
    ) except NULL:
        """Panels of output channels, those of each group for themselves."""
        with self.lock:
            if self.packed is NULL:
                self.packed = pack_panels(table, g, G, self.w, threads, &self.finite)
        return self.packed


cdef char* pack_panels(
    const Kernels* table, const Geometry* g, Py_ssize_t G, cnp.ndarray w, int threads,
    bint* finite,
) except NULL:
    """The panels, and whether all weights are finite."""
    cdef Py_ssize_t size = table.itemsize
    cdef Py_ssize_t of_group = (g.OC + table.panel - 1) // table.panel, count = G * of_group
    cdef Py_ssize_t panel_bytes = g.IC * g.KH * g.KW * table.panel * size
    cdef const char* source = <const char*>cnp.PyArray_DATA(w)
    cdef char* packed = take(count * panel_bytes)
    cdef Py_ssize_t[4] strides
    cdef Py_ssize_t i, finite_panels = 0
    for i in range(4):
        strides[i] = cnp.PyArray_STRIDE(w, i) // size
    threads = <int>min(team(threads), count)
    with nogil:
        if threads == 1:
            for i in range(count):
                finite_panels += pack_one(
                    table, g, of_group, i, source, strides, packed + i * panel_bytes)
        else:
            for i in prange(count, num_threads=threads, schedule="static"):
                finite_panels += pack_one(
                    table, g, of_group, i, source, strides, packed + i * panel_bytes)
    finite[0] = finite_panels == count
    return packed


cdef Py_ssize_t pack_one(
    const Kernels* table, const Geometry* g, Py_ssize_t of_group, Py_ssize_t i, const char* w,
    const Py_ssize_t* strides, char* panel,
) noexcept nogil:
    cdef Py_ssize_t oc = i % of_group * table.panel
    return table.convolution.pack_panel(
        g, min(table.panel, g.OC - oc), table.panel,
        w + (i // of_group * g.OC + oc) * strides[0] * table.itemsize, strides, panel,
    )
