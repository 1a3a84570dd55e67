/* GCC's OpenMP keeps a pool of threads for each thread that ever started a parallel loop. fork()
 * copies that record but not the threads, so in the child the forking thread would wait forever
 * for workers that do not exist. Whether it has such a record cannot be asked: the loop may have
 * been another library's, since processes share one OpenMP. And emptying the pool before a fork
 * is no cure, for another thread may be inside a loop at that moment. So in a child the thread
 * that forked computes alone; threads that the child starts get pools of their own. The bits are
 * the same, as for any number of threads.
 */
#include "team.h"

#if defined(_OPENMP) && !defined(_WIN32)

#include <pthread.h>

static __thread int pool_is_lost;
static int always_alone;

static void in_child(void) { pool_is_lost = 1; }

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

int team_size(int threads)
{
    return threads > 1 && !pool_is_lost && !always_alone ? threads : 1;
}

void team_was_forked(void) { always_alone = 1; }

#else

int team_size(int threads)
{
#ifdef _OPENMP
    return threads > 1 ? threads : 1;
#else
    (void)threads;
    return 1;
#endif
}

void team_was_forked(void) {}

#endif

int team_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
