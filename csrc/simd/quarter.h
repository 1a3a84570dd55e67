/* Maxima of windows of 2×2 side by side, while what they are taken of is in registers or near. */
#ifndef FASTCONV_QUARTER_H
#define FASTCONV_QUARTER_H

#include "vec.h"

/* A NaN wins. */
INLINE vec maximum_of_four(vec a, vec b, vec c, vec d)
{
    const mask is_nan = veither(vunordered(a, b), vunordered(c, d));
    return vselect(is_nan, a + b + (c + d), vmax(vmax(a, b), vmax(c, d)));
}

#endif
