"""Products on tensor cores, by inline PTX; ``twins_tensor.py`` does the same lane by lane.

Source: NVIDIA, "Parallel Thread Execution ISA": mma.sync, cvt.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.cuda.extending import intrinsic

from .fragments import FORMATS, WarpTile
from .intrinsics import _F32, _I32, _SHARED, _asm, _place, _signature, _tuple, _wide

_KEPT = 0xFFFFE000
"""Of a float32, the bits that TF32 has."""
_PAIRS = {"bfloat16": "cvt.rn.bf16x2.f32", "float16": "cvt.rn.f16x2.f32"}
_SHAPES = {
    "tf32": "m16n8k8.row.col.f32.tf32.tf32.f32",
    "bfloat16": "m16n8k16.row.col.f32.bf16.bf16.f32",
    "float16": "m16n8k16.row.col.f32.f16.f16.f32",
}


def _kept(builder: Any, value: Any) -> Any:
    return builder.and_(builder.bitcast(value, _I32), ir.Constant(_I32, _KEPT))


def _registers(builder: Any, format: str, values: list[Any]) -> list[Any]:
    """A number, or two, as what an instruction takes; two registers if it is split."""
    kind = format.split()[0]
    if kind == "tf32":
        return [_kept(builder, values[0])]
    if kind == "tf32x3":
        # Of the rest the core cuts off what TF32 lacks; "cvt" would take longer than products.
        kept = _kept(builder, values[0])
        rest = builder.fsub(values[0], builder.bitcast(kept, _F32))
        return [kept, builder.bitcast(rest, _I32)]
    low, high = values
    return [_asm(builder, f"{_PAIRS[kind]} $0, $1, $2;", "=r,f,f", [high, low], _I32, False)]


def _multiplied(builder: Any, format: str, a: list[Any], b: list[Any], c: list[Any]) -> list[Any]:
    kind = format.split()[0]
    shape = _SHAPES["tf32" if kind == "tf32x3" else kind]
    given = [*a, *b, *c]
    four = ir.LiteralStructType([_F32] * 4)
    instruction = ir.InlineAsm(
        ir.FunctionType(four, [value.type for value in given]),
        f"mma.sync.aligned.{shape} {{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, "
        "{$10,$11,$12,$13};",
        "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
    )
    # All lanes take part: the compiler must not move it to where only some of them come.
    made = builder.call(instruction, given, attrs=("convergent",))
    return [builder.extract_value(made, i) for i in range(4)]


@cache
def tensor_product(tile: WarpTile) -> Any:
    """``multiply(sums, a, i, b, j, thread)``: a stage added to a warp's sums, each lane's in
    its tuple.

    ``i`` and ``j`` are where the lane's first number of each factor lies from ``a`` and ``b``.
    The thread is for the twin, which has no warps.
    """
    format = FORMATS[tile.format]
    down, across, along = tile.instructions
    whole = types.UniTuple(types.float32, tile.count)

    @intrinsic
    def multiply(typingctx, sums, a, i, b, j, thread):
        def generate(context, builder, signature, args):
            totals = [builder.extract_value(args[0], n) for n in range(tile.count)]
            left = _place(builder, args[1], args[2], _F32, _SHARED)
            right = _place(builder, args[3], args[4], _F32, _SHARED)

            def fragment(base: Any, offsets: list[list[int]]) -> list[list[Any]]:
                """The registers that an instruction takes, of each part of the numbers."""
                found = []
                for register in offsets:
                    values = []
                    for offset in register:
                        at = ir.Constant(ir.IntType(64), offset)
                        place = builder.gep(base, [at], source_etype=_F32)
                        values.append(builder.load(place, typ=_F32, align=4))
                    found.append(_registers(builder, tile.format, values))
                return [list(part) for part in zip(*found, strict=True)]

            def add(sums: list[Any], a: list[Any], b: list[Any]) -> list[Any]:
                if not format.split:
                    return _multiplied(builder, tile.format, a[0], b[0], sums)
                for left_part, right_part in ((1, 0), (0, 1), (0, 0)):  # the small ones first
                    sums = _multiplied(builder, tile.format, a[left_part], b[right_part], sums)
                return sums

            def place_of(i: int, j: int) -> list[int]:
                first = (j * 2 * down + 2 * i) * 2
                return [first, first + 1, first + 2, first + 3]

            if format.rounds_apart:
                b_parts = [
                    [fragment(right, tile.right(j, k)) for j in range(across)]
                    for k in range(along)
                ]
                for i in range(down):
                    made = [[ir.Constant(_F32, 0.0)] * 4 for _ in range(across)]
                    for k in range(along):
                        a_parts = fragment(left, tile.left(i, k))
                        for j in range(across):
                            made[j] = add(made[j], a_parts, b_parts[k][j])
                    for j in range(across):
                        for at, value in zip(place_of(i, j), made[j], strict=True):
                            totals[at] = builder.fadd(totals[at], value)
            else:
                for k in range(along):
                    b_now = [fragment(right, tile.right(j, k)) for j in range(across)]
                    for i in range(down):
                        a_now = fragment(left, tile.left(i, k))
                        for j in range(across):
                            at = place_of(i, j)
                            made_now = add([totals[n] for n in at], a_now, b_now[j])
                            for n, value in zip(at, made_now, strict=True):
                                totals[n] = value
            return _tuple(context, builder, whole, totals)

        return _signature(whole, whole, *_wide(5)), generate

    return multiply


@intrinsic
def rounded_to_tf32(typingctx, value):
    """To the nearest number that TF32 has."""

    def generate(context, builder, signature, args):
        bits = _asm(builder, "cvt.rna.tf32.f32 $0, $1;", "=r,f", [args[0]], _I32, False)
        # PTX leaves open what stands in the bits that TF32 lacks.
        return builder.bitcast(builder.and_(bits, ir.Constant(_I32, _KEPT)), _F32)

    return _signature(types.float32, types.float32), generate
