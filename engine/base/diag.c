#include "engine/base/diag.h"

#include "engine/base/base.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DIAG_LINES_PER_SECOND 20u

static _Atomic int diag_level = DIAG_INFO;

/* At most DIAG_LINES_PER_SECOND lines leave in one second; the rest are counted and the count is
 * told later. */
static struct {
    pthread_mutex_t lock;
    time_t second;
    uint32_t lines;
    uint64_t dropped;
} diag_rate = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
diag_set_level(enum diag_level level)
{
    atomic_store_explicit(&diag_level, (int)level, memory_order_relaxed);
}

static bool
diag_admit(time_t second, uint64_t *ret_dropped)
{
    bool admitted;

    pthread_mutex_lock(&diag_rate.lock);
    *ret_dropped = 0;
    if (diag_rate.second != second) {
        diag_rate.second = second;
        diag_rate.lines = 0;
        *ret_dropped = diag_rate.dropped;
        diag_rate.dropped = 0;
    }
    admitted = diag_rate.lines < DIAG_LINES_PER_SECOND;
    if (admitted)
        diag_rate.lines++;
    else
        diag_rate.dropped++;
    pthread_mutex_unlock(&diag_rate.lock);
    return admitted;
}

void
diag_write(enum diag_level level, const char *event, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[1024];
    struct timespec wall;
    struct tm utc;
    uint64_t dropped;

    /* Pairs with nothing: a level change may be seen late. */
    if ((int)level > atomic_load_explicit(&diag_level, memory_order_relaxed))
        return;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (!diag_admit(wall.tv_sec, &dropped))
        return;
    gmtime_r(&wall.tv_sec, &utc);
    if (dropped > 0)
        fprintf(stderr, "eagre: %llu diagnostic lines were dropped\n", (unsigned long long)dropped);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    fprintf(stderr,
            "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s %s\n",
            utc.tm_year + 1900,
            utc.tm_mon + 1,
            utc.tm_mday,
            utc.tm_hour,
            utc.tm_min,
            utc.tm_sec,
            wall.tv_nsec / 1000000,
            names[level],
            event,
            line);
}

void
diag_trail_clear(struct diag_trail *trail)
{
    if (trail != NULL)
        trail->text[0] = '\0';
}

void
diag_trail_add(struct diag_trail *trail, const char *format, ...)
{
    char before[sizeof(trail->text)];
    char part[256];
    va_list arguments;

    if (trail == NULL)
        return;
    memcpy(before, trail->text, sizeof(before));
    before[sizeof(before) - 1] = '\0';
    va_start(arguments, format);
    vsnprintf(part, sizeof(part), format, arguments);
    va_end(arguments);
    snprintf(trail->text,
             sizeof(trail->text),
             "%s%s%.250s",
             part,
             before[0] != '\0' ? ": " : "",
             before);
}
