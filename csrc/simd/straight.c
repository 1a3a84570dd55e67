/* Unit: planes by kernels of few rows. */
#include "straight_tile.h"

void SYMBOL(straight)(const Geometry *g, Straight *s, ptrdiff_t first, ptrdiff_t stop)
{
    straight_plane(g, s, first, stop);
}
