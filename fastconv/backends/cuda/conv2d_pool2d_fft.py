"""conv2d.fft@cuda, its maps pooled while they lie in the cache; see :mod:`.pooled`."""

from . import conv2d_fft
from .pooled import fused

pack, run, workspace_bytes = fused(conv2d_fft)
