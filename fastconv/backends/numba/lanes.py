"""How numbers move between the lanes of vectors, and the lanes that hold what is there.

Vectors end to end are read as one line of numbers. All functions take vectors of one type; in
the comments L is their number of lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from . import simd
from .jit import intrinsic

_LANE = ir.IntType(32)


def _numbers(lanes: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes))


def _width(v: ir.Value) -> int:
    return int(v.type.count) if isinstance(v.type, ir.VectorType) else 1


def _call(
    builder: ir.IRBuilder, name: str, result: ir.Type, *args: ir.Value
) -> ir.Value:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _name(ty: ir.VectorType) -> str:
    element = ty.element
    kind = {ir.FloatType: "f32", ir.DoubleType: "f64"}.get(type(element), "i64")
    return f"v{ty.count}{kind}"


def _following(distance: int) -> Any:
    def emit(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
        lanes = range(distance, distance + _width(a))
        # Two lanes are the fewest; no caller reaches further.
        return builder.shuffle_vector(a, b, _numbers([min(i, 2 * _width(a) - 1) for i in lanes]))

    return simd.elementwise(2, emit)


following1, following2, following3, following4 = map(_following, (1, 2, 3, 4))
"""following2(a, b): numbers 2 … L + 1 of a and b."""


def _preceding(distance: int) -> Any:
    def emit(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
        first = max(_width(a) - distance, 0)
        return builder.shuffle_vector(a, b, _numbers(range(first, first + _width(a))))

    return simd.elementwise(2, emit)


preceding1, preceding2 = map(_preceding, (1, 2))
"""preceding1(a, b): numbers L − 1 … 2·L − 2 of a and b."""


def _every_second(first: int) -> Any:
    def emit(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.shuffle_vector(a, b, _numbers(range(first, 2 * _width(a), 2)))

    return simd.elementwise(2, emit)


even, odd = _every_second(0), _every_second(1)
"""even(a, b): numbers 0, 2 … 2·L − 2 of a and b."""


def _every_third(first: int) -> Any:
    def emit(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        width = _width(a)
        wanted = [first + 3 * i for i in range(width)]
        lower = builder.shuffle_vector(a, b, _numbers([min(i, 2 * width - 1) for i in wanted]))
        place = [lane if i < 2 * width else i - width for lane, i in enumerate(wanted)]
        return builder.shuffle_vector(lower, c, _numbers(place))

    return simd.elementwise(3, emit)


third0, third1, third2 = map(_every_third, (0, 1, 2))
"""third1(a, b, c): numbers 1, 4 … 3·L − 2 of a, b and c."""


@intrinsic
def lane(typingctx: Any, vector: Any, i: Any) -> Any:
    """The number in lane ``i``."""
    if not isinstance(vector, simd.VectorType):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.extract_element(*args)

    return vector.dtype(vector, types.intp), codegen


# ---------------------------------------------------------------- NaN


@intrinsic
def all_lanes(typingctx: Any, like: Any) -> Any:
    """The mask of all lanes of a vector."""
    if not isinstance(like, simd.VectorType):
        return None
    lanes = like.lanes

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)

    return simd.MaskType(lanes)(like), codegen


@intrinsic
def of_numbers(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """The lanes of ``mask`` in which neither a nor b is NaN."""
    if not isinstance(a, simd.VectorType) or a != b or mask != simd.MaskType(a.lanes):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.and_(args[0], builder.fcmp_ordered("ord", args[1], args[2]))

    return mask(mask, a, a), codegen


@intrinsic
def of_both(typingctx: Any, a: Any, b: Any) -> Any:
    """The lanes that two masks have in common."""
    if not isinstance(a, simd.MaskType) or a != b:
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.and_(*args)

    return a(a, a), codegen


@intrinsic
def is_full(typingctx: Any, mask: Any) -> Any:
    """Whether a mask has all lanes."""
    if not isinstance(mask, simd.MaskType):
        return None
    bits = ir.IntType(mask.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.icmp_unsigned("==", builder.bitcast(args[0], bits), bits(-1))

    return types.boolean(mask), codegen


_X86_MAXIMA = {
    128: {"f32": "sse.max.ps", "f64": "sse2.max.pd"},
    256: {"f32": "avx.max.ps.256", "f64": "avx.max.pd.256"},
    512: {"f32": "avx512.max.ps.512", "f64": "avx512.max.pd.512"},
}
"""By bits of the vector: the instruction as such, because LLVM would take a comparison and a
selection apart again, and join the halves with what is selected for NaN."""


def _emit_lossy(builder: ir.IRBuilder, best: ir.Value, a: ir.Value) -> ir.Value:
    if not isinstance(a.type, ir.VectorType) or not simd.ON_X86:
        return builder.select(builder.fcmp_ordered(">", best, a), best, a)
    name = _X86_MAXIMA[simd.BITS][_name(a.type)[-3:]]
    rounding = [_LANE(4)] if simd.BITS == 512 else []  # 4: as the processor is set
    return _call(builder, f"llvm.x86.{name}", a.type, best, a, *rounding)


maximum_of_numbers = simd.elementwise(2, _emit_lossy)
"""One instruction; a NaN in the first is lost."""


def _emit_greater_or_nan(builder: ir.IRBuilder, a: ir.Value, best: ir.Value) -> ir.Value:
    greater = builder.fcmp_ordered(">", a, best)
    return builder.or_(greater, builder.fcmp_unordered("uno", a, a))


def _truth(ty: types.Type) -> types.Type:
    return simd.MaskType(ty.lanes) if isinstance(ty, simd.VectorType) else types.boolean


greater_or_nan = simd.elementwise(2, _emit_greater_or_nan, _truth)
"""greater_or_nan(a, best): where a is greater or NaN."""


# ---------------------------------------------------------------- memory

FAR_BYTES = 16 << 20
"""Of a result that would push everything else out of the caches, and is written past them."""


def _lanes_below(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """The mask of the lanes below a count of any size and sign."""
    least, most = simd.INT(0), simd.INT(lanes)
    count = builder.select(builder.icmp_signed("<", count, least), least, count)
    count = builder.select(builder.icmp_signed("<", most, count), most, count)
    count = builder.trunc(count, _LANE)
    splat = simd.emit_splat(builder, count, lanes)
    return builder.icmp_signed("<", _numbers(range(lanes)), splat)


@intrinsic
def load_between(typingctx: Any, address: Any, first: Any, last: Any, fill: Any) -> Any:
    """The lanes from ``first`` on and before ``last`` from memory, the others from ``fill``.

    No other cell is read; both may be of any size and sign.
    """
    if not isinstance(fill, simd.VectorType):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, low, high, rest = args
        mask = builder.and_(
            _lanes_below(builder, high, fill.lanes),
            builder.not_(_lanes_below(builder, low, fill.lanes)),
        )
        pointer = simd.emit_pointer(builder, start, rest.type)
        return _call(
            builder, f"llvm.masked.load.{_name(rest.type)}.p0", rest.type, pointer,
            _LANE(fill.dtype.bitwidth // 8), mask, rest,
        )

    return fill(types.intp, types.intp, types.intp, fill), codegen


@intrinsic
def gather(typingctx: Any, address: Any, step: Any, count: Any, fill: Any) -> Any:
    """The first ``count`` lanes from cells ``step`` bytes apart, the others from ``fill``."""
    if not isinstance(fill, simd.VectorType):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, apart, number_of, rest = args
        lanes = fill.lanes
        words = ir.VectorType(simd.INT, lanes)
        numbers = ir.Constant(words, list(range(lanes)))
        offsets = builder.mul(numbers, simd.emit_splat(builder, apart, lanes))
        addresses = builder.add(simd.emit_splat(builder, start, lanes), offsets)
        pointers = builder.inttoptr(
            addresses, ir.VectorType(rest.type.element.as_pointer(), lanes)
        )
        return _call(
            builder, f"llvm.masked.gather.{_name(rest.type)}.v{lanes}p0", rest.type, pointers,
            _LANE(fill.dtype.bitwidth // 8), _lanes_below(builder, number_of, lanes), rest,
        )

    return fill(types.intp, types.intp, types.intp, fill), codegen


@intrinsic
def store_integers(
    typingctx: Any, address: Any, vector: Any, first: Any, step: Any, count: Any
) -> Any:
    """``first + lane * step + vector`` as 64-bit integers, of the first ``count`` lanes.

    The vector's numbers are integers of up to 31 bits.
    """
    if not isinstance(vector, simd.VectorType):
        return None
    lanes = vector.lanes

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        to, value, start, apart, number_of = args
        words = ir.VectorType(simd.INT, lanes)
        small = builder.fptosi(value, ir.VectorType(_LANE, lanes))
        steps = builder.mul(
            ir.Constant(words, list(range(lanes))), simd.emit_splat(builder, apart, lanes)
        )
        sums = builder.add(builder.sext(small, words), steps)
        sums = builder.add(sums, simd.emit_splat(builder, start, lanes))
        mask = _lanes_below(builder, number_of, lanes)
        pointer = simd.emit_pointer(builder, to, words)
        _call(
            builder, f"llvm.masked.store.{_name(words)}.p0", ir.VoidType(), sums, pointer,
            _LANE(8), mask,
        )
        return context.get_dummy_value()

    intp = types.intp
    return types.void(intp, vector, intp, intp, intp), codegen


def emit_stream(builder: ir.IRBuilder, vector: ir.Value, pointer: ir.Value) -> None:
    """What :func:`stream` does."""
    store = builder.store(vector, pointer, align=simd.BITS // 8)
    store.set_metadata("nontemporal", builder.module.add_metadata([_LANE(1)]))


@intrinsic
def ask(typingctx: Any, address: Any) -> Any:
    """Ask for the line of an address, to be read soon; it may be any address."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        simd.emit_prefetch(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def stream(typingctx: Any, address: Any, vector: Any) -> Any:
    """Write a vector past the caches, to an address that is a multiple of its size."""
    if not isinstance(vector, simd.VectorType):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        emit_stream(builder, args[1], simd.emit_pointer(builder, args[0], args[1].type))
        return context.get_dummy_value()

    return types.void(types.intp, vector), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """What :func:`stream` wrote is there before what is written from now on."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen
