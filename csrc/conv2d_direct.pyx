"""Direct convolution: the register tile reads a padded patch of the input.

Each thread copies the part of the input that a block of output pixels needs, with the padding
written out and the columns split by their residue modulo the stride. In that patch the factors
of neighbouring output pixels are neighbours for every kernel tap, so that the tile of
``csrc/simd/gemm_tile.h`` walks over it with one offset for each term. Where x itself is in
an order that suits (1×1 kernels; along channels whatever is not padded, and the inner regions of
what is) it is read in place.
"""

from fastconv.backends.cython.blocks cimport (
    DIRECT, Weights, blocks_bytes, prepare, run_blocks,
)


def pack(spec, w, int threads):
    """The weights in the form that the tile reads."""
    return prepare(DIRECT, spec, w, True, threads)


def once(spec, w, int threads):
    """The same, for a single call: as they are, where packing would take longer than it saves."""
    return prepare(DIRECT, spec, w, False, threads)


def run(spec, x, Weights weights not None, bias, out, int threads):
    """Write the convolution of x into out."""
    run_blocks(DIRECT, spec, x, weights, bias, out, threads)


def workspace_bytes(spec, int threads) -> int:
    """Bytes of scratch memory that ``run`` takes."""
    return blocks_bytes(DIRECT, spec, threads)
