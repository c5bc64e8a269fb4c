/* The malloc trap: dev builds put their own malloc family in front of the C library's (a program's
 * symbols win over a shared library's), which asks one thread-local flag and goes on to the
 * library's internal names. free() is left alone, so memory may cross from one to the other freely.
 * Sanitizers own these names, so they win there. */
#include "hw/mem/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEM_TRAP 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define MEM_TRAP 0
#endif
#endif
#if !defined(MEM_TRAP)
#if defined(EAGRE_DCHECK) && EAGRE_DCHECK && defined(__GLIBC__)
#define MEM_TRAP 1
#else
#define MEM_TRAP 0
#endif
#endif

#if MEM_TRAP

static _Thread_local bool mem_trapped __attribute__((tls_model("initial-exec")));

/* Names of glibc that other allocators also count on; no public header has them. */
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

static COLD void
mem_trap_spring(const char *name)
{
    static const char text[] = "eagre: CHECK failed: heap allocation on an engine core by ";

    mem_trapped = false; /* what abort() and its handlers do is their own affair */
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)!write(STDERR_FILENO, name, strlen(name));
    (void)!write(STDERR_FILENO, "()\n", 3);
    abort();
}

void *
malloc(size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("malloc");
    return __libc_malloc(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("calloc");
    return __libc_calloc(count, bytes);
}

void *
realloc(void *memory, size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("realloc");
    return __libc_realloc(memory, bytes);
}

void *memalign(size_t align, size_t bytes);

void *
memalign(size_t align, size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("memalign");
    return __libc_memalign(align, bytes);
}

void *
aligned_alloc(size_t align, size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("aligned_alloc");
    return __libc_memalign(align, bytes);
}

int
posix_memalign(void **ret_memory, size_t align, size_t bytes)
{
    if (UNLIKELY(mem_trapped))
        mem_trap_spring("posix_memalign");
    if (!is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    void *memory = __libc_memalign(align, bytes);
    if (memory == NULL)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

void
mem_trap_enable(void)
{
    mem_trapped = true;
}

void
mem_trap_disable(void)
{
    mem_trapped = false;
}

#else

void
mem_trap_enable(void)
{
}

void
mem_trap_disable(void)
{
}

#endif

bool
mem_trap_exists(void)
{
    return MEM_TRAP != 0;
}
