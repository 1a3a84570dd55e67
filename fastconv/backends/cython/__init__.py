"""Compiled kernels: ``csrc/NAME.pyx`` is built into this package as ``NAME``."""
