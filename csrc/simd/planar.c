/* Unit: convolutions of planes of few channels. */
#include "planar.h"
#include "table.h"

const PlaneKernels SYMBOL(planar) = {
    .together = TOGETHER,
    .zero_cells = planar_zero_cells,
    .weight_cells = planar_weight_cells,
    .scratch = planar_scratch,
    .pack = planar_pack,
    .run = planar_run,
};
