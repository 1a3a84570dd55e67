"""The geometry of a convolution and of its transpose."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .arguments import (
    ACTIVATIONS,
    HALF,
    LAYOUTS,
    PADDING_MODES,
    PRECISIONS,
    check_padded,
    extent,
    integer,
    itemsize,
    one_of,
    pair,
    resolve_padding,
    shape4,
    short,
    windows_along,
)


@dataclass(frozen=True, slots=True)
class Conv2dSpec:
    """One 2-D convolution, shared by the forward operation and by both gradients.

    ``OH`` and ``OW`` are stored because a transposed convolution may ask for an input that
    the forward formula would map to more windows (``output_padding``).
    """

    N: int
    IC: int
    IH: int
    IW: int
    OC: int
    OH: int
    OW: int
    KH: int
    KW: int
    SH: int = 1
    SW: int = 1
    DH: int = 1
    DW: int = 1
    PT: int = 0
    PB: int = 0
    PL: int = 0
    PR: int = 0
    G: int = 1
    padding_mode: str = "zeros"
    dtype: str = "float32"
    layout: str = "NCHW"
    bias: bool = False
    activation: str | None = None
    precision: str = "default"
    rank: int = 0
    """The largest rank of a kernel's matrix of weights; 0 where nobody has looked."""

    @classmethod
    def of(
        cls, x_shape: object, w_shape: object, *, stride: object = 1, padding: object = 0,
        dilation: object = 1, groups: object = 1, padding_mode: object = "zeros",
        dtype: str = "float32", layout: object = "NCHW", bias: bool = False,
        activation: object = None, precision: object = "default", rank: object = 0,
    ) -> Conv2dSpec:
        """The spec of ``conv2d(x, w, …)`` from the two shapes; raises what the interface says."""
        layout = one_of("layout", layout, LAYOUTS)
        n, ic, ih, iw = shape4("x", x_shape, layout)
        oc, icg, kh, kw = _weight_shape(w_shape)
        sh, sw = pair("stride", stride, least=1)
        dh, dw = pair("dilation", dilation, least=1)
        g = integer("groups", groups, least=1)
        mode = one_of("padding_mode", padding_mode, PADDING_MODES)
        if activation is not None:
            activation = one_of("activation", activation, ACTIVATIONS)
        precision = one_of("precision", precision, PRECISIONS)
        rank = integer("rank", rank, least=0)
        pt, pb, pl, pr = resolve_padding(padding, (ih, iw), (kh, kw), (sh, sw), (dh, dw))
        _check_channels(ic, oc, icg, g, x_shape, w_shape)
        if ih == 0 or iw == 0:
            raise ValueError(f"x has an empty picture ({ih}×{iw}); height and width must be ≥ 1")
        for axis, size, k, d, before, after in (
            ("height", ih, kh, dh, pt, pb), ("width", iw, kw, dw, pl, pr),
        ):
            if extent(k, d) > size + before + after:
                raise ValueError(
                    f"the kernel is larger than the padded input: {axis} {extent(k, d)} "
                    f"(size {k}, dilation {d}) > {before} + {size} + {after}; "
                    f"pad more or use a smaller kernel"
                )
            if mode == "reflect" and max(before, after) >= size:
                raise ValueError(
                    f"padding_mode='reflect' needs padding < {axis}; got {max(before, after)} "
                    f"for {axis} {size}"
                )
            if mode == "circular" and max(before, after) > size:
                raise ValueError(
                    f"padding_mode='circular' needs padding ≤ {axis}; got {max(before, after)} "
                    f"for {axis} {size}"
                )
        check_padded(ih + pt + pb, iw + pl + pr)
        return cls(
            N=n, IC=ic, IH=ih, IW=iw, OC=oc,
            OH=windows_along(ih, kh, sh, dh, pt, pb), OW=windows_along(iw, kw, sw, dw, pl, pr),
            KH=kh, KW=kw, SH=sh, SW=sw, DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr, G=g,
            padding_mode=mode if pt or pb or pl or pr else "zeros", dtype=dtype, layout=layout,
            bias=bias, activation=activation, precision=precision, rank=rank,
        )

    @classmethod
    def of_transpose(
        cls, x_shape: object, w_shape: object, *, stride: object = 1, padding: object = 0,
        output_padding: object = 0, dilation: object = 1, groups: object = 1,
        dtype: str = "float32", layout: object = "NCHW", bias: bool = False,
        activation: object = None, precision: object = "default",
    ) -> Conv2dSpec:
        """The spec whose input gradient is ``conv_transpose2d(x, w, …)``.

        ``x`` plays the output (OC, OH, OW) and the result plays the input (IC, IH, IW):
        IH = (OH − 1)·SH − PT − PB + DH(KH − 1) + output_padding + 1. With ``padding="same"``
        the result has OH·SH rows.
        """
        layout = one_of("layout", layout, LAYOUTS)
        n, oc, oh, ow = shape4("x", x_shape, layout)
        woc, icg, kh, kw = _weight_shape(w_shape)
        sh, sw = pair("stride", stride, least=1)
        dh, dw = pair("dilation", dilation, least=1)
        oph, opw = pair("output_padding", output_padding, least=0)
        g = integer("groups", groups, least=1)
        if activation is not None:
            activation = one_of("activation", activation, ACTIVATIONS)
        precision = one_of("precision", precision, PRECISIONS)
        _check_transpose_channels(oc, woc, icg, g, x_shape, w_shape)
        if oh == 0 or ow == 0:
            raise ValueError(f"x has an empty picture ({oh}×{ow}); height and width must be ≥ 1")
        for axis, op, s, d in (("height", oph, sh, dh), ("width", opw, sw, dw)):
            if op >= max(s, d):
                raise ValueError(
                    f"output_padding must be smaller than stride or dilation; got {op} for "
                    f"{axis} with stride {s}, dilation {d}"
                )
        same = padding in ("same", "same_lower") if isinstance(padding, str) else False
        if same and (oph or opw):
            raise ValueError("output_padding cannot be combined with padding='same'")
        pt, pb, pl, pr = resolve_padding(
            padding, (oh * sh, ow * sw), (kh, kw), (sh, sw), (dh, dw)
        )
        ih = oh * sh if same else (oh - 1) * sh - pt - pb + extent(kh, dh) + oph
        iw = ow * sw if same else (ow - 1) * sw - pl - pr + extent(kw, dw) + opw
        if ih < 1 or iw < 1:
            raise ValueError(
                f"the result of this transposed convolution would be empty ({ih}×{iw}); "
                f"use less padding"
            )
        check_padded(ih + pt + pb, iw + pl + pr)
        return cls(
            N=n, IC=icg * g, IH=ih, IW=iw, OC=oc, OH=oh, OW=ow, KH=kh, KW=kw, SH=sh, SW=sw,
            DH=dh, DW=dw, PT=pt, PB=pb, PL=pl, PR=pr, G=g, dtype=dtype, layout=layout, bias=bias,
            activation=activation, precision=precision,
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, IC, IH, IW)."""
        return self.N, self.IC, self.IH, self.IW

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(OC, IC/G, KH, KW)."""
        return self.OC, self.IC // self.G, self.KH, self.KW

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Logical (N, OC, OH, OW)."""
        return self.N, self.OC, self.OH, self.OW

    @property
    def flops(self) -> int:
        """Operations of the direct method: 2·N·OC·OH·OW·(IC/G)·KH·KW."""
        return 2 * self.N * self.OC * self.OH * self.OW * (self.IC // self.G) * self.KH * self.KW

    @property
    def bytes(self) -> int:
        """Bytes of x, w and out, each counted once."""
        cells = (
            self.N * self.IC * self.IH * self.IW
            + self.OC * (self.IC // self.G) * self.KH * self.KW
            + self.N * self.OC * self.OH * self.OW
        )
        return cells * itemsize(self.dtype)

    @property
    def plain_spec(self) -> Conv2dSpec:
        """Half types widened, and no stride or dilation where there is a single step: they could
        be any number."""
        return replace(
            self, dtype="float32" if self.dtype in HALF else self.dtype,
            SH=self.SH if self.OH > 1 else 1, SW=self.SW if self.OW > 1 else 1,
            DH=self.DH if self.KH > 1 else 1, DW=self.DW if self.KW > 1 else 1,
        )

    @property
    def padded_spec(self) -> Conv2dSpec:
        """What is left to compute once the padding has been written out."""
        return replace(
            self, IH=self.IH + self.PT + self.PB, IW=self.IW + self.PL + self.PR,
            PT=0, PB=0, PL=0, PR=0, padding_mode="zeros",
        )

    @property
    def kernel_spec(self) -> Conv2dSpec:
        """What a kernel sees: the plain spec, and a non-zero padding mode already in memory."""
        spec = self.plain_spec
        return spec if spec.padding_mode == "zeros" else spec.padded_spec

    def __str__(self) -> str:
        pads = (self.PT, self.PB, self.PL, self.PR)
        pad = f"{pads[0]}" if len(set(pads)) == 1 else f"({pads[0]},{pads[1]},{pads[2]},{pads[3]})"
        parts = [
            "×".join(map(str, self.x_shape)), "*", "×".join(map(str, self.w_shape)),
            f"stride {short(self.SH, self.SW)}", f"padding {pad}",
        ]
        if (self.DH, self.DW) != (1, 1):
            parts.append(f"dilation {short(self.DH, self.DW)}")
        if self.G != 1:
            parts.append(f"groups {self.G}")
        if self.rank:
            parts.append(f"rank {self.rank}")
        parts += [self.dtype, self.layout]
        return " ".join(parts)


def _weight_shape(w_shape: object) -> tuple[int, int, int, int]:
    if not isinstance(w_shape, (tuple, list)):
        raise TypeError(f"the shape of w must be a tuple; got {type(w_shape).__name__}")
    dims = tuple(integer("each size of w", d, least=0) for d in w_shape)
    if len(dims) != 4:
        raise ValueError(f"w must have the 4 axes (OC, IC/groups, KH, KW); got shape {dims}")
    if 0 in dims:
        raise ValueError(
            f"w has an empty axis: shape {dims}; output channels, input channels, height and "
            f"width must be ≥ 1"
        )
    oc, icg, kh, kw = dims
    return oc, icg, kh, kw


def _check_channels(
    ic: int, oc: int, icg: int, g: int, x_shape: object, w_shape: object
) -> None:
    if ic == 0:
        raise ValueError(f"x has no channels: shape {x_shape}")
    if ic % g:
        raise ValueError(
            f"groups={g} does not divide the {ic} channels of x {x_shape}; "
            f"choose groups that divide both {ic} and {oc}"
        )
    if oc % g:
        raise ValueError(
            f"groups={g} does not divide the {oc} output channels of w {w_shape}; "
            f"choose groups that divide both {ic} and {oc}"
        )
    if icg * g != ic:
        raise ValueError(
            f"x {x_shape} has {ic} channels but w {w_shape} with groups={g} takes "
            f"{icg}×{g} = {icg * g}; w must have shape (OC, {ic // g}, KH, KW)"
        )


def _check_transpose_channels(
    oc: int, woc: int, icg: int, g: int, x_shape: object, w_shape: object
) -> None:
    if oc == 0:
        raise ValueError(f"x has no channels: shape {x_shape}")
    if oc != woc:
        raise ValueError(
            f"x {x_shape} has {oc} channels but w {w_shape} takes {woc}; for a transposed "
            f"convolution w has shape (channels of x, OC/groups, KH, KW)"
        )
    if oc % g:
        raise ValueError(f"groups={g} does not divide the {oc} channels of x {x_shape}")
