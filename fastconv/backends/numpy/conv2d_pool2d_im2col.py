"""conv2d.im2col and pooling, band by band: see ``fastconv/backends/bands.py``."""

from ..bands import fused
from . import conv2d_im2col, pool2d_direct

pack, run, workspace_bytes = fused(conv2d_im2col, pool2d_direct)
