/* The activations that cost next to nothing between the last product and the store. */
#ifndef FASTCONV_CLAMP_H
#define FASTCONV_CLAMP_H

#include "activation.h"

/* Limits of a sum. NaN passes, as vmax and vmin let their second operand. */
typedef struct {
    real low, high;
    int is_needed;
    int rest; /* the activation that is still to be done, ACT_NONE where the limits are all */
} Clamp;

INLINE Clamp clamp_of(int kind)
{
    const real infinity = (real)__builtin_inf();
    const int limits = kind == ACT_RELU || kind == ACT_RELU6;
    return (Clamp){limits ? 0 : -infinity, kind == ACT_RELU6 ? 6 : infinity, limits,
                   limits ? ACT_NONE : kind};
}

INLINE vec clamped(const Clamp *clamp, vec v)
{
    return vmin(vsplat(clamp->high), vmax(vsplat(clamp->low), v));
}

#endif
