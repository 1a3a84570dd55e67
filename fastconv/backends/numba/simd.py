"""Vectors as typed values: intrinsics that emit LLVM vector instructions through llvmlite.

A :class:`VectorType` value lives in registers like a number does, so kernels are written in
plain Python syntax with explicit vectors, as wide as the CPU that Numba compiles for. Plain
loops do not get there: Numba's signed index wrap-around keeps LLVM from vectorising them.

Memory is reached through addresses (integers), never through array indexing. Loads and stores
assume the alignment of one element only. Every function that takes a ``like`` argument uses
just its type: ``load(address, number)`` reads a number, ``load(address, vector)`` a vector;
arithmetic takes two numbers or two vectors and gives the same bits for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import models, register_model

from .jit import intrinsic

_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
_HAS = frozenset(_FEATURES.split(","))
_ARM = _TRIPLE.startswith(("aarch64", "arm64"))
ON_X86 = _TRIPLE.startswith("x86_64")

BITS = 512 if "+avx512f" in _HAS else 256 if "+avx" in _HAS else 128
"""Width of a vector. Asked from Numba, whose target features decide (NUMBA_CPU_FEATURES)."""
REGISTERS = 32 if BITS == 512 or _ARM else 16
"""Vector registers of this instruction set."""
HAS_FMA = _ARM or "+fma" in _HAS
"""Without it ``llvm.fma`` would call the C library once an element; multiply and add instead."""

INT = ir.IntType(64)
_LANE = ir.IntType(32)

Emit = Callable[..., ir.Value]


class VectorType(types.Type):
    """A register full of ``dtype``."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = BITS // dtype.bitwidth
        super().__init__(name=f"vector({dtype} x {self.lanes})")


class MaskType(types.Type):
    """One truth value a lane."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"mask({lanes})")


def llvm_float(dtype: types.Float) -> ir.Type:
    """The LLVM type of a number."""
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def llvm_vector(dtype: types.Float) -> ir.VectorType:
    """The LLVM type of a vector of ``dtype``."""
    return ir.VectorType(llvm_float(dtype), BITS // dtype.bitwidth)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: VectorType) -> None:
        super().__init__(dmm, fe_type, llvm_vector(fe_type.dtype))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: MaskType) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), fe_type.lanes))


# ---------------------------------------------------------------- emitting


def emit_pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    """An address as a pointer to ``to``."""
    return builder.inttoptr(address, to.as_pointer())


def emit_load(builder: ir.IRBuilder, pointer: ir.Value, number: ir.Type) -> ir.Value:
    """Load with the alignment of one ``number``."""
    return builder.load(pointer, align=_bytes(number))


def emit_splat(builder: ir.IRBuilder, number: ir.Value, lanes: int) -> ir.Value:
    """``number`` in every lane."""
    nothing = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, number, _LANE(0))
    return builder.shuffle_vector(first, nothing, _lane_numbers([0] * lanes))


def emit_fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a·b + c, rounded once where the CPU can."""
    if HAS_FMA:
        return _call_llvm(builder, "llvm.fma", a, b, c)
    return builder.fadd(builder.fmul(a, b), c)


def emit_limited(
    builder: ir.IRBuilder, values: Sequence[ir.Value], least: ir.Value, most: ir.Value
) -> list[ir.Value]:
    """``values`` between ``least`` and ``most``; NaN passes."""
    values = [builder.select(builder.fcmp_ordered(">", least, v), least, v) for v in values]
    return [builder.select(builder.fcmp_ordered("<", most, v), most, v) for v in values]


def emit_prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for the line of an address, to be read soon; it may be any address."""
    flag, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag]),
        "llvm.prefetch.p0",
    )
    to_read, second_cache, data = flag(0), flag(2), flag(1)
    builder.call(function, [builder.inttoptr(address, pointer), to_read, second_cache, data])


def emit_between(builder: ir.IRBuilder, low: ir.Value, high: ir.Value, lanes: int) -> ir.Value:
    """The mask of the lanes from ``low`` to ``high`` − 1, which may lie anywhere."""
    first = _limited(builder, low, lanes)
    count = builder.sub(_limited(builder, high, lanes), first)
    lane = builder.sub(_lane_numbers(range(lanes)), emit_splat(builder, first, lanes))
    return builder.icmp_unsigned("<", lane, emit_splat(builder, count, lanes))


def _limited(builder: ir.IRBuilder, n: ir.Value, lanes: int) -> ir.Value:
    """``n`` between 0 and ``lanes``, as narrow as a lane's number."""
    n = builder.select(builder.icmp_signed("<", n, INT(0)), INT(0), n)
    n = builder.select(builder.icmp_signed(">", n, INT(lanes)), INT(lanes), n)
    return builder.trunc(n, _LANE)


def emit_masked_load(
    builder: ir.IRBuilder, address: ir.Value, mask: ir.Value, rest: ir.Value
) -> ir.Value:
    """The lanes of ``mask`` from memory, the others from ``rest``."""
    pointer = emit_pointer(builder, address, rest.type)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(rest.type, [pointer.type, _LANE, mask.type, rest.type]),
        f"llvm.masked.load.{_suffix(rest.type)}.p0",
    )
    return builder.call(function, [pointer, _LANE(_bytes(rest.type.element)), mask, rest])


def emit_masked_store(
    builder: ir.IRBuilder, address: ir.Value, vector: ir.Value, mask: ir.Value
) -> None:
    """Write the lanes of ``mask`` and nothing else."""
    pointer = emit_pointer(builder, address, vector.type)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [vector.type, pointer.type, _LANE, mask.type]),
        f"llvm.masked.store.{_suffix(vector.type)}.p0",
    )
    builder.call(function, [vector, pointer, _LANE(_bytes(vector.type.element)), mask])


def emit_every_second(
    builder: ir.IRBuilder, low: ir.Value, high: ir.Value, first: int, early: int
) -> ir.Value:
    """Cells ``first``, ``first`` + 2, … of two vectors that follow each other; the second one
    may begin one cell ``early``."""
    width = low.type.count
    wanted = [first + 2 * i for i in range(width)]
    return builder.shuffle_vector(
        low, high, _lane_numbers([i if i < width else i + early for i in wanted])
    )


def emit_fence(builder: ir.IRBuilder, values: Sequence[ir.Value]) -> list[ir.Value]:
    """The same ``values``, computed before any load that follows. No instruction, but LLVM would
    else load so far ahead in long straight code that it runs out of registers."""
    register = "w" if _ARM else "v" if BITS == 512 else "x"
    kinds: list[ir.Type] = [value.type for value in values]
    constraints = [f"={register}"] * len(kinds) + [str(i) for i in range(len(kinds))]
    result = kinds[0] if len(kinds) == 1 else ir.LiteralStructType(kinds)
    fence = builder.asm(
        ir.FunctionType(result, kinds), "", ",".join([*constraints, "~{memory}"]), list(values),
        side_effect=True,
    )
    return [fence] if len(kinds) == 1 else [
        builder.extract_value(fence, i) for i in range(len(kinds))
    ]


def _bytes(number: ir.Type) -> int:
    if isinstance(number, ir.IntType):
        return int(number.width) // 8
    return 4 if isinstance(number, ir.FloatType) else 8


def emit_turned_lanes(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """Each 16 bytes of as many vectors as that holds numbers, transposed among themselves."""
    n, width = len(rows), int(rows[0].type.count)
    turned = list(rows)
    low = [i // n * n + i % n // 2 + i % 2 * width for i in range(width)]
    shuffles = [_lane_numbers(low), _lane_numbers([i + n // 2 for i in low])]
    for _ in range(n // 2):
        turned = [
            builder.shuffle_vector(turned[i // 2], turned[n // 2 + i // 2], shuffles[i % 2])
            for i in range(n)
        ]
    return turned


def _emit_lanes_exchanged(
    builder: ir.IRBuilder, rows: list[ir.Value], numbers: int
) -> list[ir.Value]:
    """The transposition of as many vectors as they have 16 bytes, which hold ``numbers``."""
    if len(rows) == 1:
        return rows
    both = range(2 * int(rows[0].type.count))
    halves = []
    for odd in (0, 1):
        wanted = _lane_numbers([i for i in both if i // numbers % 2 == odd])
        pairs = [
            builder.shuffle_vector(a, b, wanted)
            for a, b in zip(rows[::2], rows[1::2], strict=True)
        ]
        halves.append(_emit_lanes_exchanged(builder, pairs, numbers))
    return [row for pair in zip(*halves, strict=True) for row in pair]


def _lane_numbers(lanes: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes))


def _suffix(ty: ir.Type) -> str:
    if isinstance(ty, ir.VectorType):
        return f"v{ty.count}{_suffix(ty.element)}"
    return "f32" if isinstance(ty, ir.FloatType) else "f64"


def _call_llvm(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """An overloaded intrinsic of LLVM whose arguments all have the result's type."""
    ty = args[0].type
    function_type = ir.FunctionType(ty, [ty] * len(args))
    function = cgutils.get_or_insert_function(
        builder.module, function_type, f"{name}.{_suffix(ty)}"
    )
    return builder.call(function, args)


def _first_lanes(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """The mask of the lanes below ``count``."""
    count = builder.trunc(count, _LANE)  # counts of lanes are small, and half the comparison
    return builder.icmp_signed("<", _lane_numbers(range(lanes)), emit_splat(builder, count, lanes))


def _is_value(ty: types.Type) -> bool:
    return isinstance(ty, (types.Float, VectorType))


def _same(ty: types.Type) -> types.Type:
    return ty


def _truth(ty: types.Type) -> types.Type:
    return MaskType(ty.lanes) if isinstance(ty, VectorType) else types.boolean


def elementwise(
    arity: int, emit: Emit, result: Callable[[types.Type], types.Type] = _same
) -> Any:
    """An intrinsic over ``arity`` values of one type: numbers or vectors."""

    def typed(a: types.Type, others: tuple[types.Type, ...]) -> Any:
        if not _is_value(a) or any(other != a for other in others):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            return emit(builder, *args)

        return result(a)(*[a] * arity), codegen

    if arity == 1:
        return intrinsic(lambda typingctx, a: typed(a, ()))
    if arity == 2:
        return intrinsic(lambda typingctx, a, b: typed(a, (b,)))
    return intrinsic(lambda typingctx, a, b, c: typed(a, (b, c)))


# ---------------------------------------------------------------- arithmetic

add = elementwise(2, ir.IRBuilder.fadd)
sub = elementwise(2, ir.IRBuilder.fsub)
mul = elementwise(2, ir.IRBuilder.fmul)
div = elementwise(2, ir.IRBuilder.fdiv)
fma = elementwise(3, emit_fma)
sqrt = elementwise(1, lambda builder, a: _call_llvm(builder, "llvm.sqrt", a))
absolute = elementwise(1, lambda builder, a: _call_llvm(builder, "llvm.fabs", a))
power = elementwise(2, lambda builder, a, b: _call_llvm(builder, "llvm.pow", a, b))
copysign = elementwise(
    2, lambda builder, a, b: _call_llvm(builder, "llvm.copysign", a, b), _same
)
less = elementwise(2, lambda builder, a, b: builder.fcmp_ordered("<", a, b), _truth)
is_nan = elementwise(1, lambda builder, a: builder.fcmp_unordered("uno", a, a), _truth)


def _emit_max(builder: ir.IRBuilder, best: ir.Value, a: ir.Value) -> ir.Value:
    greater = builder.fcmp_ordered(">", a, best)
    nan = builder.fcmp_unordered("uno", a, a)
    return builder.select(builder.or_(greater, nan), a, best)


maximum = elementwise(2, _emit_max)
"""maximum(best, a): ``a`` if it is greater or NaN, else ``best``; a NaN in ``best`` stays."""


@intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """``a`` where ``mask`` is true, else ``b``."""
    if a != b or not _is_value(a) or mask != _truth(a):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.select(*args)

    return a(mask, a, a), codegen


# ---------------------------------------------------------------- making and taking apart


@intrinsic
def splat(typingctx: Any, number: Any) -> Any:
    """The number in every lane of a vector."""
    if not isinstance(number, types.Float):
        return None
    vector = VectorType(number)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return emit_splat(builder, args[0], vector.lanes)

    return vector(number), codegen


@intrinsic
def constant(typingctx: Any, like: Any, value: Any) -> Any:
    """``value`` as a number or a vector like ``like``."""
    if not _is_value(like):
        return None
    dtype = like.dtype if isinstance(like, VectorType) else like

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        number = args[1]
        if dtype.bitwidth == 32:
            number = builder.fptrunc(number, ir.FloatType())
        return number if like is dtype else emit_splat(builder, number, like.lanes)

    return like(like, types.float64), codegen


@intrinsic
def lanes(typingctx: Any, like: Any) -> Any:
    """How many numbers like ``like`` a vector holds."""
    dtype = like.dtype if isinstance(like, VectorType) else like
    if not isinstance(dtype, types.Float):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return INT(BITS // dtype.bitwidth)

    return types.intp(like), codegen


@intrinsic
def itemsize(typingctx: Any, like: Any) -> Any:
    """Bytes of one number like ``like``."""
    dtype = like.dtype if isinstance(like, VectorType) else like
    if not isinstance(dtype, types.Float):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return INT(dtype.bitwidth // 8)

    return types.intp(like), codegen


def _folding(emit: Emit) -> Any:
    """An intrinsic that joins the lanes of a vector, half with half until one is left."""

    @intrinsic
    def fold(typingctx: Any, vector: Any) -> Any:
        if not isinstance(vector, VectorType):
            return None

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            value = args[0]
            width = vector.lanes
            while width > 1:
                width //= 2
                low, high = (
                    builder.shuffle_vector(value, value, _lane_numbers(range(i, i + width)))
                    for i in (0, width)
                )
                value = emit(builder, low, high)
            return builder.extract_element(value, _LANE(0))

        return vector.dtype(vector), codegen

    return fold


fold_sum = _folding(ir.IRBuilder.fadd)
"""The sum of the lanes."""
fold_maximum = _folding(_emit_max)
"""The greatest lane, NaN if one is NaN."""


# ---------------------------------------------------------------- memory


@intrinsic
def load(typingctx: Any, address: Any, like: Any) -> Any:
    """A number (float or integer) or a vector, like ``like``."""
    if not isinstance(like, (types.Float, types.Integer, VectorType)):
        return None
    dtype = like.dtype if isinstance(like, VectorType) else like

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        ty = context.get_value_type(like)
        return emit_load(
            builder, emit_pointer(builder, args[0], ty), context.get_value_type(dtype)
        )

    return like(types.intp, like), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write a number or a vector."""
    if not isinstance(value, (types.Float, types.Integer, VectorType)):
        return None
    dtype = value.dtype if isinstance(value, VectorType) else value

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        target = emit_pointer(builder, args[0], args[1].type)
        builder.store(args[1], target, align=_bytes(context.get_value_type(dtype)))
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def load_part(typingctx: Any, address: Any, count: Any, fill: Any) -> Any:
    """The first ``count`` lanes from memory, the others from ``fill``; reads no further.

    A number is one lane, always read.
    """
    if not _is_value(fill):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, number_of, rest = args
        if not isinstance(fill, VectorType):
            return emit_load(builder, emit_pointer(builder, start, rest.type), rest.type)
        mask = _first_lanes(builder, number_of, fill.lanes)
        return emit_masked_load(builder, start, mask, rest)

    return fill(types.intp, types.intp, fill), codegen


@intrinsic
def store_part(typingctx: Any, address: Any, value: Any, count: Any) -> Any:
    """Write the first ``count`` lanes and nothing else."""
    if not isinstance(value, VectorType):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, vector, number_of = args
        mask = _first_lanes(builder, number_of, value.lanes)
        emit_masked_store(builder, start, vector, mask)
        return context.get_dummy_value()

    return types.void(types.intp, value, types.intp), codegen


@intrinsic
def load_every_second(typingctx: Any, address: Any, like: Any) -> Any:
    """Elements 0, 2, 4 … into the lanes; reads none beyond the last one that it needs."""
    if not _is_value(like):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        ty = context.get_value_type(like)
        if not isinstance(like, VectorType):
            return emit_load(builder, emit_pointer(builder, args[0], ty), ty)
        low = emit_load(builder, emit_pointer(builder, args[0], ty), ty.element)
        later = builder.add(args[0], INT((like.lanes - 1) * _bytes(ty.element)))
        high = emit_load(builder, emit_pointer(builder, later, ty), ty.element)
        return emit_every_second(builder, low, high, 0, 1)

    return like(types.intp, like), codegen


@intrinsic
def transpose(
    typingctx: Any, source: Any, source_step: Any, target: Any, target_step: Any, like: Any
) -> Any:
    """Copy a square of lanes × lanes numbers so that rows become columns.

    Row i is read at ``source + i * source_step``, column j written at ``target + j *
    target_step`` (bytes). Numbers are turned within 16 bytes, and these exchanged: shuffles of
    two vectors that need no table.
    """
    if not isinstance(like, VectorType):
        return None
    width = like.lanes

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start, start_step, end, end_step, _ = args
        ty = context.get_value_type(like)
        rows = []
        for i in range(width):
            at = builder.add(start, builder.mul(start_step, INT(i)))
            rows.append(emit_load(builder, emit_pointer(builder, at, ty), ty.element))
        n = 16 // _bytes(ty.element)
        turned = [emit_turned_lanes(builder, rows[i : i + n]) for i in range(0, width, n)]
        exchanged = [
            _emit_lanes_exchanged(builder, [group[k] for group in turned], n) for k in range(n)
        ]
        rows = [exchanged[i % n][i // n] for i in range(width)]
        for i, row in enumerate(rows):
            at = builder.add(end, builder.mul(end_step, INT(i)))
            builder.store(row, emit_pointer(builder, at, ty), align=_bytes(ty.element))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(intp, intp, intp, intp, like), codegen
