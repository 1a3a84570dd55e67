/* The instruction sets that were built, the plainest first. */
#ifndef FASTCONV_ISA_H
#define FASTCONV_ISA_H

#include "table.h"

typedef struct {
    const char *name;
    const Kernels *f32, *f64;
    int (*supported)(void); /* whether this CPU (and its operating system) can run it */
} Isa;

int isa_count(void);
const Isa *isa_get(int i);

/* The family of this processor, and the twelve letters of its vendor; 0 where nothing tells. */
int isa_processor(char vendor[13]);

#endif
