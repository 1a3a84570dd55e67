/* Unit: depthwise convolutions of few channels that lie side by side. */
#include "interleaved.h"
#include "table.h"

const PlaneKernels SYMBOL(interleaved) = {
    .together = 1,
    .zero_cells = interleaved_zero_cells,
    .weight_cells = interleaved_weight_cells,
    .scratch = interleaved_scratch,
    .pack = interleaved_pack,
    .run = interleaved_run,
};
