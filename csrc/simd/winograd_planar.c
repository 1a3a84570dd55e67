/* Unit: Winograd's convolution on few input channels. */
#include "winograd_planar.h"
#include "table.h"

const TileRowKernels SYMBOL(tile_rows) = {
    .scratch = tile_rows_scratch,
    .run = tile_rows_run,
};
