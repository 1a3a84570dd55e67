/* Unit: activations of whole arrays. */
#include "activation.h"
#include "table.h"

const Elementwise SYMBOL(elementwise) = {.activation = activation};
