"""A convolution prepared once: weights copied and packed, kernel chosen for each input shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from . import arrays, config, device, streams
from .arrays import FLOATS, Array
from .device import DeviceArray
from .dispatch import Choice, asked_for, choose, decided_by_data, report, require
from .explanation import Explanation, explain_spec
from .ops import _again, _bound, _run
from .rank import rank, worth_knowing
from .spec import Conv2dSpec, IntPair, PaddingLike, in_layout, integer, pair

# Rows and columns beyond the kernel's of a picture that is only thought of.
_ROOM = 1 << 16
# Shapes whose choice a plan keeps; more are chosen anew, oldest first.
_KEPT_SHAPES = 64

_Packing: TypeAlias = tuple[str, int, int, int, int]


def _packing(choice: Choice) -> _Packing:
    """What packed weights depend on beside the weights: all shapes share them, but for those whose
    result has a single row or column, and which therefore know no stride."""
    spec: Any = choice.spec
    return choice.row.name, spec.SH, spec.SW, spec.DH, spec.DW


class Conv2dPlan:
    """A convolution with fixed weights, made by :func:`plan_conv2d`.

    Calling it is safe from several threads. ``algorithm``, ``backend``,
    ``workspace_bytes`` and :meth:`explain` speak of the last shape prepared.
    """

    def __init__(
        self, w: Array, bias: Array | None, geometry: dict[str, Any], algorithm: str, backend: str
    ) -> None:
        self._w = w
        self._bias = bias
        self._geometry = geometry
        self._algorithm = algorithm
        self._backend = backend
        self._rank: int | None = None
        self._lock = Lock()
        self._prepared: dict[Any, tuple[Conv2dSpec, Choice, Any]] = {}
        self._packed: dict[_Packing, Any] = {}
        self._packed_on: dict[_Packing, int] = {}  # streams
        self._calls = _again.Calls(_KEPT_SHAPES)
        self._bound = _bound.Bound(_KEPT_SHAPES)

    def __call__(self, x: Array, *, out: Array | None = None) -> Array:
        """Convolve ``x``.

        Parameters
        ----------
        x : ndarray in the plan's layout and of the weights' dtype
        out : ndarray, optional
            As for :func:`conv2d`.

        Returns
        -------
        ndarray
            As :func:`conv2d`.

        Raises
        ------
        TypeError, ValueError
            As :func:`conv2d`.
        """
        if not isinstance(x, np.ndarray):
            return self._on_gpu(x, out)
        asked = "conv2d", config.settings(), (x,), ()
        known: Array | None = self._calls.repeat(asked, out)
        if known is not None:
            return known
        result, found = self._convolve(arrays.array("x", x), out)
        spec, choice, packed = found
        if result.size:
            bias = None if self._bias is None else arrays.contiguous(self._bias, spec.dtype)
            _again.remember(
                asked, choice, spec, spec.out_shape, calls=self._calls, packed=packed, bias=bias,
                convolving=True, origin=found,
            )
        return result

    def _convolve(self, x: Any, out: object) -> tuple[Array, tuple[Conv2dSpec, Choice, Any]]:
        """The ordinary way: the result, and how it was computed."""
        if isinstance(self._w, DeviceArray) or self._backend != "cuda":
            x, _, bias = arrays.together(x=x, w=self._w, bias=self._bias)
        else:  # weights of the host stay on the card once they are packed
            (x,), bias = arrays.together(x=x), self._bias
        arrays.dtype_name(FLOATS, w=self._w, x=x)
        spec, choice, packed = found = self._for_shape(x.shape)
        if isinstance(x, DeviceArray):
            streams.follow(x.device, x.stream, (self._packed_on[_packing(choice)],))
        report("conv2d", spec, self._algorithm, self._backend, choice)
        result = arrays.result(out, spec.out_shape, spec.dtype, spec.layout, x=x)
        _run.convolve(choice, spec, x, packed, bias, result)
        return result, found

    def _on_gpu(self, x: object, out: object) -> Array:
        """A call with an array of another library: on a GPU, if it is no error."""
        given: Any = arrays.array("x", x)
        target = None if out is None else device.read("out", out, config.stream())
        if not isinstance(given, DeviceArray) or (out is not None and target is None):
            return arrays.handed_back(self._convolve(given, out)[0])
        known: Any = self._bound.repeat(given, target)
        if known is None:
            known, (spec, choice, packed) = self._convolve(given, out)
            if known.size and not isinstance(self._bias, np.ndarray):
                self._bound.remember(
                    choice, spec, given, packed, self._bias, known, target,
                    self._packed_on[_packing(choice)],
                )
        return arrays.handed_back(known)

    def prepare(self, x_shape: tuple[int, ...]) -> Conv2dPlan:
        """Choose and pack for one input shape now, not at its first call.

        Parameters
        ----------
        x_shape : tuple of 4 ints
            In the plan's layout.

        Returns
        -------
        Conv2dPlan
            The plan itself.

        Raises
        ------
        TypeError, ValueError, BackendUnavailableError
            As :func:`conv2d`.
        """
        self._for_shape(tuple(x_shape) if isinstance(x_shape, list) else x_shape)
        return self

    def _for_shape(self, x_shape: tuple[int, ...]) -> tuple[Conv2dSpec, Choice, Any]:
        threads = config.get_num_threads()
        key = x_shape, threads, config.measurements()
        found = self._prepared.get(key)
        if found is None:
            spec = self._with_rank(Conv2dSpec.of(x_shape, self._w.shape, **self._geometry))
            choice = choose("conv2d", spec, self._algorithm, self._backend, threads, packed=True)
            packing = _packing(choice)
            with self._lock:
                if packing not in self._packed:
                    self._packed[packing] = _run.pack(choice, self._w)
                    self._packed_on[packing] = (
                        getattr(self._w, "stream", None) or streams.DEFAULT
                    )
                found = spec, choice, self._packed[packing]
                while len(self._prepared) >= _KEPT_SHAPES:
                    del self._prepared[next(iter(self._prepared))]
                self._prepared[key] = found
        self._calls.note(found)
        return found

    def _with_rank(self, spec: Conv2dSpec) -> Conv2dSpec:
        """The weights stay the same: their rank is found once, if ever."""
        if isinstance(self._w, DeviceArray):
            return spec
        if self._algorithm != "separable" and not worth_knowing(spec):
            return spec
        if self._rank is None:
            self._rank = rank(self._w)
        return replace(spec, rank=self._rank)

    @property
    def _last(self) -> tuple[Conv2dSpec, Choice, Any] | None:
        last: tuple[Conv2dSpec, Choice, Any] | None = self._calls.last()
        return last

    @property
    def algorithm(self) -> str | None:
        """The algorithm chosen, or None before any shape is known."""
        return self._last[1].row.algorithm if self._last else None

    @property
    def backend(self) -> str | None:
        """The backend chosen, or None before any shape is known."""
        return self._last[1].row.backend if self._last else None

    @property
    def workspace_bytes(self) -> int | None:
        """Bytes of scratch memory of one call, or None before any shape is known."""
        if self._last is None:
            return None
        choice = self._last[1]
        return int(choice.module.workspace_bytes(choice.spec, choice.threads))

    def explain(self) -> Explanation:
        """Why this kernel was chosen.

        Returns
        -------
        Explanation
            See :func:`fastconv.explain`.

        Raises
        ------
        RuntimeError
            Before any shape is known.
        """
        if self._last is None:
            raise RuntimeError(
                "this plan has seen no input shape yet; give x_shape to plan_conv2d or call it"
            )
        spec, choice, _ = self._last
        return explain_spec(
            "conv2d", spec, self._algorithm, self._backend, choice.allowed, packed=True
        )

    def __repr__(self) -> str:
        chosen = self._last[1].row.name if self._last else "not chosen yet"
        return f"<Conv2dPlan w={self._w.shape} {self._w.dtype.name} {chosen}>"


def plan_conv2d(
    w: Array, bias: Array | None = None, *, x_shape: tuple[int, ...] | None = None,
    stride: IntPair = 1, padding: PaddingLike = 0, dilation: IntPair = 1, groups: int = 1,
    padding_mode: str = "zeros", activation: str | None = None, layout: str = "NCHW",
    algorithm: str = "auto", backend: str = "auto", precision: str = "default",
) -> Conv2dPlan:
    """Prepare a convolution whose weights stay the same.

    Parameters
    ----------
    w, bias
        As for :func:`conv2d`; copied, so later changes to them do not matter. Those of a GPU
        stay there, and with ``backend="cuda"`` the packed weights of host arrays do too.
    x_shape : tuple of 4 ints, optional
        An input's shape in ``layout`` order: the kernel is then chosen and the weights
        packed now. Other shapes are served too, prepared when they first come.
    stride, padding, dilation, groups, padding_mode, activation, layout, algorithm, backend, \
precision
        As for :func:`conv2d`, fixed for the life of the plan.

    Returns
    -------
    Conv2dPlan
        Call it with ``x``.

    Raises
    ------
    TypeError, ValueError, BackendUnavailableError
        As :func:`conv2d`; what depends on the input's shape, when it is known.
    """
    w = arrays.array("w", w)
    bias = None if bias is None else arrays.array("bias", bias)
    dtype = arrays.dtype_name(FLOATS, w=w, bias=bias)
    geometry: dict[str, Any] = {
        "stride": _frozen(stride), "padding": _frozen(padding), "dilation": _frozen(dilation),
        "groups": groups,
        "padding_mode": padding_mode, "dtype": dtype, "layout": layout, "bias": bias is not None,
        "activation": activation, "precision": config.precision_for(precision),
    }
    _check_geometry(w.shape, groups, geometry)
    bias = arrays.bias_of(bias, w.shape[0])
    w, bias = arrays.together(w=w, bias=bias)
    on_gpu = arrays.on_gpu(w)
    if on_gpu:
        backend = decided_by_data(backend)
    algorithm, backend = asked_for("conv2d", algorithm, backend)
    if backend != "auto":
        require(backend)
    copy: Callable[[Any], Any] = device.copied if on_gpu else (lambda a: a.copy())
    plan = Conv2dPlan(
        copy(w), None if bias is None else copy(bias), geometry, algorithm, backend
    )
    return plan if x_shape is None else plan.prepare(x_shape)


def _frozen(value: Any) -> Any:
    """Lists as tuples: the caller may change a list later."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _check_geometry(w_shape: tuple[int, ...], groups: object, geometry: dict[str, Any]) -> None:
    """Report what is wrong whatever the input will be, on a picture that anything fits."""
    channels, height, width = integer("groups", groups, least=1), _ROOM, _ROOM
    if len(w_shape) == 4:
        dh, dw = pair("dilation", geometry["dilation"], least=1)
        channels *= w_shape[1]
        height += w_shape[2] * dh
        width += w_shape[3] * dw
    x_shape = in_layout((1, channels, height, width), geometry["layout"])
    Conv2dSpec.of(x_shape, w_shape, **geometry)
