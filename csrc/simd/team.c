/* GCC's OpenMP keeps the threads of its pool for the thread that started them. fork() copies
 * that record but not the pool, so in the child the forking thread would wait forever for
 * workers that do not exist. Emptying the pool before a fork is no cure: another thread may be
 * inside a loop at that moment. So exactly that thread computes alone from then on; threads
 * that the child starts get pools of their own. The bits are the same, as for any number of
 * threads.
 */
#include "team.h"

#if defined(_OPENMP) && !defined(_WIN32)

#include <pthread.h>

static __thread int has_pool, lost_pool;

static void in_child(void) { lost_pool = has_pool; }

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

int team_size(int threads)
{
    if (threads <= 1 || lost_pool)
        return 1;
    has_pool = 1;
    return threads;
}

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

#endif

int team_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
