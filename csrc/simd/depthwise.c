/* Unit: depthwise convolution along channels that lie side by side. */
#include "depthwise.h"
#include "table.h"

const PlaneKernels SYMBOL(depthwise) = {
    .together = 1,
    .zero_cells = depthwise_zero_cells,
    .weight_cells = depthwise_weight_cells,
    .scratch = depthwise_scratch,
    .pack = depthwise_pack,
    .run = depthwise_run,
};
