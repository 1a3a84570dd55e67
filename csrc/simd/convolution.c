/* Unit: the blocks of direct convolution and im2col. */
#include "gather.h"
#include "product.h"
#include "table.h"

const Convolution SYMBOL(convolution) = {
    .gather_planes = gather_planes,
    .gather_pixels = gather_pixels,
    .gather_columns = gather_columns,
    .pack_panel = pack_panel,
    .product = product,
};
