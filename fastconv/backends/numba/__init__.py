"""The Numba wing: kernels compiled on first use, with explicit vectors; see :mod:`.jit`."""
