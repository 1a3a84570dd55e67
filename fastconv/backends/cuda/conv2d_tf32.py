"""Direct convolution on tensor cores in TF32: ten bits behind the point, weights rounded to them
and cells of x cut off; sums in float32; see :mod:`.fragments`."""

from .tensor_calls import row

pack, run, workspace_bytes, sources = row(lambda dtype: "tf32", ("float32",))
