/* How many threads a parallel loop may have. */
#ifndef FASTCONV_TEAM_H
#define FASTCONV_TEAM_H

/* `threads`, or 1 where starting a parallel loop would hang. Call it once before a loop. */
int team_size(int threads);

/* This process was forked before this module was loaded: nothing saw which thread did it. */
void team_was_forked(void);

int team_has_openmp(void);

#endif
