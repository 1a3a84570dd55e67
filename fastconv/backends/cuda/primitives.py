"""The device intrinsics, or their twins where numba's simulator stands for the card.

Kernels take all that is not plain Python from here, and so run in both.
"""

from __future__ import annotations

import os

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")

if SIMULATED:
    from . import twins as chosen
    from . import twins_patches as patches
    from . import twins_tensor as tensor
else:
    from . import intrinsics as chosen  # type: ignore[no-redef]
    from . import intrinsics_patches as patches  # type: ignore[no-redef]
    from . import intrinsics_tensor as tensor  # type: ignore[no-redef]

BYTES = chosen.BYTES
anew = chosen.anew
arrived = chosen.arrived
copier = chosen.copier
i32 = chosen.i32
inlined = chosen.inlined
loader = chosen.loader
power = chosen.power
pushed = chosen.pushed
quotient = chosen.quotient
raise_to = chosen.raise_to
reload = chosen.reload
remainder = chosen.remainder
sent = chosen.sent
shared_memory = chosen.shared_memory
storer = chosen.storer
tile_product = chosen.tile_product
vector_copier = chosen.vector_copier
vector_loader = chosen.vector_loader
vector_of = chosen.vector_of
vector_storer = chosen.vector_storer
zeros = chosen.zeros
within = chosen.within

NOWHERE = patches.NOWHERE
offsets = patches.offsets
patch_loader = patches.patch_loader
spaced_loader = patches.spaced_loader
spaced_storer = patches.spaced_storer
transformer = patches.transformer

rounded_to_tf32 = tensor.rounded_to_tf32
tensor_product = tensor.tensor_product
