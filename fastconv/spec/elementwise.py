"""The size of an element-wise activation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .arguments import HALF, LEAKY_SLOPE, itemsize


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """An element-wise activation over ``size`` values."""

    name: str
    size: int
    dtype: str = "float32"
    slope: float = LEAKY_SLOPE

    @property
    def flops(self) -> int:
        """One operation for each value."""
        return self.size

    @property
    def bytes(self) -> int:
        """Bytes of x and out."""
        return 2 * self.size * itemsize(self.dtype)

    @property
    def kernel_spec(self) -> ActivationSpec:
        """What a kernel sees: half types widened to float32."""
        return replace(self, dtype="float32") if self.dtype in HALF else self

    def __str__(self) -> str:
        return f"{self.name} {self.size} {self.dtype}"
