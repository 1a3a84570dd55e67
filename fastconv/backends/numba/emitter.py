"""What the emitters of tiles have in common: numbers of a job, loads, stores and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from . import simd


class Emitter:
    """Emits code for vectors of ``dtype``; ``job`` is the address of 64-bit integers, whose names
    are ``fields``."""

    def __init__(
        self, builder: ir.IRBuilder, dtype: np.dtype[Any], job: ir.Value, fields: Sequence[str]
    ) -> None:
        self.builder = builder
        self.number = ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
        self.size = dtype.itemsize
        self.lanes = simd.BITS // (8 * self.size)
        self.vector = ir.VectorType(self.number, self.lanes)
        self.job = {name: self.word(job, 8 * i) for i, name in enumerate(fields)}

    def word(self, address: ir.Value, offset: int) -> ir.Value:
        """A 64-bit integer from memory."""
        at = self.builder.add(address, simd.INT(offset))
        return self.builder.load(simd.emit_pointer(self.builder, at, simd.INT), align=8)

    def plus(self, address: ir.Value, step: ir.Value, times: int) -> ir.Value:
        """``address`` and some steps."""
        if not times:
            return address
        return self.builder.add(address, self.builder.mul(step, simd.INT(times)))

    def splat(self, address: ir.Value, offset: int) -> ir.Value:
        """A number from memory in every lane."""
        at = self.builder.add(address, simd.INT(offset))
        pointer = simd.emit_pointer(self.builder, at, self.number)
        return simd.emit_splat(
            self.builder, simd.emit_load(self.builder, pointer, self.number), self.lanes
        )

    def load(self, address: ir.Value, mask: ir.Value | None) -> ir.Value:
        """A vector, zero where there is a mask that is not set."""
        if mask is None:
            pointer = simd.emit_pointer(self.builder, address, self.vector)
            return simd.emit_load(self.builder, pointer, self.number)
        return simd.emit_masked_load(self.builder, address, mask, ir.Constant(self.vector, 0.0))

    def store(self, address: ir.Value, value: ir.Value, mask: ir.Value | None) -> None:
        """A vector, or its lanes under a mask."""
        if mask is None:
            pointer = simd.emit_pointer(self.builder, address, self.vector)
            self.builder.store(value, pointer, align=self.size)
        else:
            simd.emit_masked_store(self.builder, address, value, mask)

    def limited(self, values: list[ir.Value]) -> list[ir.Value]:
        """``values`` between the job's limits; NaN passes."""
        b = self.builder
        least = self.splat(self.job["limits"], 0)
        most = self.splat(self.job["limits"], self.size)
        return simd.emit_limited(b, values, least, most)
