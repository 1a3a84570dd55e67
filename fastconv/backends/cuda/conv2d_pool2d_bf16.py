"""conv2d.bf16@cuda, its maps pooled while they lie in the cache; see :mod:`.pooled`."""

from . import conv2d_bf16
from .pooled import fused

pack, run, workspace_bytes = fused(conv2d_bf16)
