"""Direct convolution on tensor cores, every product taken as three of TF32 numbers: about as exact
as float32, but that an infinity becomes NaN (H. Ootomo and R. Yokota, 2022); see
:mod:`.fragments`."""

from .tensor_calls import row

pack, run, workspace_bytes, sources = row(lambda dtype: "tf32x3", ("float32",))
