/* Unit: Winograd's convolution along both axes of planes. */
#include "winograd2d.h"
#include "table.h"

const TapGroupKernels SYMBOL(winograd2d) = {
    .lines = SQUARE_LINES,
    .input = squares_in,
    .output = squares_out,
};
