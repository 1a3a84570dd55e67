/* The kernels of one instruction set and one element type.
 *
 * setup.py compiles this file for each pair, with the set's flags and with KERNELS, the
 * name of the one symbol that it exports, and REAL_BITS.
 */
#include "activation.h"
#include "gather.h"
#include "pool.h"
#include "product.h"
#include "table.h"
#include "vec.h"

const Kernels KERNELS = {
    .itemsize = sizeof(real),
    .width = VL,
    .panel = PANEL,
    .gather_planes = gather_planes,
    .gather_pixels = gather_pixels,
    .gather_columns = gather_columns,
    .pack_panel = pack_panel,
    .product = product,
    .activation = activation,
    .pool_planes = pool_planes,
    .pool_channels = pool_channels,
};
