/* The vector of one instruction set and one element type.
 *
 * The units (table.h) are compiled once per instruction set and element type: the compiler's
 * flags decide the width, -DREAL_BITS=32 or 64 the element, -DKIND=f32_avx2 and the like the end
 * of the exported names. So `real`, `vec` and every function below have one plain name, and
 * arithmetic is written with operators.
 * Intrinsics stand here only where the compiler's vector extensions give poor code.
 * Everything is static inline: no wide instruction may leak into a symbol that a CPU
 * without it could reach.
 */
#ifndef FASTCONV_VEC_H
#define FASTCONV_VEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __AVX__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif

#define PASTE_(prefix, name, suffix) prefix##name##suffix
#define PASTE(prefix, name, suffix) PASTE_(prefix, name, suffix)
#define SYMBOL(unit) PASTE(unit, _, KIND) /* the one name that a unit exports */

#define INLINE static inline __attribute__((always_inline))

#if REAL_BITS == 32
typedef float real;
typedef int32_t integer;
#else
typedef double real;
typedef int64_t integer;
#endif

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef integer ivec __attribute__((vector_size(VEC_BYTES)));
typedef real unaligned_vec
    __attribute__((vector_size(VEC_BYTES), aligned(REAL_BITS / 8), may_alias));

enum { VL = VEC_BYTES * 8 / REAL_BITS }; /* elements of a vector */

INLINE vec vload(const real *p) { return *(const unaligned_vec *)p; }

INLINE void vstore(real *p, vec v) { *(unaligned_vec *)p = v; }

/* Past the caches, to an aligned place; vfence() once after the last. */
INLINE void vstream(real *p, vec v)
{
#if VEC_BYTES == 64
    _mm512_stream_si512((__m512i *)p, (__m512i)v);
#elif VEC_BYTES == 32
    _mm256_stream_si256((__m256i *)p, (__m256i)v);
#else
    *(vec *)p = v;
#endif
}

INLINE void vfence(void)
{
#ifdef __AVX__
    _mm_sfence();
#endif
}

/* Subtraction folds to a plain broadcast; s + {0} would not, because -0 + 0 is +0. */
INLINE vec vsplat(real s) { return s - (vec){0}; }

/* 0, 1, … VL − 1. */
INLINE ivec vlanes(void)
{
    ivec lanes;
    for (int i = 0; i < VL; i++)
        lanes[i] = i;
    return lanes;
}

/* a * b + c, fused where the instruction set can (-ffp-contract=fast). */
INLINE vec vfma(vec a, vec b, vec c) { return a * b + c; }

/* v, loaded into a register here and now: a compiler may otherwise read memory again for every
 * use of v, and run out of load units. */
INLINE vec vkeep(vec v)
{
#if defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__SSE2__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* ---------------------------------------------------------------- lanes of 16 bytes
 *
 * vshuffle(a, b, from)       element i is element from[i] of a, or from[i] − VL of b; constant
 * vneighbours(a, b, distance)  elements distance, distance + 1, … of a and b; constant
 * vload_lanes(p, step)       lane k from p + k * step
 * vstore_lanes(p, step, v)   lane k to p + k * step
 */

#ifdef __clang__
INLINE vec vshuffle(vec a, vec b, ivec from)
{
    vec v;
    for (int i = 0; i < VL; i++)
        v[i] = from[i] < VL ? a[from[i]] : b[from[i] - VL];
    return v;
}
#else
#define vshuffle(a, b, from) __builtin_shuffle(a, b, from)
#endif

/* Checks between operations hide from the compiler that a parameter is constant. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define CONSTANTS_ARE_SEEN 1
#else
#define CONSTANTS_ARE_SEEN 0
#endif

INLINE vec vneighbours(vec a, vec b, const int distance)
{
#if VEC_BYTES == 64 && REAL_BITS == 32 && CONSTANTS_ARE_SEEN
    return (vec)_mm512_alignr_epi32((__m512i)b, (__m512i)a, distance % VL);
#elif VEC_BYTES == 64 && CONSTANTS_ARE_SEEN
    return (vec)_mm512_alignr_epi64((__m512i)b, (__m512i)a, distance % VL);
#else
    ivec from;
    for (int i = 0; i < VL; i++)
        from[i] = distance + i;
    return vshuffle(a, b, from);
#endif
}

typedef real lane __attribute__((vector_size(16), aligned(REAL_BITS / 8), may_alias));

INLINE vec vload_lanes(const real *p, ptrdiff_t step)
{
#if VEC_BYTES == 64
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)p));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps((const float *)(p + step)));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps((const float *)(p + 2 * step)));
    return (vec)_mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps((const float *)(p + 3 * step)));
#elif VEC_BYTES == 32
    return (vec)_mm256_loadu2_m128((const float *)(p + step), (const float *)p);
#else
    (void)step;
    return vload(p);
#endif
}

INLINE void vstore_lanes(real *p, ptrdiff_t step, vec v)
{
    union {
        vec whole;
        lane lanes[VEC_BYTES / 16];
    } u = {v};
#pragma GCC unroll 4
    for (int k = 0; k < VEC_BYTES / 16; k++)
        *(lane *)(p + k * step) = u.lanes[k];
}

/* ---------------------------------------------------------------- selection and tails
 *
 * A `mask` has one truth value per element; masks combine with & and |.
 * vselect(m, a, b)   a where m holds, b elsewhere
 * vmax(a, b)         a > b ? a : b, so b comes out whenever one of the two is NaN
 * vmin(a, b)         a < b ? a : b, likewise
 * vinside(at, n)     which elements of at are among 0 … n − 1
 * vall(m)            whether m holds for every element
 * veither(m, n)      m | n, in a mask register where there are such
 * vunordered(a, b)   where a or b is NaN
 * vordered(m, a, b)  m where neither is
 * vload_n(p, n)      the first n elements of p, 0 ≤ n ≤ VL, the others 0; reads no further
 * vstore_n(p, n, v)  writes the first n elements only
 * vbetween(a, b)     the lanes a … b − 1, for 0 ≤ a and b ≤ VL
 * vbetween_any(a, b) the same for any a and b
 * vload_where(m, p)  the elements of p where m holds, 0 elsewhere; reads nothing else
 * vstore_where(m, p, v)  writes the elements where m holds, nothing else
 * vload_or(m, p, other)           p[i] where m holds, `other` elsewhere; reads nothing else
 * vgather_where(m, p, at, other)  p[at[i]] likewise
 */

#if VEC_BYTES == 64

#if REAL_BITS == 32
typedef __mmask16 mask;
#define MM(name) PASTE(_mm512_, name, _ps)
#define MM_MASK(name) PASTE(_mm512_, name, _ps_mask)
#else
typedef __mmask8 mask;
#define MM(name) PASTE(_mm512_, name, _pd)
#define MM_MASK(name) PASTE(_mm512_, name, _pd_mask)
#endif

INLINE mask vgreater(vec a, vec b) { return MM_MASK(cmp)(a, b, _CMP_GT_OQ); }
INLINE mask vless(vec a, vec b) { return MM_MASK(cmp)(a, b, _CMP_LT_OQ); }
INLINE mask visnan(vec a) { return MM_MASK(cmp)(a, a, _CMP_UNORD_Q); }
INLINE mask vunordered(vec a, vec b) { return MM_MASK(cmp)(a, b, _CMP_UNORD_Q); }
INLINE mask vordered(mask m, vec a, vec b) { return MM_MASK(mask_cmp)(m, a, b, _CMP_ORD_Q); }
INLINE mask vfirst(ptrdiff_t n) { return (mask)((1u << n) - 1); }
INLINE int vall(mask m) { return m == (mask)~0u; }
INLINE mask veither(mask m, mask n) { return (mask)_kor_mask16(m, n); }
INLINE vec vselect(mask m, vec a, vec b) { return MM(mask_blend)(m, b, a); }
INLINE vec vmax(vec a, vec b) { return MM(max)(a, b); }
INLINE vec vmin(vec a, vec b) { return MM(min)(a, b); }
INLINE vec vload_n(const real *p, ptrdiff_t n) { return MM(maskz_loadu)(vfirst(n), p); }
INLINE void vstore_n(real *p, ptrdiff_t n, vec v) { MM(mask_storeu)(p, vfirst(n), v); }
INLINE vec vload_where(mask m, const real *p) { return MM(maskz_loadu)(m, p); }
INLINE void vstore_where(mask m, real *p, vec v) { MM(mask_storeu)(p, m, v); }
INLINE vec vload_or(mask m, const real *p, vec other) { return MM(mask_loadu)(other, m, p); }

INLINE mask vinside(ivec at, integer n)
{
#if REAL_BITS == 32
    return _mm512_cmplt_epu32_mask((__m512i)at, _mm512_set1_epi32(n));
#else
    return _mm512_cmplt_epu64_mask((__m512i)at, _mm512_set1_epi64(n));
#endif
}

INLINE vec vgather_where(mask m, const real *p, ivec at, vec other)
{
#if REAL_BITS == 32
    return _mm512_mask_i32gather_ps(other, m, (__m512i)at, p, 4);
#else
    return _mm512_mask_i64gather_pd(other, m, (__m512i)at, p, 8);
#endif
}

#else

typedef ivec mask; /* −1 where it holds */

INLINE mask vgreater(vec a, vec b) { return a > b; }
INLINE mask vless(vec a, vec b) { return a < b; }
INLINE mask visnan(vec a) { return a != a; }
INLINE mask vunordered(vec a, vec b) { return (a != a) | (b != b); }
INLINE mask veither(mask m, mask n) { return m | n; }

INLINE mask vfirst(ptrdiff_t n) { return vlanes() < (integer)n - (ivec){0}; }
INLINE mask vinside(ivec at, integer n) { return (at >= 0) & (at < n); }
INLINE vec vselect(mask m, vec a, vec b) { return (vec)((m & (ivec)a) | (~m & (ivec)b)); }

#if VEC_BYTES == 32

#if REAL_BITS == 32
#define MM(name) PASTE(_mm256_, name, _ps)
#else
#define MM(name) PASTE(_mm256_, name, _pd)
#endif

INLINE mask vordered(mask m, vec a, vec b) { return m & (mask)MM(cmp)(a, b, _CMP_ORD_Q); }
INLINE vec vmax(vec a, vec b) { return MM(max)(a, b); }
INLINE vec vmin(vec a, vec b) { return MM(min)(a, b); }
INLINE int vall(mask m) { return MM(movemask)((vec)m) == (1 << VL) - 1; }

INLINE vec vload_n(const real *p, ptrdiff_t n)
{
    return MM(maskload)(p, (__m256i)vfirst(n));
}

INLINE vec vload_or(mask m, const real *p, vec other)
{
    return vselect(m, MM(maskload)(p, (__m256i)m), other);
}

INLINE vec vgather_where(mask m, const real *p, ivec at, vec other)
{
#if REAL_BITS == 32
    return _mm256_mask_i32gather_ps(other, p, (__m256i)at, (vec)m, 4);
#else
    return _mm256_mask_i64gather_pd(other, p, (__m256i)at, (vec)m, 8);
#endif
}

INLINE void vstore_n(real *p, ptrdiff_t n, vec v)
{
    MM(maskstore)(p, (__m256i)vfirst(n), v);
}

INLINE vec vload_where(mask m, const real *p) { return MM(maskload)(p, (__m256i)m); }
INLINE void vstore_where(mask m, real *p, vec v) { MM(maskstore)(p, (__m256i)m, v); }

#else

INLINE mask vordered(mask m, vec a, vec b) { return m & (a == a) & (b == b); }
INLINE vec vmax(vec a, vec b) { return vselect(a > b, a, b); }
INLINE vec vmin(vec a, vec b) { return vselect(a < b, a, b); }

INLINE int vall(mask m)
{
    integer all = -1;
    for (int i = 0; i < VL; i++)
        all &= m[i];
    return all != 0;
}

INLINE vec vload_or(mask m, const real *p, vec other)
{
    for (int i = 0; i < VL; i++)
        if (m[i])
            other[i] = p[i];
    return other;
}

INLINE vec vgather_where(mask m, const real *p, ivec at, vec other)
{
    for (int i = 0; i < VL; i++)
        if (m[i])
            other[i] = p[at[i]];
    return other;
}

INLINE vec vload_n(const real *p, ptrdiff_t n)
{
    vec v = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}

INLINE void vstore_n(real *p, ptrdiff_t n, vec v)
{
    for (ptrdiff_t i = 0; i < n; i++)
        p[i] = v[i];
}

INLINE vec vload_where(mask m, const real *p)
{
    vec v = {0};
    for (int i = 0; i < VL; i++)
        if (m[i])
            v[i] = p[i];
    return v;
}

INLINE void vstore_where(mask m, real *p, vec v)
{
    for (int i = 0; i < VL; i++)
        if (m[i])
            p[i] = v[i];
}

#endif
#endif

INLINE mask vbetween(ptrdiff_t a, ptrdiff_t b) { return vfirst(b) & ~vfirst(a); }

INLINE mask vbetween_any(ptrdiff_t a, ptrdiff_t b)
{
    a = a < 0 ? 0 : a < VL ? a : VL;
    b = b < 0 ? 0 : b < VL ? b : VL;
    return vbetween(a, b);
}

/* ---------------------------------------------------------------- every other element
 *
 * Of two vectors that follow one another: the elements 0, 2, 4 … and 1, 3, 5 ….
 */

INLINE vec vevery_other(vec a, vec b, const int first)
{
    ivec index;
    for (int i = 0; i < VL; i++)
        index[i] = 2 * i + first;
#ifdef __clang__
    vec v;
    for (int i = 0; i < VL; i++)
        v[i] = 2 * i < VL ? a[2 * i + first] : b[2 * i - VL + first];
    return v;
#else
    return __builtin_shuffle(a, b, index);
#endif
}

INLINE vec veven(vec a, vec b) { return vevery_other(a, b, 0); }
INLINE vec vodd(vec a, vec b) { return vevery_other(a, b, 1); }

#endif
