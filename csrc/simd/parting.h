/* Rows of pixels as the columns of tiles four wide, a vector of tiles at once, and back. */
#ifndef FASTCONV_PARTING_H
#define FASTCONV_PARTING_H

#include "vec.h"

enum { PARTS = 4 };

/* The low or the high halves of two vectors, lane by lane in turn. */
INLINE vec vzip(vec a, vec b, const int high)
{
    ivec from;
    for (int i = 0; i < VL; i++)
        from[i] = i / 2 + high * (VL / 2) + i % 2 * VL;
    return vshuffle(a, b, from);
}

/* Cells 0, 4, 8 …; 1, 5, 9 …; and so on, of four vectors. */
INLINE void part_columns(const real *x, vec column[PARTS])
{
    const vec a = vload(x), b = vload(x + VL), c = vload(x + 2 * VL), d = vload(x + 3 * VL);
    const vec even_low = veven(a, b), even_high = veven(c, d);
    const vec odd_low = vodd(a, b), odd_high = vodd(c, d);
    column[0] = veven(even_low, even_high);
    column[1] = veven(odd_low, odd_high);
    column[2] = vodd(even_low, even_high);
    column[3] = vodd(odd_low, odd_high);
}

/* The reverse. */
INLINE void join_columns(const vec column[PARTS], vec row[PARTS])
{
    const vec even_low = vzip(column[0], column[2], 0), even_high = vzip(column[0], column[2], 1);
    const vec odd_low = vzip(column[1], column[3], 0), odd_high = vzip(column[1], column[3], 1);
    row[0] = vzip(even_low, odd_low, 0);
    row[1] = vzip(even_low, odd_low, 1);
    row[2] = vzip(even_high, odd_high, 0);
    row[3] = vzip(even_high, odd_high, 1);
}

#endif
