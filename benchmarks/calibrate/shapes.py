"""Random calls of every kind: odd sizes among them, sizes drawn by their logarithms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastconv.spec import ActivationSpec, Conv2dSpec, Pool2dSpec, Spec, in_layout

SMALLEST, LARGEST = 1e5, 1e9
"""Operations of a convolution: below, calls cost more than work, and a few ("tiny") tell how much;
above, they only take longer."""
LARGEST_BYTES = 200e6

Call = tuple[str, Spec]
"""The operation of the registry, and its spec."""

# How many of a hundred calls are of each kind.
KINDS = {
    "layer": 34, "tiny": 4, "pointwise": 8, "depthwise": 12, "grouped": 6, "picture": 14,
    "large filter": 5, "transpose": 8, "pool": 7, "activation": 2,
}


def spread(seed: int) -> Iterator[Call]:
    """Random calls without end, the same for the same seed."""
    rng = np.random.default_rng(seed)
    kinds, shares = list(KINDS), np.array(list(KINDS.values())) / 100
    while True:
        kind = str(rng.choice(kinds, p=shares))
        call = _Draw(rng).call(kind)
        if call is not None and _is_plausible(call[1], kind):
            yield call


def _is_plausible(spec: Spec, kind: str) -> bool:
    if spec.bytes > LARGEST_BYTES:
        return False
    if kind == "tiny":
        return spec.flops < SMALLEST
    return not isinstance(spec, Conv2dSpec) or SMALLEST < spec.flops < LARGEST


class _Draw:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.layout = self.one_of("NCHW", "NCHW", "NCHW", "NHWC")
        self.n = int(self.one_of("1", "1", "1", "2", "4", "16"))

    def size(self, least: int, most: int) -> int:
        """Log-uniform; every other one a round number, as people choose them."""
        drawn = math.exp(self.rng.uniform(math.log(least), math.log(most)))
        if self.rng.random() < 0.5:
            step = 2 ** max(0, int(math.log2(drawn)) - 2)
            drawn = max(least, round(drawn / step) * step)
        return min(most, max(least, round(drawn)))

    def one_of(self, *values: str) -> str:
        return str(self.rng.choice(values))

    def picture(self, least: int, most: int) -> tuple[int, int]:
        """Height and width, the same for two out of three."""
        h = self.size(least, most)
        return (h, h) if self.rng.random() < 0.67 else (h, self.size(least, most))

    def call(self, kind: str) -> Call | None:
        if kind == "pool":
            return self.pool()
        if kind == "activation":
            name = self.one_of("relu", "leaky_relu", "sigmoid", "tanh")
            return "activation", ActivationSpec(name, self.size(1000, 20_000_000))
        if kind == "transpose":
            return self.transpose()
        return self.convolution(kind)

    def convolution(self, kind: str) -> Call | None:
        ic, oc, groups = self.size(3, 512), self.size(8, 512), 1
        h, w = self.picture(5, 224)
        k = int(self.one_of("3", "3", "3", "3", "3", "5", "5", "7", "2", "4", "11"))
        kh, kw = k, k
        stride = int(self.one_of(*"111111111222", "3", "4"))
        if kind == "pointwise":
            kh = kw = 1
        elif kind == "tiny":
            ic, oc = self.size(1, 8), self.size(1, 8)
            h, w = self.picture(3, 12)
            kh = kw = int(self.one_of("1", "3", "3"))
        elif kind == "depthwise":
            groups = ic = self.size(8, 1024)
            oc = ic * int(self.one_of("1", "1", "1", "2"))
        elif kind == "grouped":
            groups = int(self.one_of("2", "4", "8", "32"))
            ic, oc = groups * self.size(2, 64), groups * self.size(2, 64)
        elif kind == "picture":
            self.n = 1
            ic = int(self.one_of("1", "1", "3", "4"))
            each = int(self.one_of("1", "1", "2", "4", "8"))
            groups = ic if self.rng.random() < 0.6 else 1
            oc = groups * each
            h, w = self.picture(32, 2048)
            kh = kw = self.size(2, 41)
            stride = int(self.one_of("1", "1", "1", "1", "1", "2"))
        elif kind == "large filter":
            h, w = self.picture(16, 400)
            kh, kw = (max(2, int(n * self.rng.uniform(0.2, 1))) for n in (h, w))
            ic, oc = self.size(1, 16), self.size(1, 16)
            stride = 1
        elif self.rng.random() < 0.08:
            kh, kw = (1, k) if self.rng.random() < 0.5 else (k, 1)
        dilation = 2 if kind in ("layer", "depthwise") and self.rng.random() < 0.08 else 1
        padding: object = ((dilation * (kh - 1) // 2,) * 2, (dilation * (kw - 1) // 2,) * 2)
        if self.rng.random() < 0.2:
            padding = "valid"
        if (kh - 1) * dilation >= h or (kw - 1) * dilation >= w:
            return None
        return "conv2d", Conv2dSpec.of(
            in_layout((self.n, ic, h, w), self.layout), (oc, ic // groups, kh, kw), stride=stride,
            padding=padding, dilation=dilation, groups=groups, layout=self.layout, bias=True,
        )

    def transpose(self) -> Call | None:
        ic, oc = self.size(3, 256), self.size(3, 256)
        groups = 1
        if self.rng.random() < 0.2:
            groups = oc = ic
        stride = int(self.one_of("1", "2", "2"))
        k = int(self.one_of("2", "3", "4", "5"))
        h, w = self.picture(4, 128)
        return "conv2d_input_grad", Conv2dSpec.of_transpose(
            in_layout((self.n, ic, h, w), self.layout), (ic, oc // groups, k, k), stride=stride,
            padding=min(1, k - 1), groups=groups, layout=self.layout, bias=True,
        )

    def pool(self) -> Call | None:
        shape = in_layout((self.n, self.size(1, 512), *self.picture(4, 256)), self.layout)
        mode = self.one_of("max", "max", "avg")
        if self.rng.random() < 0.2:
            return "pool2d", Pool2dSpec.of_adaptive(mode, shape, 1, layout=self.layout)
        k, stride = int(self.one_of("2", "2", "3")), int(self.one_of("1", "2", "2"))
        return "pool2d", Pool2dSpec.of(
            mode, shape, k, stride=stride, padding=k // 2 if k == 3 else 0, layout=self.layout
        )
