"""conv2d.winograd_planar and pooling, in tiles or bands: see ``fastconv/backends/bands.py``."""

from ..bands import fused_in_tiles
from . import conv2d_winograd_planar, pool2d_direct

pack, run, workspace_bytes = fused_in_tiles(conv2d_winograd_planar, pool2d_direct)
