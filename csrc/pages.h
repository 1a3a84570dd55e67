/* Memory that is taken and given back again and again: packed weights, scratch, large results.
 *
 * The system hands out fresh pages one fault at a time, zeroed, which can take longer than the
 * computation that fills them. So large blocks that come back are kept, up to a bound, and handed
 * out again. Their sizes are rounded up to classes, eight for each doubling, so that a block
 * serves later requests of about its size and at most a ninth of it lies idle. The last block to
 * come back goes out first, being the likeliest to lie in a cache; the first to come back is the
 * first to be freed when the bound is reached.
 *
 * The cache line before a block says what it is, so that its address is all that a holder keeps.
 */
#ifndef FASTCONV_PAGES_H
#define FASTCONV_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#ifdef _WIN32
#include <windows.h>
static SRWLOCK pages_mutex = SRWLOCK_INIT;
static void pages_lock(void) { AcquireSRWLockExclusive(&pages_mutex); }
static void pages_unlock(void) { ReleaseSRWLockExclusive(&pages_mutex); }
#else
#include <pthread.h>
static pthread_mutex_t pages_mutex = PTHREAD_MUTEX_INITIALIZER;
static void pages_lock(void) { pthread_mutex_lock(&pages_mutex); }
static void pages_unlock(void) { pthread_mutex_unlock(&pages_mutex); }

/* A child that was forked while another thread held the lock would wait for it forever. */
__attribute__((constructor)) static void pages_watch_forks(void)
{
    pthread_atfork(pages_lock, pages_unlock, pages_unlock);
}
#endif

/* Under AddressSanitizer the bytes of a block that nobody asked for count as out of bounds. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)0)
#endif

#define PAGES_LINE ((size_t)64)         /* bytes of a cache line, on which every block starts */
#define PAGES_APART ((size_t)4096)      /* a load waits for earlier stores at this distance */
#define PAGES_HUGE ((size_t)2 << 20)    /* bytes of a huge page */
#define PAGES_POOLED ((size_t)64 << 10) /* smaller blocks come as fast from malloc */
#define PAGES_MOST_IDLE 256             /* blocks, which are looked through one by one */

typedef struct {
    void *base;
    size_t bytes; /* from base on; if pooled, the class */
} PagesBlock;

/* In the order of coming back; all of it under the lock. */
static PagesBlock pages_idle[PAGES_MOST_IDLE];
static int pages_idle_count;
static size_t pages_idle_bytes, pages_idle_limit;

static PagesBlock *pages_head(const void *start)
{
    return (PagesBlock *)((char *)start - PAGES_LINE);
}

static void *pages_fresh(size_t bytes)
{
#ifdef __linux__
    void *base;
    if (bytes >= PAGES_HUGE) {
        if (posix_memalign(&base, PAGES_HUGE, bytes)) return NULL;
        madvise(base, bytes / PAGES_HUGE * PAGES_HUGE, MADV_HUGEPAGE); /* a hint: may fail */
        return base;
    }
#endif
    return malloc(bytes);
}

static size_t pages_class(size_t bytes)
{
    size_t step = 1;
    while (step <= bytes / 16) step *= 2;
    return (bytes + step - 1) / step * step;
}

static void *pages_reuse(size_t bytes)
{
    void *base = NULL;
    pages_lock();
    for (int i = pages_idle_count - 1; i >= 0 && !base; i--) {
        if (pages_idle[i].bytes != bytes) continue;
        base = pages_idle[i].base;
        pages_idle_bytes -= bytes;
        pages_idle_count--;
        memmove(pages_idle + i, pages_idle + i + 1,
                (size_t)(pages_idle_count - i) * sizeof *pages_idle);
    }
    pages_unlock();
    return base;
}

/* Keep a block; free what has to go for it: itself, or those that came back first. */
static void pages_keep(PagesBlock block)
{
    PagesBlock leaving[PAGES_MOST_IDLE];
    int count = 0;
    pages_lock();
    if (block.bytes <= pages_idle_limit) {
        while (pages_idle_bytes + block.bytes > pages_idle_limit
               || pages_idle_count - count == PAGES_MOST_IDLE) {
            leaving[count] = pages_idle[count];
            pages_idle_bytes -= leaving[count++].bytes;
        }
        pages_idle_count -= count;
        memmove(pages_idle, pages_idle + count, (size_t)pages_idle_count * sizeof *pages_idle);
        pages_idle[pages_idle_count++] = block;
        pages_idle_bytes += block.bytes;
        block.base = NULL;
    }
    pages_unlock();
    free(block.base);
    while (count) free(leaving[--count].base);
}

/* `bytes` bytes, or NULL. Large blocks start `place` bytes, a multiple of 64, after a multiple
 * of PAGES_APART. */
static void *pages_take(size_t bytes, size_t place)
{
    size_t total = bytes + 2 * PAGES_LINE;
    char *start;
    void *base;
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    if (total < PAGES_POOLED) {
        base = malloc(total);
        place = 0;
    } else {
        total = pages_class(total + PAGES_APART);
        base = pages_reuse(total);
        if (!base) base = pages_fresh(total);
    }
    if (!base) return NULL;
    start = (char *)base + PAGES_LINE;
    start += -(uintptr_t)start % PAGES_LINE;
    if (total >= PAGES_POOLED) start += (place - (uintptr_t)start) % PAGES_APART;
    *pages_head(start) = (PagesBlock){base, total};
    ASAN_POISON_MEMORY_REGION(start + bytes, total - (size_t)(start + bytes - (char *)base));
    return start;
}

static void pages_give(void *start)
{
    PagesBlock block;
    if (!start) return;
    block = *pages_head(start);
    ASAN_UNPOISON_MEMORY_REGION(block.base, block.bytes);
    if (block.bytes < PAGES_POOLED) free(block.base);
    else pages_keep(block);
}

/* Bytes that may be used from the start of a block on. */
static size_t pages_room(const void *start)
{
    const PagesBlock *block = pages_head(start);
    return block->bytes - (size_t)((const char *)start - (const char *)block->base);
}

/* How many bytes may lie idle. */
static void pages_set_limit(size_t bytes)
{
    pages_lock();
    pages_idle_limit = bytes;
    pages_unlock();
}

static size_t pages_held(void)
{
    size_t bytes;
    pages_lock();
    bytes = pages_idle_bytes;
    pages_unlock();
    return bytes;
}

#endif
