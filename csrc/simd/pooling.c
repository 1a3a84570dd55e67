/* Unit: pooling. */
#include "pool.h"
#include "table.h"

const PoolKernels SYMBOL(pooling) = {.planes = pool_planes, .channels = pool_channels};
