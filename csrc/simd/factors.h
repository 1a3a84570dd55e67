/* What the Cython loops hand to the separable kernels. Distances count elements. */
#ifndef FASTCONV_FACTORS_H
#define FASTCONV_FACTORS_H

#include "block.h"

enum { FACTOR_ROWS = 4 }; /* output rows that a column pass computes together */

/* Kernels that are sums of a few products of a column and a row.
 *
 * One output channel's factors lie one after another, for every input channel and then for every
 * term of its sum: all columns, each of KH weights between FACTOR_ROWS − 1 zeros on either side;
 * then all rows of KW weights.
 */
typedef struct {
    Geometry geometry; /* stride 1 */
    ptrdiff_t rank;
    ptrdiff_t band, cols;             /* output rows and columns of the largest task */
    ptrdiff_t pitch, width;           /* of a row between the passes, and of a copied row of x */
    const ptrdiff_t *down;            /* KH + band offsets of rows, from one to the next DH away, */
    const ptrdiff_t *patch_down;      /* the same in a copy, */
    const ptrdiff_t *across;          /* and of the factors of the second pass */
    int activation;
    double slope;
} Factors;

/* Output rows oh, oh + DH, … (`rows` of them) and columns ow … ow + cols of one output channel;
 * x is the first channel of its group, `out` its plane. */
typedef void (*Separable)(const Factors *f, const void *x, const void *factors, const void *bias,
                          void *out, ptrdiff_t oh, ptrdiff_t rows, ptrdiff_t ow, ptrdiff_t cols,
                          void *scratch);

#endif
