"""Convolution as a matrix product: the input is unrolled into columns, block by block.

The columns of a block of output pixels are written out in full, one row for each term
(ic, kh, kw), and multiplied by the weights with the register tile of
``csrc/simd/gemm_tile.h``. Only a block's columns exist at a time. (K. Chellapilla, S. Puri and
P. Simard, High Performance Convolutional Neural Networks for Document Processing, 2006.)
"""

from fastconv.backends.cython.blocks cimport (
    IM2COL, Weights, blocks_bytes, prepare, run_blocks,
)


def pack(spec, w, int threads):
    """The weights in the form that the tile reads."""
    return prepare(IM2COL, spec, w, True, threads)


def run(spec, x, Weights weights not None, bias, out, int threads):
    """Write the convolution of x into out."""
    run_blocks(IM2COL, spec, x, weights, bias, out, threads)


def workspace_bytes(spec, int threads) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return blocks_bytes(IM2COL, spec, threads)
