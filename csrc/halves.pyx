"""float16 and bfloat16 arrays widened to float32 and rounded back, by all threads.

NumPy converts one number after another, which takes longer than many a convolution.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport uint16_t

from fastconv.backends.cython.isa cimport HalfKernels, kernels, team

cnp.import_array()

cdef enum:
    RUN = 16384  # numbers that a thread converts at a time


def widen(cnp.ndarray x not None, cnp.ndarray out not None, bint brain, int threads):
    """``out`` (float32) = ``x``, of float16 or, if ``brain``, bfloat16; dense in one order."""
    convert(<char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out), cnp.PyArray_SIZE(x), brain,
            True, threads)


def narrow(cnp.ndarray x not None, cnp.ndarray out not None, bint brain, int threads):
    """``out``, of float16 or, if ``brain``, bfloat16, = ``x`` (float32), rounded to nearest."""
    convert(<char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out), cnp.PyArray_SIZE(x), brain,
            False, threads)


cdef int convert(
    const char* x, char* out, Py_ssize_t n, bint brain, bint widens, int threads,
) except -1:
    cdef const HalfKernels* table = kernels("float32").halves
    cdef Py_ssize_t runs = (n + RUN - 1) // RUN, i
    threads = <int>min(team(threads), runs)
    with nogil:
        if threads <= 1:
            convert_run(table, x, out, n, brain, widens)
        else:
            for i in prange(runs, num_threads=threads, schedule="static"):
                convert_run(
                    table, x + i * RUN * (2 if widens else 4), out + i * RUN * (4 if widens else 2),
                    min(RUN, n - i * RUN), brain, widens,
                )
    return 0


cdef void convert_run(
    const HalfKernels* table, const char* x, char* out, Py_ssize_t n, bint brain, bint widens,
) noexcept nogil:
    if widens:
        table.widen(brain, <const uint16_t*>x, <float*>out, n)
    else:
        table.narrow(brain, <const float*>x, <uint16_t*>out, n)
