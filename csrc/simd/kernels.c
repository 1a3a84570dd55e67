/* The table of one instruction set and one element type: it gathers the units. */
#include "dots.h"
#include "table.h"

extern const Convolution SYMBOL(convolution);
extern const Elementwise SYMBOL(elementwise);
extern const PoolKernels SYMBOL(pooling);
extern const WinogradKernels SYMBOL(winograd);
extern const PlaneKernels SYMBOL(planar), SYMBOL(depthwise), SYMBOL(interleaved);
extern const Factoring SYMBOL(factoring);
extern const TapGroupKernels SYMBOL(winograd1d), SYMBOL(winograd2d);
extern const TileRowKernels SYMBOL(tile_rows);
extern const HalfKernels SYMBOL(halves);

const Kernels SYMBOL(kernels) = {
    .itemsize = sizeof(real),
    .width = VL,
    .panel = PANEL,
    .dots = MOST_DOTS,
    .dense = LARGEST_DENSE + LARGEST_TAIL,
    .near_terms = NEAR_TERMS,
    .near_cells = NEAR_CELLS,
    .pass = PASS_TERMS,
    .convolution = &SYMBOL(convolution),
    .elementwise = &SYMBOL(elementwise),
    .pooling = &SYMBOL(pooling),
    .winograd = &SYMBOL(winograd),
    .planar = &SYMBOL(planar),
    .depthwise = &SYMBOL(depthwise),
    .interleaved = &SYMBOL(interleaved),
    .factoring = &SYMBOL(factoring),
    .winograd1d = &SYMBOL(winograd1d),
    .winograd2d = &SYMBOL(winograd2d),
    .tile_rows = &SYMBOL(tile_rows),
    .halves = &SYMBOL(halves),
};
