"""PyTorch's functional conv2d, in its default memory order and in channels_last."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..layers import Array
from .side import NETWORK, Case, Runner, Side, any_layer, needs


def _prepare(memory_format: str, case: Case) -> Runner:
    import torch
    from torch.nn import functional

    torch.set_num_threads(case.threads)
    torch.set_grad_enabled(False)
    order = getattr(torch, memory_format)
    inputs = [torch.from_numpy(x).contiguous(memory_format=order) for x in case.inputs]
    w = torch.from_numpy(case.w).contiguous(memory_format=order)
    calls = [partial(functional.conv2d, x, w, **case.layer.geometry) for x in inputs]
    return Runner(calls, _to_nchw)


def _to_nchw(out: Any) -> Array:
    result: Array = out.numpy()
    return result


SIDES = tuple(
    Side(name, title, NETWORK, needs("torch"), any_layer, partial(_prepare, memory_format))
    for name, title, memory_format in (
        ("torch", "PyTorch", "contiguous_format"),
        ("torch_cl", "PyTorch CL", "channels_last"),
    )
)
