"""What a kernel asks of the card and numba.cuda has no public name for, through llvmlite.

Addresses are int64: kernels take plain pointers and reckon offsets in elements, so a launch has
few and cheap arguments. Values travel as tuples (``UniTuple``), which stay in registers; a local
array that is handed to a function would land in memory. ``twins.py`` has the same names in plain
Python for the simulator.

Sources: NVIDIA, "Parallel Thread Execution ISA" (cp.async, cvt.rn.bf16.f32, shfl.sync); LLVM,
"User Guide for NVPTX Back-end" (address spaces 1 global and 3 shared, invariant.load).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda, types
from numba.cuda.extending import intrinsic

BYTES = 16
"""Of the widest load and store."""
_GLOBAL, _SHARED = 1, 3
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_F32 = ir.FloatType()

i32 = np.int32
"""Narrows what numba reckons in 64 bits: that takes twice the instructions and registers."""

power = math.pow
"""x ** y of floating numbers."""

inlined: Callable[[Callable[..., Any]], Any] = cuda.jit(device=True, inline="always")
"""Decorates functions that kernels call: a real call would ask for the card when compiled."""


def _asm(builder: Any, text: str, constraint: str, args: list[Any], result: Any = None,
         effect: bool = True) -> Any:
    kind = ir.FunctionType(result or ir.VoidType(), [a.type for a in args])
    if effect:
        constraint += ",~{memory}" if constraint else "~{memory}"
    return builder.call(ir.InlineAsm(kind, text, constraint, side_effect=effect), args)


def _place(builder: Any, pointer: Any, index: Any, element: Any, space: int) -> Any:
    base = builder.inttoptr(pointer, ir.PointerType(element, space))
    return builder.gep(base, [index], source_etype=element)


def _as(builder: Any, place: Any, kind: Any, space: int) -> Any:
    return builder.bitcast(place, ir.PointerType(kind, space))


def _load(builder: Any, place: Any, kind: Any, align: int, invariant: bool) -> Any:
    value = builder.load(place, typ=kind, align=align)
    if invariant:
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _tuple(context: Any, builder: Any, kind: Any, values: list[Any]) -> Any:
    return context.make_tuple(builder, kind, values)


def _wide(signature: Any) -> list[Any]:
    """int64 for every address and index, whatever the kernel reckoned in."""
    return [types.int64] * signature


# ---------------------------------------------------------------- numbers in memory


class _Real:
    """float32 and float64 as they are."""

    def __init__(self, numba_type: Any, llvm: Any, size: int) -> None:
        self.value, self.stored, self.size = numba_type, llvm, size
        self.lanes = BYTES // size

    def widen(self, builder: Any, value: Any) -> Any:
        return value

    def narrow(self, builder: Any, value: Any) -> Any:
        return value


class _Half(_Real):
    """IEEE float16, computed as float32."""

    def __init__(self) -> None:
        super().__init__(types.float32, ir.HalfType(), 2)

    def widen(self, builder: Any, value: Any) -> Any:
        return builder.fpext(value, _F32)

    def narrow(self, builder: Any, value: Any) -> Any:
        return builder.fptrunc(value, ir.HalfType())


class _Brain(_Real):
    """bfloat16, the upper half of a float32."""

    def __init__(self) -> None:
        super().__init__(types.float32, _I16, 2)

    def widen(self, builder: Any, value: Any) -> Any:
        upper = builder.shl(builder.zext(value, _I32), ir.Constant(_I32, 16))
        return builder.bitcast(upper, _F32)

    def narrow(self, builder: Any, value: Any) -> Any:
        return _asm(builder, "cvt.rn.bf16.f32 $0, $1;", "=h,f", [value], _I16, effect=False)


_KINDS: dict[str, _Real] = {
    "float32": _Real(types.float32, _F32, 4),
    "float64": _Real(types.float64, ir.DoubleType(), 8),
    "float16": _Half(), "bfloat16": _Brain(),
    "int32": _Real(types.int32, _I32, 4), "int64": _Real(types.int64, _I64, 8),
}


def _signature(result: Any, *args: Any) -> Any:
    return result(*args)


@cache
def loader(dtype: str, *, space: str = "global") -> Any:
    """``load(pointer, i)``: the i-th number, halves as float32. Global memory is read through the
    cache for data that no thread of the launch writes."""
    kind, at = _KINDS[dtype], _GLOBAL if space != "shared" else _SHARED

    @intrinsic
    def load(typingctx, pointer, index):
        def generate(context, builder, signature, args):
            place = _place(builder, args[0], args[1], kind.stored, at)
            return kind.widen(
                builder, _load(builder, place, kind.stored, kind.size, space == "global")
            )

        return _signature(kind.value, *_wide(2)), generate

    return load


@cache
def storer(dtype: str, *, space: str = "global") -> Any:
    """``store(pointer, i, value)``, rounded to the dtype."""
    kind, at = _KINDS[dtype], _SHARED if space == "shared" else _GLOBAL

    @intrinsic
    def store(typingctx, pointer, index, value):
        def generate(context, builder, signature, args):
            place = _place(builder, args[0], args[1], kind.stored, at)
            builder.store(kind.narrow(builder, args[2]), place, align=kind.size)
            return context.get_dummy_value()

        return _signature(types.void, *_wide(2), kind.value), generate

    return store


def _moved(kind: _Real, lanes: int) -> Any:
    """As what a vector travels: halves as whole words, or the back end splits eight in two."""
    if kind.size == 2 and lanes % 2 == 0:
        return ir.VectorType(_I32, lanes // 2)
    return ir.VectorType(kind.stored, lanes)


@cache
def vector_loader(dtype: str, lanes: int = 0, *, space: str = "global") -> Any:
    """``load(pointer, i)``: ``lanes`` numbers from the i-th on as a tuple, in one load; 16 bytes
    of them unless stated. The address is aligned to their size."""
    kind, at = _KINDS[dtype], _SHARED if space == "shared" else _GLOBAL
    lanes = lanes or kind.lanes
    vector = ir.VectorType(kind.stored, lanes)
    result = types.UniTuple(kind.value, lanes)

    @intrinsic
    def load(typingctx, pointer, index):
        def generate(context, builder, signature, args):
            moved = _moved(kind, lanes)
            place = _as(builder, _place(builder, args[0], args[1], kind.stored, at), moved, at)
            found = _load(builder, place, moved, lanes * kind.size, space == "global")
            found = found if moved == vector else builder.bitcast(found, vector)
            parts = [builder.extract_element(found, ir.Constant(_I32, i)) for i in range(lanes)]
            return _tuple(context, builder, result, [kind.widen(builder, p) for p in parts])

        return _signature(result, *_wide(2)), generate

    return load


@cache
def vector_storer(dtype: str, lanes: int = 0, *, space: str = "global") -> Any:
    """``store(pointer, i, values)``: a tuple of numbers in one store, as vector_loader."""
    kind, at = _KINDS[dtype], _SHARED if space == "shared" else _GLOBAL
    lanes = lanes or kind.lanes
    vector = ir.VectorType(kind.stored, lanes)

    @intrinsic
    def store(typingctx, pointer, index, values):
        def generate(context, builder, signature, args):
            whole = ir.Constant(vector, ir.Undefined)
            for i in range(lanes):
                part = kind.narrow(builder, builder.extract_value(args[2], i))
                whole = builder.insert_element(whole, part, ir.Constant(_I32, i))
            moved = _moved(kind, lanes)
            whole = whole if moved == vector else builder.bitcast(whole, moved)
            place = _as(builder, _place(builder, args[0], args[1], kind.stored, at), moved, at)
            builder.store(whole, place, align=lanes * kind.size)
            return context.get_dummy_value()

        return _signature(types.void, *_wide(2), types.UniTuple(kind.value, lanes)), generate

    return store


# ---------------------------------------------------------------- shared memory


def shared_memory(nbytes: int) -> Any:
    """``memory()``: the address of ``nbytes`` that the threads of a block share, aligned to 16;
    one for each kernel."""

    @intrinsic
    def memory(typingctx):
        def generate(context, builder, signature, args):
            kind = ir.ArrayType(ir.IntType(8), nbytes)
            name = builder.module.get_unique_name("shared")
            block = ir.GlobalVariable(builder.module, kind, name, _SHARED)
            block.linkage, block.align = "internal", BYTES
            block.initializer = ir.Constant(kind, ir.Undefined)
            return builder.ptrtoint(block, _I64)

        return types.int64(), generate

    return memory


@cache
def copier(dtype: str) -> Any:
    """``copy(to, i, pointer, j, there)``: one number from global to shared memory, 0 unless
    ``there``. It arrives by :func:`arrived`; halves arrive as float32."""
    kind = _KINDS[dtype]

    @intrinsic
    def copy(typingctx, to, index, pointer, offset, there):
        def generate(context, builder, signature, args):
            size = kind.size if kind.size >= 4 else 4
            target = builder.add(args[0], builder.mul(args[1], ir.Constant(_I64, size)))
            source = builder.add(args[2], builder.mul(args[3], ir.Constant(_I64, kind.size)))
            if kind.size >= 4:
                count = builder.select(
                    args[4], ir.Constant(_I32, size), ir.Constant(_I32, 0)
                )
                _asm(
                    builder, f"cp.async.ca.shared.global [$0], [$1], {size}, $2;", "r,l,r",
                    [builder.trunc(target, _I32), source, count],
                )
                return context.get_dummy_value()
            before = builder.block
            with builder.if_then(args[4]):
                place = builder.inttoptr(source, ir.PointerType(kind.stored, _GLOBAL))
                value = kind.widen(builder, _load(builder, place, kind.stored, 2, True))
                inside = builder.block
            merged = builder.phi(_F32)
            merged.add_incoming(ir.Constant(_F32, 0.0), before)
            merged.add_incoming(value, inside)
            place = builder.inttoptr(target, ir.PointerType(_F32, _SHARED))
            builder.store(merged, place, align=4)
            return context.get_dummy_value()

        return _signature(types.void, *_wide(4), types.boolean), generate

    return copy


@cache
def vector_copier(dtype: str) -> Any:
    """``copy(to, i, pointer, j, there)``: 16 bytes of float32 or float64, all or 0; indices count
    numbers."""
    kind = _KINDS[dtype]

    @intrinsic
    def copy(typingctx, to, index, pointer, offset, there):
        def generate(context, builder, signature, args):
            step = ir.Constant(_I64, kind.size)
            target = builder.add(args[0], builder.mul(args[1], step))
            source = builder.add(args[2], builder.mul(args[3], step))
            count = builder.select(args[4], ir.Constant(_I32, BYTES), ir.Constant(_I32, 0))
            _asm(
                builder, f"cp.async.cg.shared.global [$0], [$1], {BYTES}, $2;", "r,l,r",
                [builder.trunc(target, _I32), source, count],
            )
            return context.get_dummy_value()

        return _signature(types.void, *_wide(4), types.boolean), generate

    return copy


@intrinsic
def sent(typingctx):
    """Close a group of copies."""

    def generate(context, builder, signature, args):
        _asm(builder, "cp.async.commit_group;", "", [])
        return context.get_dummy_value()

    return types.void(), generate


@cache
def arrived(pending: int) -> Any:
    """``wait()`` until at most ``pending`` groups of this thread's copies are under way."""

    @intrinsic
    def wait(typingctx):
        def generate(context, builder, signature, args):
            _asm(builder, f"cp.async.wait_group {pending};", "", [])
            return context.get_dummy_value()

        return types.void(), generate

    return wait


# ---------------------------------------------------------------- integers


def _unsigned(operation: str) -> Any:
    @intrinsic
    def divide(typingctx, a, b):
        def generate(context, builder, signature, args):
            a, b = (builder.trunc(value, _I32) for value in args)
            return builder.zext(getattr(builder, operation)(a, b), _I64)

        return _signature(types.int64, *_wide(2)), generate

    return divide


quotient = _unsigned("udiv")
"""a // b of numbers from 0 to 2³² − 1; numba's own is a call for 64 bits."""
remainder = _unsigned("urem")
"""a % b likewise."""


@intrinsic
def within(typingctx, i, n):
    """0 ≤ i < n in one comparison, for an n of 0 to 2³¹ − 1."""

    def generate(context, builder, signature, args):
        i, n = (builder.trunc(value, _I32) for value in args)
        return builder.icmp_unsigned("<", i, n)

    return _signature(types.boolean, *_wide(2)), generate


@intrinsic
def anew(typingctx, value):
    """An int32 that the compiler takes for another each time: what follows from it is reckoned
    again in each turn of a loop, where kept results would fill the registers."""

    def generate(context, builder, signature, args):
        return _asm(builder, "mov.b32 $0, $1;", "=r,r", [builder.trunc(args[0], _I32)], _I32)

    return _signature(types.int32, types.int64), generate


@intrinsic
def reload(typingctx):
    """No instruction: what was read of shared memory is read again, not kept in registers."""

    def generate(context, builder, signature, args):
        _asm(builder, "", "", [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def raise_to(typingctx, pointer, index, value):
    """The i-th int32 becomes the maximum of itself and ``value``, in one indivisible step."""

    def generate(context, builder, signature, args):
        place = _place(builder, args[0], args[1], _I32, _GLOBAL)
        builder.atomic_rmw("max", place, builder.trunc(args[2], _I32), "monotonic")
        return context.get_dummy_value()

    return _signature(types.void, *_wide(3)), generate


# ---------------------------------------------------------------- tuples of numbers



@cache
def zeros(n: int, dtype: str) -> Any:
    """``zero()``: a tuple of ``n`` zeros."""
    kind = _KINDS[dtype].value
    result = types.UniTuple(kind, n)

    @intrinsic
    def zero(typingctx):
        def generate(context, builder, signature, args):
            value = ir.Constant(context.get_value_type(kind), 0 if dtype.startswith("int") else 0.0)
            return _tuple(context, builder, result, [value] * n)

        return result(), generate

    return zero


@cache
def vector_of(n: int, count: int, dtype: str) -> Any:
    """``vector(values, i)``: the i-th ``count`` of ``n`` values, by branches: registers have no
    index, and an array would lie in memory."""
    kind = _KINDS[dtype].value
    result = types.UniTuple(kind, count)

    @intrinsic
    def vector(typingctx, values, i):
        def generate(context, builder, signature, args):
            parts = [
                [builder.extract_value(args[0], at + e) for e in range(count)]
                for at in range(0, n, count)
            ]
            done = builder.append_basic_block("taken")
            blocks = [builder.append_basic_block(f"take{at}") for at in range(len(parts))]
            switch = builder.switch(builder.trunc(args[1], _I32), blocks[-1])
            for at, block in enumerate(blocks):
                if at < len(blocks) - 1:
                    switch.add_case(ir.Constant(_I32, at), block)
                with builder.goto_block(block):
                    builder.branch(done)
            builder.position_at_end(done)
            taken = []
            for e in range(count):
                phi = builder.phi(parts[0][e].type)
                for block, part in zip(blocks, parts, strict=True):
                    phi.add_incoming(part[e], block)
                taken.append(phi)
            return _tuple(context, builder, result, taken)

        return result(types.UniTuple(kind, n), types.int64), generate

    return vector


@cache
def pushed(n: int, dtype: str) -> Any:
    """``push(values, value)``: the first of ``n`` dropped and ``value`` put at the end. A loop that
    pushes f(values[0]) maps f over a tuple."""
    kind = _KINDS[dtype].value
    result = types.UniTuple(kind, n)

    @intrinsic
    def push(typingctx, values, value):
        def generate(context, builder, signature, args):
            kept = [builder.extract_value(args[0], i) for i in range(1, n)]
            return _tuple(context, builder, result, [*kept, args[1]])

        return result(result, kind), generate

    return push


@cache
def tile_product(
    rows: int, columns: int, depth: int, row_steps: tuple[int, int],
    column_steps: tuple[int, int], dtype: str,
) -> Any:
    """``multiply(sums, a, i, b, j)``: the sums of a register tile plus ``depth`` outer products.

    Both factors lie in shared memory, a row of them for each of the ``depth`` terms; steps are
    numbers from a term to the next, and from one vector of 16 bytes of this thread to the next.
    The sums are ordered by vector of columns, row, and column in the vector, as the epilogue
    takes them. Unrolled here, because a compiler need not.
    """
    kind = _KINDS[dtype]
    lanes = kind.lanes
    vector = ir.VectorType(kind.stored, lanes)
    whole = types.UniTuple(kind.value, rows * columns)

    @intrinsic
    def multiply(typingctx, sums, a, i, b, j):
        def generate(context, builder, signature, args):
            totals = [builder.extract_value(args[0], n) for n in range(rows * columns)]
            left = _place(builder, args[1], args[2], kind.stored, _SHARED)
            right = _place(builder, args[3], args[4], kind.stored, _SHARED)

            def fragment(base: Any, at: int, n: int, step: int) -> list[Any]:
                values = []
                for part in range(n // lanes):
                    offset = ir.Constant(_I64, at + part * step)
                    place = builder.gep(base, [offset], source_etype=kind.stored)
                    found = builder.load(
                        _as(builder, place, vector, _SHARED), typ=vector, align=BYTES
                    )
                    values += [
                        builder.extract_element(found, ir.Constant(_I32, e)) for e in range(lanes)
                    ]
                return values

            for k in range(depth):
                u = fragment(left, k * row_steps[0], rows, row_steps[1])
                v = fragment(right, k * column_steps[0], columns, column_steps[1])
                for q in range(columns // lanes):
                    for r in range(rows):
                        for e in range(lanes):
                            n = (q * rows + r) * lanes + e
                            totals[n] = builder.fma(u[r], v[q * lanes + e], totals[n])
            return _tuple(context, builder, whole, totals)

        return whole(whole, *_wide(4)), generate

    return multiply
