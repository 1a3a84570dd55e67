"""The geometry of a convolution whose maps are pooled at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .arguments import in_layout, itemsize, short
from .convolution import Conv2dSpec
from .pooling import Pool2dSpec


@dataclass(frozen=True, slots=True)
class ConvPool2dSpec:
    """A convolution and the pooling of its result; what the two share is asked of the first."""

    conv: Conv2dSpec
    pool: Pool2dSpec

    @classmethod
    def of(
        cls, x_shape: object, w_shape: object, *, pool: str = "max", pool_size: object = 2,
        pool_stride: object = None, pool_padding: object = 0, activation: object = "relu",
        **options: object,
    ) -> ConvPool2dSpec:
        """The spec of ``conv2d_pool2d(x, w, …)``; the other options are the convolution's."""
        conv = Conv2dSpec.of(x_shape, w_shape, activation=activation, **options)  # type: ignore[arg-type]
        return cls(conv, Pool2dSpec.of(
            pool, in_layout(conv.out_shape, conv.layout), pool_size, stride=pool_stride,
            padding=pool_padding, dtype=conv.dtype, layout=conv.layout,
        ))

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, IC, IH, IW)."""
        return self.conv.x_shape

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(OC, IC/G, KH, KW)."""
        return self.conv.w_shape

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, OC, pooled height, pooled width)."""
        return self.pool.out_shape

    @property
    def dtype(self) -> str:
        """Of all arrays."""
        return self.conv.dtype

    @property
    def layout(self) -> str:
        """Of x and of the result."""
        return self.conv.layout

    @property
    def bias(self) -> bool:
        """Whether the convolution has one."""
        return self.conv.bias

    @property
    def precision(self) -> str:
        """Asked of the convolution."""
        return self.conv.precision

    @property
    def padding_mode(self) -> str:
        """The convolution's."""
        return self.conv.padding_mode

    @property
    def flops(self) -> int:
        """Operations of both."""
        return self.conv.flops + self.pool.flops

    @property
    def bytes(self) -> int:
        """Bytes of x, w and the result: the maps between need not be written."""
        maps = self.conv.N * self.conv.OC * self.conv.OH * self.conv.OW * itemsize(self.dtype)
        return self.conv.bytes + self.pool.bytes - 2 * maps

    @property
    def kernel_spec(self) -> ConvPool2dSpec:
        """What a kernel sees of both."""
        return replace(self, conv=self.conv.kernel_spec, pool=self.pool.kernel_spec)

    @property
    def plain_spec(self) -> ConvPool2dSpec:
        """The same with the padding mode left to the kernel."""
        return replace(self, conv=self.conv.plain_spec, pool=self.pool.kernel_spec)

    def __str__(self) -> str:
        pool = self.pool
        return (
            f"{self.conv}, {pool.mode} window {pool.KH}×{pool.KW} "
            f"stride {short(pool.SH, pool.SW)}"
        )

    @property
    def is_quartered(self) -> bool:
        """Whether it takes maxima of 2×2 cells side by side, of maps that are limited at most:
        what a tile of the convolution can do by itself, if its cells are neighbours."""
        conv, pool = self.conv, self.pool
        return (
            pool.mode == "max" and (pool.KH, pool.KW) == (2, 2)
            and (pool.SH == 2 or pool.OH == 1) and (pool.SW == 2 or pool.OW == 1)
            and (pool.DH, pool.DW, pool.PT, pool.PL, pool.PB, pool.PR) == (1, 1, 0, 0, 0, 0)
            and (conv.DH, conv.DW) == (1, 1) and conv.activation in (None, "relu", "relu6")
        )
