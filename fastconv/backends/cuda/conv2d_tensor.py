"""Direct convolution of float16 and bfloat16 numbers on tensor cores: their products are exact, the
sums of each stage are rounded into float32 ones; see :mod:`.fragments`."""

from .tensor_calls import row

pack, run, workspace_bytes, sources = row(
    lambda dtype: f"{dtype} apart", ("float16", "bfloat16")
)
