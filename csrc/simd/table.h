/* What one instruction set offers: a struct of function pointers per element type.
 *
 * Arrays pass as untyped pointers and strides count elements, so that one Cython loop
 * serves float and double; the kernel behind the pointer knows its type.
 */
#ifndef FASTCONV_TABLE_H
#define FASTCONV_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int itemsize; /* bytes of an element */
    int width;    /* elements of a vector */
} Kernels;

#endif
