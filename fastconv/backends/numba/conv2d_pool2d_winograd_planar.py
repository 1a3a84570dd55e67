"""conv2d.winograd_planar and pooling, band by band: see ``fastconv/backends/bands.py``."""

from ..bands import fused
from . import conv2d_winograd_planar, pool2d_direct

pack, run, workspace_bytes = fused(conv2d_winograd_planar, pool2d_direct)
