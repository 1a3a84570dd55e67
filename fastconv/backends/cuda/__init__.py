"""Kernels for NVIDIA GPUs, written with numba.cuda; loaded when they are first asked for."""
