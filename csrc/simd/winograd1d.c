/* Unit: Winograd's convolution down the columns of planes. */
#include "winograd1d.h"
#include "table.h"

const ColumnKernels SYMBOL(columns) = {
    .input = columns_in,
    .output = columns_out,
};
