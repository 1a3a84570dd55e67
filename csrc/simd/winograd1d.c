/* Unit: Winograd's convolution down the columns of planes. */
#include "winograd1d.h"
#include "table.h"

const TapGroupKernels SYMBOL(winograd1d) = {
    .lines = COLUMN_LINES,
    .input = columns_in,
    .output = columns_out,
};
