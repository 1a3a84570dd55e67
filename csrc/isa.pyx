"""The instruction set that this process computes with, and its threads.

The C kernels are compiled once per instruction set; they live in this module alone, and the others
reach them by a ``cimport`` of ``fastconv.backends.cython.isa``. The best set that the CPU has is
taken, or the one that ``FASTCONV_ISA`` names.
"""

import os

from fastconv.backends.forks import forked

cdef extern from "simd/isa.h":
    ctypedef struct Isa:
        const char* name
        const Kernels* f32
        const Kernels* f64
        int (*supported)() noexcept nogil
    int isa_count() noexcept nogil
    const Isa* isa_get(int i) noexcept nogil
    int isa_processor(char* vendor) noexcept nogil

cdef extern from "simd/team.h":
    int team_size(int threads) noexcept nogil
    void team_was_forked() noexcept nogil
    bint team_has_openmp() noexcept nogil

cdef const Isa* chosen = NULL

if forked():
    team_was_forked()


def built() -> list[str]:
    """The instruction sets in this build, the plainest first."""
    return [isa_get(i).name.decode() for i in range(isa_count())]


def supported() -> list[str]:
    """Those of them that this CPU has."""
    return [isa_get(i).name.decode() for i in range(isa_count()) if isa_get(i).supported()]


def active() -> str:
    """The one in use. ValueError if ``FASTCONV_ISA`` names one that cannot be used."""
    return choice().name.decode()


def processor() -> str:
    """Vendor and family of this CPU, such as "GenuineIntel 6"; "" where nothing tells."""
    cdef char[13] vendor
    cdef int family = isa_processor(vendor)
    return f"{vendor.decode()} {family}" if family else ""


def openmp() -> bool:
    """Whether this build has threads."""
    return team_has_openmp()


cdef const Isa* choice() except NULL:
    global chosen
    if chosen is NULL:
        usable: list = supported()
        name = os.environ.get("FASTCONV_ISA") or usable[len(usable) - 1]
        if name not in usable:
            if name in built():
                why = "this CPU does not have it"
            else:
                why = "it is not among the sets in this build"
            raise ValueError(
                f"FASTCONV_ISA={name!r} cannot be used: {why}; usable here are {', '.join(usable)}"
            )
        chosen = isa_get(built().index(name))
    return chosen


cdef const Kernels* kernels(str dtype) except NULL:
    return choice().f32 if dtype == "float32" else choice().f64


cdef int team(int threads) noexcept nogil:
    return team_size(threads)
