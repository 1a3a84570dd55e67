/* Unit: kernels of low rank. */
#include "separable.h"
#include "table.h"

const Factoring SYMBOL(factoring) = {
    .separable = separable,
};
