"""PyTorch's functional calls, in its default memory order and in channels_last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..layers import Array
from ..works import Pool, Work
from .side import NETWORK, Case, Runner, Side, anything, chained, needs


def _prepare(memory_format: str, case: Case) -> Runner:
    import torch

    torch.set_num_threads(case.threads)
    torch.set_grad_enabled(False)
    order = getattr(torch, memory_format)
    inputs = [torch.from_numpy(x).contiguous(memory_format=order) for x in case.inputs]
    w = None if case.w is None else torch.from_numpy(case.w).contiguous(memory_format=order)
    steps = _steps(case.work, w)
    return Runner([chained(steps, x) for x in inputs], _to_nchw)


def _steps(work: Work, w: Any) -> list[Callable[[Any], Any]]:
    from torch.nn import functional

    steps: list[Callable[[Any], Any]] = []
    if work.layer:
        steps.append(partial(functional.conv2d, weight=w, **work.layer.geometry))
    if work.relu:  # on a result of its own PyTorch is the fastest in place
        steps.append(partial(functional.relu, inplace=work.layer is not None))
    if work.pool:
        steps.append(_pool(work.pool))
    return steps


def _pool(pool: Pool) -> Callable[[Any], Any]:
    from torch.nn import functional

    if pool.size is None:
        return partial(getattr(functional, f"adaptive_{pool.mode}_pool2d"), output_size=1)
    function = getattr(functional, f"{pool.mode}_pool2d")
    return partial(function, kernel_size=pool.size, stride=pool.stride, padding=pool.padding)


def _to_nchw(out: Any) -> Array:
    result: Array = out.numpy()
    return result


SIDES = tuple(
    Side(name, title, NETWORK, needs("torch"), anything, partial(_prepare, memory_format))
    for name, title, memory_format in (
        ("torch", "PyTorch", "contiguous_format"),
        ("torch_cl", "PyTorch CL", "channels_last"),
    )
)
