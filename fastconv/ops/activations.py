"""The element-wise activations."""

from __future__ import annotations

from .. import arrays, config
from ..arrays import FLOATS, Array
from ..registry import INTEGERS
from ..spec import LEAKY_SLOPE, ActivationSpec
from . import _again, _run

_ANY = (*FLOATS, *INTEGERS)


def relu(x: Array, *, out: Array | None = None, backend: str = "auto") -> Array:
    """The rectifier, max(x, 0). NaN passes.

    Parameters
    ----------
    x : ndarray of any shape, 0-d included
        A floating or integer dtype.
    out : ndarray, optional
        Receives the result; ``x`` itself is allowed, any other overlap is not.
    backend : str

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        A dtype that is not accepted; an ``out`` that does not fit or overlaps ``x``.

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.
    """
    return _activation("relu", x, out, backend, _ANY)


def relu6(x: Array, *, out: Array | None = None, backend: str = "auto") -> Array:
    """min(max(x, 0), 6). NaN passes.

    Parameters
    ----------
    x, out, backend
        As for :func:`relu`.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        As :func:`relu`.
    """
    return _activation("relu6", x, out, backend, _ANY)


def leaky_relu(
    x: Array, negative_slope: float = LEAKY_SLOPE, *, out: Array | None = None,
    backend: str = "auto",
) -> Array:
    """x where x > 0, else negative_slope · x.

    Parameters
    ----------
    x : ndarray of any shape
        A floating dtype.
    negative_slope : float
    out, backend
        As for :func:`relu`.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        As :func:`relu`; a slope that is not a number.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """
    if isinstance(negative_slope, (bool, str)) or not hasattr(negative_slope, "__float__"):
        raise TypeError(f"negative_slope must be a number; got {type(negative_slope).__name__}")
    slope = float(negative_slope) + 0.0  # -0.0 is 0.0: they are equal in every cache
    return _activation("leaky_relu", x, out, backend, FLOATS, slope)


def sigmoid(x: Array, *, out: Array | None = None, backend: str = "auto") -> Array:
    """The logistic function 1 / (1 + exp(−x)).

    Parameters
    ----------
    x : ndarray of any shape
        A floating dtype.
    out, backend
        As for :func:`relu`.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        As :func:`relu`.
    """
    return _activation("sigmoid", x, out, backend, FLOATS)


def tanh(x: Array, *, out: Array | None = None, backend: str = "auto") -> Array:
    """The hyperbolic tangent.

    Parameters
    ----------
    x : ndarray of any shape
        A floating dtype.
    out, backend
        As for :func:`relu`.

    Returns
    -------
    ndarray of the shape and dtype of ``x``

    Raises
    ------
    TypeError, ValueError
        As :func:`relu`.
    """
    return _activation("tanh", x, out, backend, FLOATS)


def _activation(
    name: str, x: Array, out: object, backend: str, accepted: tuple[str, ...],
    slope: float = LEAKY_SLOPE,
) -> Array:
    asked = name, config.settings(), (x,), (slope, backend)
    result: Array | None = _again.repeat(asked, out)
    if result is not None:
        return result
    x = arrays.array("x", x)
    spec = ActivationSpec(name, x.size, arrays.dtype_name(accepted, x=x), slope)
    return _run.activate(spec, x, backend, out, asked)
