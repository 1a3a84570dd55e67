"""Calls like earlier ones: what is left of them is to allocate the result and to compute.

The first call of its kind goes the ordinary way, in Python, which checks everything and chooses
a kernel. The outcome is kept under all that it depended on: shapes, dtype, the arguments with
their types, and the settings. A later call that agrees in all of it goes straight to the kernel
if its arrays are plain: exactly ndarrays of floats or doubles, aligned, in native byte order,
C-contiguous, ``out`` writeable and apart from the inputs. Any other call goes the ordinary way,
where every rule and every error stands.
"""

cimport cython
from libc.stdint cimport uint64_t, uintptr_t

cimport numpy as cnp

cnp.import_array()

cdef enum:
    KINDS = 8  # of values among arguments, see sign()


@cython.final
cdef class Outcome:
    """What the ordinary way found out. Never changed once made, for threads share it.

    ``pack`` is None if the weights are packed already, and both are None where there are none;
    ``pooling`` tells the kernels that may write indices. ``large`` makes results that are too
    large for NumPy's own allocator, ``shape`` is None where they have the shape of the input.
    ``origin`` is what :meth:`Calls.last` tells.
    """

    cdef object run, pack, packed, bias, spec, threads, large, shape, origin
    cdef bint convolving, pooling, channels_last

    def __init__(
        self, *, run, spec, threads, shape=None, large=None, pack=None, packed=None, bias=None,
        bint convolving=False, bint pooling=False, bint channels_last=False, origin=None,
    ):
        self.run, self.spec, self.threads = run, spec, threads
        self.shape, self.large = shape, large
        self.pack, self.packed, self.bias = pack, packed, bias
        self.convolving, self.pooling, self.channels_last = convolving, pooling, channels_last
        self.origin = origin


@cython.final
cdef class Calls:
    """The outcomes of at most so many kinds of calls; before there are more all are forgotten.
    Safe to share between threads."""

    cdef dict known
    cdef Py_ssize_t most

    def __cinit__(self, Py_ssize_t most):
        self.known = {}
        self.most = most

    def repeat(self, tuple asked not None, out):
        """The result of a call that is known and plain, or None. ``asked`` is its operation,
        :func:`fastconv.config.settings`, its arrays and its other arguments."""
        cdef Outcome outcome
        key = key_of(asked)
        if key is None:
            return None
        found = self.known.get(key)
        if found is None:
            return None
        outcome = <Outcome>found
        result = computed(outcome, <tuple>asked[2], out)
        if result is not None and outcome.origin is not None:
            self.known[None] = outcome.origin
        return result

    def remember(self, tuple asked not None, Outcome outcome not None):
        """Keep what a call found out, unless no call of its kind is plain."""
        key = key_of(asked)
        if key is not None:
            if len(self.known) > self.most:
                last = self.last()
                self.known.clear()
                self.note(last)
            self.known[key] = outcome

    def __len__(self):
        return len(self.known)

    def note(self, origin):
        """Let :meth:`last` tell ``origin``."""
        self.known[None] = origin

    def last(self):
        """The ``origin`` of the last call, or None."""
        return self.known.get(None)


cdef object key_of(tuple asked):
    """All that the outcome of a call depends on; None if the call is not plain."""
    cdef tuple inputs = asked[2]
    cdef uint64_t signature = 1
    cdef int typenum = -1
    cdef list key
    if asked[1] is None or not sign(asked[3], &signature):
        return None
    key = [asked[0], asked[1], asked[3], signature]
    for a in inputs:
        if a is None:
            key.append(None)
        elif is_plain(a) and typenum in (-1, cnp.PyArray_TYPE(a)):
            typenum = cnp.PyArray_TYPE(a)
            key.append(a.shape)
        else:
            return None
    key.append(typenum)
    return tuple(key)


cdef bint sign(value, uint64_t* signature) except -1:
    """Add the kind of a value, and of all within a tuple: 1, True and 1.0 are equal, yet not
    the same argument. False for values that are not plain, and for too many."""
    cdef int kind
    if signature[0] > (<uint64_t>1 << 60):
        return False
    if value is None:
        kind = 0
    elif type(value) is str:
        kind = 1
    elif type(value) is int:
        kind = 2
    elif type(value) is bool:
        kind = 3
    elif type(value) is float and value != 0.0:  # 0.0 and -0.0 are equal too
        kind = 4
    elif type(value) is tuple:
        kind = 5
        for item in <tuple>value:
            if not sign(item, signature):
                return False
    else:
        return False
    signature[0] = signature[0] * KINDS + kind
    return True


cdef inline bint is_plain(a) noexcept:
    """Whether `a` is an ndarray of floats in consecutive cells, with no other strides even along
    axes of one cell."""
    cdef cnp.ndarray array
    cdef cnp.npy_intp step
    cdef int axis
    if not cnp.PyArray_CheckExact(a):
        return False
    array = <cnp.ndarray>a
    if cnp.PyArray_TYPE(array) not in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64):
        return False
    if not cnp.PyArray_ISCARRAY_RO(array):
        return False
    step = cnp.PyArray_ITEMSIZE(array)
    for axis in range(cnp.PyArray_NDIM(array) - 1, -1, -1):
        if cnp.PyArray_STRIDE(array, axis) != step:
            return False
        step *= cnp.PyArray_DIM(array, axis)
    return True


cdef object computed(Outcome outcome, tuple inputs, out):
    """The result of a plain call; None if `out` is not plain or does not fit."""
    cdef cnp.ndarray x = inputs[0]
    cdef bint may_be_x = not (outcome.convolving or outcome.pooling)
    packed = outcome.packed
    shape = outcome.shape
    if out is None:
        result = outcome.large(x) if outcome.large is not None else fresh(x, shape)
    elif fits(out, (<object>x).shape if shape is None else shape, inputs, may_be_x):
        result = out
    else:
        return None
    read, written = x, result
    if outcome.channels_last:
        read, written = as_nchw(x), as_nchw(result)
    if outcome.convolving:
        bias = outcome.bias
        if outcome.pack is not None:
            packed = outcome.pack(outcome.spec, inputs[1], outcome.threads)
            bias = inputs[2]
        outcome.run(outcome.spec, read, packed, bias, written, outcome.threads)
    elif outcome.pooling:
        outcome.run(outcome.spec, read, written, None, outcome.threads)
    else:
        outcome.run(outcome.spec, read, written, outcome.threads)
    return result


cdef object fresh(cnp.ndarray x, shape):
    cdef cnp.npy_intp[4] dims
    cdef int axis
    if shape is None:
        return cnp.PyArray_EMPTY(
            cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), False
        )
    for axis in range(4):
        dims[axis] = (<tuple>shape)[axis]
    return cnp.PyArray_EMPTY(4, dims, cnp.PyArray_TYPE(x), False)


cdef bint fits(out, shape, tuple inputs, bint may_be_x) except -1:
    """Whether the result can be written to `out` without a question."""
    cdef uintptr_t first, last, begin, end
    cdef cnp.ndarray array
    if not is_plain(out) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out):
        return False
    array = <cnp.ndarray>out
    if cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(inputs[0]) or out.shape != shape:
        return False
    if may_be_x and cnp.PyArray_DATA(array) == cnp.PyArray_DATA(inputs[0]):
        return True
    begin = <uintptr_t>cnp.PyArray_DATA(array)
    end = begin + cnp.PyArray_NBYTES(array)
    for a in inputs:
        if a is not None:
            first = <uintptr_t>cnp.PyArray_DATA(a)
            last = first + cnp.PyArray_NBYTES(a)
            if first < end and begin < last:
                return False
    return True


cdef object as_nchw(cnp.ndarray a):
    cdef cnp.npy_intp[4] order
    cdef cnp.PyArray_Dims axes
    order[0], order[1], order[2], order[3] = 0, 3, 1, 2
    axes.ptr, axes.len = order, 4
    return cnp.PyArray_Transpose(a, &axes)
