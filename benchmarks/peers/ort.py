"""ONNX Runtime: a model of one Conv node, its weights packed when the session is made."""

from __future__ import annotations

from functools import partial

from ..layers import Array, Layer
from .side import NETWORK, Case, Runner, Side, any_layer, needs

OPSET, IR_VERSION = 17, 8
"""Old enough for every runtime of the last years; Conv has not changed since."""


def _prepare(case: Case) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(case.layer, case.w), options, providers=["CPUExecutionProvider"]
    )
    calls = [partial(session.run, ["y"], {"x": x}) for x in case.inputs]
    return Runner(calls, _first)


def _model(layer: Layer, w: Array) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=[layer.stride] * 2, pads=[layer.padding] * 4,
        dilations=[layer.dilation] * 2, group=layer.groups,
    )
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.spec().out_shape)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    data: bytes = model.SerializeToString()
    return data


def _first(outputs: list[Array]) -> Array:
    return outputs[0]


SIDES = (
    Side("ort", "ONNX RT", NETWORK, needs("onnxruntime", "onnx"), any_layer, _prepare),
)
