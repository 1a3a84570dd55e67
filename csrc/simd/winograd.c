/* Unit: the stages of Winograd's convolution. */
#include "table.h"
#include "winograd_input.h"
#include "winograd_output.h"
#include "winograd_weights.h"

const WinogradKernels SYMBOL(winograd) = {
    .widest = WIDEST,
    .pack = winograd_pack,
    .weights = winograd_weights,
    .input = winograd_input,
    .output = winograd_output,
};
