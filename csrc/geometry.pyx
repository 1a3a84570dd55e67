"""The numbers of a spec as C has them, read once.

A spec has two dozen attributes, and reading them takes longer than a small convolution. Specs
never change and the one of a repeated call is always the same object, so what was read is kept
with the spec itself, under its address.
"""

cimport cython
cimport numpy as cnp

from fastconv.backends.cython.isa cimport Geometry

cnp.import_array()

cdef enum:
    MOST_KEPT = 1024  # before there are more all are forgotten


@cython.final
cdef class Kept:
    cdef object spec  # alive, so that no other can have its address
    cdef Geometry geometry


cdef dict kept = {}


cdef Geometry geometry_of(spec):
    cdef Py_ssize_t address = <Py_ssize_t><void*>spec
    cdef Geometry g
    cdef Kept entry
    found = kept.get(address)
    if found is not None:
        return (<Kept>found).geometry
    g.IC, g.IH, g.IW = spec.IC // spec.G, spec.IH, spec.IW
    g.OC, g.OH, g.OW = spec.OC // spec.G, spec.OH, spec.OW
    g.KH, g.KW, g.SH, g.SW = spec.KH, spec.KW, spec.SH, spec.SW
    g.DH, g.DW, g.PT, g.PL = spec.DH, spec.DW, spec.PT, spec.PL
    if spec.layout == "NHWC":
        g.x_c, g.x_w, g.x_h = 1, spec.IC, spec.IC * spec.IW
        g.out_c, g.out_w, g.out_h = 1, spec.OC, spec.OC * spec.OW
    else:
        g.x_c, g.x_w, g.x_h = spec.IH * spec.IW, 1, spec.IW
        g.out_c, g.out_w, g.out_h = spec.OH * spec.OW, 1, spec.OW
    entry = Kept.__new__(Kept)
    entry.spec, entry.geometry = spec, g
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[address] = entry
    return g


cdef void set_strides(Geometry* g, cnp.ndarray x, cnp.ndarray out) noexcept:
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(x)
    g.x_c = cnp.PyArray_STRIDE(x, 1) // size
    g.x_h = cnp.PyArray_STRIDE(x, 2) // size
    g.x_w = cnp.PyArray_STRIDE(x, 3) // size
    g.out_c = cnp.PyArray_STRIDE(out, 1) // size
    g.out_h = cnp.PyArray_STRIDE(out, 2) // size
    g.out_w = cnp.PyArray_STRIDE(out, 3) // size
