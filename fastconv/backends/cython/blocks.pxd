cdef class PackedWeights:
    cdef char* panels
    cdef Py_ssize_t panel_width, panel_size

cdef enum Algorithm:
    DIRECT
    IM2COL

cdef PackedWeights pack_weights(spec, w, int threads)
cdef object run_blocks(Algorithm algorithm, spec, x, PackedWeights packed, bias, out, int threads)
cdef Py_ssize_t blocks_bytes(Algorithm algorithm, spec, int threads) except -1
