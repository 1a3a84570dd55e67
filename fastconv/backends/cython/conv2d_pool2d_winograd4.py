"""conv2d.winograd4 and pooling, in tiles or bands: see ``fastconv/backends/bands.py``."""

from ..bands import fused_in_tiles
from . import conv2d_winograd4, pool2d_direct  # type: ignore[attr-defined]  # compiled

pack, run, workspace_bytes = fused_in_tiles(conv2d_winograd4, pool2d_direct)
