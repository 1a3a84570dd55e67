"""OpenVINO: one convolution compiled for the CPU, with inputs and outputs that are not copied."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..layers import Array, Layer
from .side import NETWORK, Case, Runner, Side, any_layer, needs


def _prepare(case: Case) -> Runner:
    import openvino

    properties = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
    }
    compiled = _core().compile_model(_model(case.layer, case.w), "CPU", properties)
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


def _model(layer: Layer, w: Array) -> Any:
    import openvino
    from openvino import opset13

    x = opset13.parameter(layer.x_shape, np.float32)
    pads, strides = [layer.padding] * 2, [layer.stride] * 2
    dilations = [layer.dilation] * 2
    if layer.groups == 1:
        y = opset13.convolution(x, opset13.constant(w), strides, pads, pads, dilations)
    else:
        grouped = w.reshape(layer.groups, layer.OC // layer.groups, *w.shape[1:])
        y = opset13.group_convolution(
            x, opset13.constant(grouped), strides, pads, pads, dilations
        )
    return openvino.Model([y], [x])


def _first(outputs: Any) -> Array:
    result: Array = outputs[0]
    return result


SIDES = (Side("ov", "OpenVINO", NETWORK, needs("openvino"), any_layer, _prepare),)
