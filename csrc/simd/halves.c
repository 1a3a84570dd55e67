/* float16 and bfloat16 to float and back, as IEEE 754 defines it: exact one way, rounded to
 * nearest, ties to even, the other. On bits, so that no instruction set needs to know the types
 * and loops become vectors. NaN stays NaN with its sign and leading bits, and quiet.
 */
#include <string.h>

#include "table.h"
#include "vec.h"

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum { MANTISSA = 0x3FF, EXPONENT = 0x7C00, MAGNITUDE = 0x7FFF, SHIFT = 13 }; /* of float16 */
#define SINGLE_INFINITY 0x7F800000u
#define BIAS ((127u - 15u) << 23)      /* what the exponents are apart */
#define LEAST_NORMAL ((127u - 14u) << 23) /* 2^-14, the least normal float16, as a float */
#define TOO_LARGE ((127u + 16u) << 23) /* 2^16 */
#define SUBNORMAL_UNIT 0x1p-24f

static inline float wide16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & ~MAGNITUDE & 0xFFFF) << 16, magnitude = half & MAGNITUDE;
    uint32_t normal = (magnitude << SHIFT) + BIAS;
    uint32_t special = magnitude << SHIFT | SINGLE_INFINITY | (magnitude > EXPONENT ? 1u << 22 : 0);
    uint32_t small = bits_of((float)(int32_t)magnitude * SUBNORMAL_UNIT);
    uint32_t bits = magnitude >= EXPONENT ? special : normal;
    return of_bits(sign | (magnitude <= MANTISSA ? small : bits));
}

static inline uint16_t narrow16(float value) {
    uint32_t bits = bits_of(value), magnitude = bits & 0x7FFFFFFFu;
    uint32_t sign = bits >> 16 & 0x8000u;
    /* What is cut off rounds up from one half on, or from beyond it where the last bit is 0. */
    uint32_t normal = (magnitude - BIAS + 0xFFFu + (magnitude >> SHIFT & 1)) >> SHIFT;
    /* A unit of 0.5f is one of a subnormal float16, so the addition rounds. */
    uint32_t small = bits_of(of_bits(magnitude) + 0.5f) - bits_of(0.5f);
    uint32_t special = magnitude > SINGLE_INFINITY
        ? EXPONENT | 0x200u | (magnitude >> SHIFT & MANTISSA) : EXPONENT;
    uint32_t half = magnitude < LEAST_NORMAL ? small : normal;
    return (uint16_t)(sign | (magnitude >= TOO_LARGE ? special : half));
}

static inline float wide_b16(uint16_t half) { return of_bits((uint32_t)half << 16); }

static inline uint16_t narrow_b16(float value) {
    uint32_t bits = bits_of(value);
    uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
    uint32_t nan = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7FFFFFFFu) > SINGLE_INFINITY ? nan : rounded);
}

static void widen(int brain, const uint16_t *restrict x, float *restrict out, ptrdiff_t n) {
    if (brain)
        for (ptrdiff_t i = 0; i < n; i++) out[i] = wide_b16(x[i]);
    else
        for (ptrdiff_t i = 0; i < n; i++) out[i] = wide16(x[i]);
}

static void narrow(int brain, const float *restrict x, uint16_t *restrict out, ptrdiff_t n) {
    if (brain)
        for (ptrdiff_t i = 0; i < n; i++) out[i] = narrow_b16(x[i]);
    else
        for (ptrdiff_t i = 0; i < n; i++) out[i] = narrow16(x[i]);
}

const HalfKernels SYMBOL(halves) = {.widen = widen, .narrow = narrow};
