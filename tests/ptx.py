"""Runs PTX without branches for the 32 lanes of a warp, with tensor-core instructions.

Of NVIDIA's instructions those that products on tensor cores compile to. What a lane's registers
hold of the factors and sums of an ``mma`` stands here in the words of NVIDIA's "Parallel Thread
Execution ISA", Matrix Fragments for mma.m16n8k8 and mma.m16n8k16 with floating point type:
apart from what ``fastconv.backends.cuda.fragments`` makes of it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from fastconv.backends.cuda.twins_tensor import added
from fastconv.spec import dtype_of

LANES = np.arange(32)
GROUP, THREAD_IN_GROUP = LANES >> 2, LANES % 4
Bits = np.ndarray[Any, Any]


def run(ptx: str, parameters: list[int], shared: Bits, out: Bits) -> None:
    """Execute the entry of ``ptx``: addresses of shared memory, and of global memory where it
    stores, are bytes from the beginning of ``shared`` and ``out``, which are float32."""
    registers: dict[str, Bits] = {}
    body = ptx[ptx.index("{", ptx.index(".entry")) :]
    for line in body.splitlines():
        line = line.split("//")[0].strip().rstrip(";")
        if not line or line[0] in "{}." or line == "ret":
            continue
        name, _, rest = line.partition(" ")
        operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)
        if name.startswith("ld.param"):
            number = int(operands[1].rstrip("]").rsplit("_", 1)[1])
            registers[operands[0]] = np.full(32, parameters[number], np.int64)
        elif name in ("ld.shared.f32", "ld.shared.u32"):
            registers[operands[0]] = shared[_places(registers, operands[1])].view(np.uint32)
        elif name.startswith("st.global"):
            values = _vector(registers, operands[1])
            for i, value in enumerate(values):
                out[_places(registers, operands[0]) + i] = value.view(np.float32)
        elif name.startswith("mma.sync"):
            sums = _multiplied(name, *(_vector(registers, o) for o in operands[1:]))
            for target, value in zip(_names(operands[0]), sums, strict=True):
                registers[target] = value
        else:
            registers[operands[0]] = _reckoned(
                name, *(_value(registers, operand) for operand in operands[1:])
            )


def _names(vector: str) -> list[str]:
    return re.findall(r"%\w+", vector) or [vector]


def _vector(registers: dict[str, Bits], vector: str) -> list[Bits]:
    return [registers[name] for name in _names(vector)]


def _places(registers: dict[str, Bits], address: str) -> Bits:
    """Indices of float32 numbers."""
    register, _, offset = address.strip("[]").partition("+")
    places = registers[register] + int(offset or 0)
    assert not (places % 4).any(), "a number at an address that is not aligned to it"
    return places // 4


def _value(registers: dict[str, Bits], operand: str) -> Bits:
    if operand == "%tid.x":
        return LANES.astype(np.uint32)
    if operand.startswith("%"):
        return registers[operand]
    if operand.startswith("0f"):
        return np.full(32, int(operand[2:], 16), np.uint32)
    return np.full(32, int(operand), np.int64)


def _floats(*bits: Bits) -> list[Bits]:
    return [b.view(np.float32) for b in bits]


_SIGNED = {"s": "i", "u": "u", "b": "u"}
_INTEGERS = {
    "add": np.add, "sub": np.subtract, "mul.lo": np.multiply, "and": np.bitwise_and,
    "or": np.bitwise_or, "shl": np.left_shift, "shr": np.right_shift,
}


def _reckoned(name: str, *given: Bits) -> Bits:
    """32 bits as uint32, 64 as int64."""
    if name in ("mov.u32", "mov.b32", "mov.f32"):
        return given[0]
    if found := re.fullmatch(r"(?:cvt\.[su]64|mul\.wide)\.([su])32", name):
        wide = given[0].view(f"{_SIGNED[found.group(1)]}4").astype(np.int64)
        return wide * given[1] if given[1:] else wide
    if found := re.fullmatch(r"(.+)\.([sub])(32|64)", name):
        operation, sign, bits = found.groups()
        kind = np.dtype(f"{_SIGNED[sign]}{int(bits) // 8}")
        a, b = given[0].view(kind), given[1].astype(kind)
        return np.asarray(_INTEGERS[operation](a, b)).view(np.uint32 if bits == "32" else np.int64)
    if name in ("add.f32", "sub.f32"):
        a, b = _floats(*given)
        return np.asarray(a + b if name.startswith("add") else a - b).view(np.uint32)
    if found := re.fullmatch(r"cvt\.rn\.(bf16|f16)x2\.f32", name):
        # The first operand goes to the upper half.
        high, low = (_narrowed(a, found.group(1)) for a in _floats(*given))
        return high << np.uint32(16) | low
    raise NotImplementedError(f"{name} is not known here")


def _narrowed(values: Bits, kind: str) -> Bits:
    return values.astype(_HALVES[kind]).view(np.uint16).astype(np.uint32)


_HALVES = {"bf16": dtype_of("bfloat16"), "f16": dtype_of("float16")}


def _multiplied(name: str, a: list[Bits], b: list[Bits], c: list[Bits]) -> list[Bits]:
    """D = A · B + C, from fragments to matrices and back."""
    of_d, of_a, of_b, of_c = name.split(".")[-4:]
    assert (of_d, of_c, of_a) == ("f32", "f32", of_b)
    wide = 8 if of_a == "tf32" else 16
    assert f".m16n8k{wide}.row.col." in name
    first, second, sums = np.zeros((16, wide)), np.zeros((wide, 8)), np.zeros((16, 8), np.float32)
    for i, values in enumerate(_elements(a, of_a)):
        if wide == 8:
            row, column = GROUP + 8 * (i in (1, 3)), THREAD_IN_GROUP + 4 * (i >= 2)
        else:
            row = GROUP if 0 <= i < 2 or 4 <= i < 6 else GROUP + 8
            column = THREAD_IN_GROUP * 2 + (i & 1) + 8 * (i >= 4)
        first[row, column] = values
    for i, values in enumerate(_elements(b, of_b)):
        if wide == 8:
            row = THREAD_IN_GROUP + 4 * (i == 1)
        else:
            row = THREAD_IN_GROUP * 2 + (i & 1) + 8 * (i >= 2)
        second[row, GROUP] = values
    places = [(GROUP + 8 * (i >= 2), THREAD_IN_GROUP * 2 + (i & 1)) for i in range(4)]
    for place, values in zip(places, _floats(*c), strict=True):
        sums[place] = values
    made = added(sums, first[:, None, :], second.T[None, :, :])
    return [made[place].view(np.uint32) for place in places]


def _elements(registers: list[Bits], kind: str) -> list[Bits]:
    """Numbers of a fragment, from low to high."""
    if kind == "tf32":
        return [(r & np.uint32(0xFFFFE000)).view(np.float32) for r in registers]
    halves = [half for r in registers for half in (r & np.uint32(0xFFFF), r >> np.uint32(16))]
    return [h.astype(np.uint16).view(_HALVES[kind]).astype(np.float64) for h in halves]
