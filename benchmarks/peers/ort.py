"""ONNX Runtime: a model of the steps, its weights packed when the session is made."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..layers import Array, Layer
from ..works import Pool, Work
from .side import NETWORK, Case, Runner, Side, anything, needs

OPSET, IR_VERSION = 17, 8
"""Old enough for every runtime of the last years; these operators have not changed since."""


def _prepare(case: Case) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(case.work, case.w), options, providers=["CPUExecutionProvider"]
    )
    calls = [partial(session.run, None, {"x": x}) for x in case.inputs]
    return Runner(calls, _first)


def _model(work: Work, w: Array | None) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []

    def add(operator: str, *weights: str, **attributes: Any) -> None:
        source = nodes[-1].output[0] if nodes else "x"
        result = f"y{len(nodes)}"
        nodes.append(helper.make_node(operator, [source, *weights], [result], **attributes))

    if work.layer:
        add("Conv", "w", **_conv_attributes(work.layer))
    if work.relu:
        add("Relu")
    if work.pool:
        add(_operator(work.pool), **_pool_attributes(work.pool))
    graph = helper.make_graph(
        nodes, "work",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, work.x_shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, work.out_shape)],
        [] if w is None else [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    data: bytes = model.SerializeToString()
    return data


def _conv_attributes(layer: Layer) -> dict[str, Any]:
    return {
        "strides": [layer.stride] * 2, "pads": [layer.padding] * 4,
        "dilations": [layer.dilation] * 2, "group": layer.groups,
    }


def _operator(pool: Pool) -> str:
    kind = {"max": "MaxPool", "avg": "AveragePool"}[pool.mode]
    return f"Global{kind}" if pool.size is None else kind


def _pool_attributes(pool: Pool) -> dict[str, Any]:
    if pool.size is None:
        return {}
    counted = {"count_include_pad": 1} if pool.mode == "avg" else {}
    return {
        "kernel_shape": [pool.size] * 2, "strides": [pool.stride] * 2,
        "pads": [pool.padding] * 4, **counted,
    }


def _first(outputs: list[Array]) -> Array:
    return outputs[0]


SIDES = (Side("ort", "ONNX RT", NETWORK, needs("onnxruntime", "onnx"), anything, _prepare),)
