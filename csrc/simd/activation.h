/* The activations on one vector.
 *
 *   vec activate(int kind, vec slope, vec x)
 *
 * `kind` is one of the constants of table.h, ACT_NONE included, and `slope` the splatted
 * slope of ACT_LEAKY_RELU. It is the same function that stores a convolution's sums and that
 * runs element-wise, so both give the same bits. Where `kind` is a constant of the
 * surrounding loop the compiler lifts the choice out of it; otherwise it costs one jump.
 *
 * NaN passes through all of them; the limits at ±inf are PyTorch's (silu(−inf) and
 * hardswish(−inf) are −inf·0 = NaN). relu, relu6, leaky_relu and hardswish are exact to their
 * roundings, the others within 3 ulp; silu of what is below the logarithm of the smallest
 * normal number, where sigmoid is subnormal, within |x| subnormal steps.
 */
#ifndef FASTCONV_ACTIVATION_H
#define FASTCONV_ACTIVATION_H

#include "table.h"
#include "vec.h"

/* Exponentials. With n = round(x / ln 2) and r = x − n·ln 2, |r| ≤ ln 2 / 2, exp(x) is
 * 2^n·(1 + p) with p = exp(r) − 1 = r + r²·q(r). ln 2 is subtracted in two parts, of which the
 * first times n is exact (W. J. Cody and W. Waite, Software Manual for the Elementary
 * Functions, 1980, ch. 6); n is rounded by adding 1.5·2^(bits of the mantissa), whose low bits
 * then hold it. q minimises the largest error relative to p (Remez' exchange algorithm on
 * this interval; it is 1.3e-8 for float and 1.8e-17 for double).
 */
#if REAL_BITS == 32
enum { MANTISSA = 23, BIAS = 127 };
static const integer SIGN_BIT = INT32_MIN;
static const real ROUNDER = 0x1.8p23f;
static const real LN2_HIGH = 0x1.63p-1f, LN2_LOW = -0x1.bd0106p-13f;
static const real EXP_UNDERFLOWS = -104.0f;
static const real EXPM1[] = {
    0x1.fffffep-2f, 0x1.5554bp-3f, 0x1.555674p-5f, 0x1.122776p-7f, 0x1.6bec06p-10f,
};
#else
enum { MANTISSA = 52, BIAS = 1023 };
static const integer SIGN_BIT = INT64_MIN;
static const real ROUNDER = 0x1.8p52;
static const real LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33;
static const real EXP_UNDERFLOWS = -746.0;
static const real EXPM1[] = {
    0x1.0000000000005p-1,  0x1.5555555555539p-3,  0x1.55555555522b8p-5,  0x1.1111111118fa9p-7,
    0x1.6c16c17edba42p-10, 0x1.a01a017515664p-13, 0x1.a019a76f56f91p-16, 0x1.71de88058d787p-19,
    0x1.28a1dfeb6446cp-22, 0x1.ae6ba9c908993p-26,
};
#endif
static const real LOG2_E = (real)0x1.71547652b82fep+0;
static const real EXP_VANISHES = -40; /* here 1 − exp(x) has long been 1 */

INLINE vec vabs(vec x)
{
    return (vec)((ivec)x & ~SIGN_BIT);
}

/* |x| with the sign of y. */
INLINE vec vcopysign(vec x, vec y)
{
    return (vec)(((ivec)x & ~SIGN_BIT) | ((ivec)y & SIGN_BIT));
}

/* 2^n for −BIAS < n ≤ BIAS. */
INLINE vec vpower_of_two(ivec n)
{
    return (vec)((n + BIAS) << MANTISSA);
}

/* exp(r) − 1 where x = n·ln 2 + r; x is NaN or so small that n has few bits. */
INLINE vec reduced_expm1(vec x, ivec *n)
{
    const vec shifted = vfma(x, vsplat(LOG2_E), vsplat(ROUNDER));
    *n = (ivec)shifted - (ivec)vsplat(ROUNDER);
    const vec rounded = shifted - ROUNDER;
    vec r = vfma(rounded, vsplat(-LN2_HIGH), x);
    r = vfma(rounded, vsplat(-LN2_LOW), r);
    int degree = sizeof EXPM1 / sizeof *EXPM1 - 1;
    vec q = vsplat(EXPM1[degree]);
    while (degree-- > 0)
        q = vfma(q, r, vsplat(EXPM1[degree]));
    return vfma(q, r * r, r);
}

/* exp(x) for x ≤ 0. A single factor 2^n would be 0 where the result is subnormal. */
INLINE vec exp_of_negative(vec x)
{
    ivec n;
    const vec p = reduced_expm1(vmax(vsplat(EXP_UNDERFLOWS), x), &n);
    const ivec half = n >> 1;
    return (p + 1) * vpower_of_two(half) * vpower_of_two(n - half);
}

/* Either side of 0 by the exponential that cannot overflow: 1 / (1 + exp(−x)) where x ≥ 0,
 * exp(x) / (1 + exp(x)) elsewhere. */
INLINE vec vsigmoid(vec x)
{
    const vec e = exp_of_negative(-vabs(x));
    return vselect(vless(x, vsplat(0)), e, vsplat(1)) / (e + 1);
}

/* −m / (2 + m) with m = exp(−2|x|) − 1, which keeps every digit near 0. */
INLINE vec vtanh(vec x)
{
    ivec n;
    const vec p = reduced_expm1(vmax(vsplat(EXP_VANISHES), -2 * vabs(x)), &n);
    const vec power = vpower_of_two(n);
    const vec m = vfma(p, power, power - 1);
    return vcopysign(m / (m + 2), x);
}

INLINE vec vhardswish(vec x)
{
    const vec gate = vmin(vsplat(6), vmax(vsplat(0), x + 3));
    return x * (gate * ((real)1 / 6));
}

INLINE vec activate(int kind, vec slope, vec x)
{
    switch (kind) {
    case ACT_RELU:
        return vmax(vsplat(0), x);
    case ACT_RELU6:
        return vmin(vsplat(6), vmax(vsplat(0), x));
    case ACT_LEAKY_RELU:
        return vselect(vgreater(x, vsplat(0)), x, x * slope);
    case ACT_SIGMOID:
        return vsigmoid(x);
    case ACT_TANH:
        return vtanh(x);
    case ACT_SILU:
        return x * vsigmoid(x);
    case ACT_HARDSWISH:
        return vhardswish(x);
    default:
        return x;
    }
}

/* ---------------------------------------------------------------- whole arrays */

enum { GATHERED = 256 }; /* elements that the strided walk holds on the stack */

/* Four vectors at a time from i on, past the caches or through them; where they end. Loads come
 * before stores: a load waits for an earlier store whose address ends alike. */
INLINE ptrdiff_t activate_fours(const int past, int kind, vec slope, const real *x, real *out,
                                ptrdiff_t i, ptrdiff_t n)
{
    for (; i <= n - 4 * VL; i += 4 * VL) {
        vec v[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            v[k] = vload(x + i + k * VL);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            (past ? vstream : vstore)(out + i + k * VL, activate(kind, slope, v[k]));
    }
    return i;
}

INLINE void activate_run(int kind, vec slope, const real *x, real *out, ptrdiff_t n)
{
    /* Up to a whole vector's address, so that no store spans two cache lines. */
    ptrdiff_t i = (ptrdiff_t)(-((uintptr_t)out / sizeof(real)) % VL);
    i = i < n ? i : n;
    vstore_n(out, i, activate(kind, slope, vload_n(x, i)));
    if (x != out && n >= FAR_BYTES / (ptrdiff_t)sizeof(real)) {
        i = activate_fours(1, kind, slope, x, out, i, n);
        vfence();
    } else {
        i = activate_fours(0, kind, slope, x, out, i, n);
    }
    for (; i <= n - VL; i += VL)
        vstore(out + i, activate(kind, slope, vload(x + i)));
    vstore_n(out + i, n - i, activate(kind, slope, vload_n(x + i, n - i)));
}

/* `kind` becomes a constant of each loop. */
static void activate_dense(int kind, vec slope, const real *x, real *out, ptrdiff_t n)
{
    switch (kind) {
#define CASE(constant) \
    case constant: \
        activate_run(constant, slope, x, out, n); \
        break
        CASE(ACT_RELU);
        CASE(ACT_RELU6);
        CASE(ACT_LEAKY_RELU);
        CASE(ACT_SIGMOID);
        CASE(ACT_TANH);
        CASE(ACT_SILU);
        CASE(ACT_HARDSWISH);
#undef CASE
    }
}

/* out[i·out_stride] = activation of x[i·x_stride], for i < n; x may be out itself. */
static void activation(int kind, double slope, const void *x_, ptrdiff_t x_stride, void *out_,
                       ptrdiff_t out_stride, ptrdiff_t n)
{
    const real *x = x_;
    real *out = out_;
    const vec slopes = vsplat((real)slope);
    if (x_stride == 1 && out_stride == 1) {
        activate_dense(kind, slopes, x, out, n);
        return;
    }
    real gathered[GATHERED];
    for (ptrdiff_t start = 0; start < n; start += GATHERED) {
        const ptrdiff_t m = n - start < GATHERED ? n - start : GATHERED;
        for (ptrdiff_t i = 0; i < m; i++)
            gathered[i] = x[(start + i) * x_stride];
        activate_dense(kind, slopes, gathered, gathered, m);
        for (ptrdiff_t i = 0; i < m; i++)
            out[(start + i) * out_stride] = gathered[i];
    }
}

#endif
