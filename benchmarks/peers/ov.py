"""OpenVINO: the steps compiled for the CPU, with inputs and outputs that are not copied."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..layers import Array, Layer
from ..works import Pool, Work
from .side import NETWORK, Case, Runner, Side, anything, needs


def _prepare(case: Case) -> Runner:
    import openvino

    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
    }
    compiled = _core().compile_model(_model(case.work, case.w), "CPU", properties)
    calls = []
    for x in case.inputs:
        # A request per input: binding the tensor beforehand leaves only the inference to time.
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        calls.append(partial(request.infer, share_outputs=True))
    return Runner(calls, _first)


@lru_cache(maxsize=1)
def _core() -> Any:
    import openvino

    return openvino.Core()


def _model(work: Work, w: Array | None) -> Any:
    import openvino
    from openvino import opset13

    x = opset13.parameter(work.x_shape, np.float32)
    y = x
    if work.layer:
        y = _convolution(y, work.layer, w)
    if work.relu:
        y = opset13.relu(y)
    if work.pool:
        y = _pooling(y, work.pool)
    return openvino.Model([y], [x])


def _convolution(x: Any, layer: Layer, w: Any) -> Any:
    from openvino import opset13

    pads, strides = [layer.padding] * 2, [layer.stride] * 2
    dilations = [layer.dilation] * 2
    if layer.groups == 1:
        return opset13.convolution(x, opset13.constant(w), strides, pads, pads, dilations)
    grouped = w.reshape(layer.groups, layer.OC // layer.groups, *w.shape[1:])
    return opset13.group_convolution(x, opset13.constant(grouped), strides, pads, pads, dilations)


def _pooling(x: Any, pool: Pool) -> Any:
    from openvino import opset13

    if pool.size is None:
        reduce = {"max": opset13.reduce_max, "avg": opset13.reduce_mean}[pool.mode]
        return reduce(x, np.array([2, 3]), keep_dims=True)
    size, strides, pads = [pool.size] * 2, [pool.stride] * 2, [pool.padding] * 2
    if pool.mode == "max":
        return opset13.max_pool(x, strides, [1, 1], pads, pads, size).output(0)
    return opset13.avg_pool(x, strides, pads, pads, size, exclude_pad=False)


def _first(outputs: Any) -> Array:
    result: Array = outputs[0]
    return result


SIDES = (Side("ov", "OpenVINO", NETWORK, needs("openvino"), anything, _prepare),)
