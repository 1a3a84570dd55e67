"""Direct convolution of float32 numbers on tensor cores, both factors rounded to bfloat16; sums in
float32; see :mod:`.fragments`."""

from .tensor_calls import row

pack, run, workspace_bytes, sources = row(lambda dtype: "bfloat16", ("float32",))
