/* Diagnostics for people: one line per event on stderr, "time level event key=value ...".
 *
 * event is a stable name like "journal_write_failed"; values are formatted by the caller's
 * printf-style string, as in diag_warn("disk_slow", "file=%s latency_us=%u doing=%s", ...).
 * Rate-limited to 20 lines a second per process, with a count of what was dropped. Never called per
 * record. Thread-safe. May block on stderr, so engine cores call it only on paths where a partition
 * or a connection is given up. */
#ifndef EAGRE_ENGINE_BASE_DIAG_H
#define EAGRE_ENGINE_BASE_DIAG_H

#include <stddef.h>

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

void diag_write(enum diag_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Lines above this level are dropped; DIAG_INFO at start. */
void diag_set_level(enum diag_level level);

#define diag_error(event, ...) diag_write(DIAG_ERROR, event, __VA_ARGS__)
#define diag_warn(event, ...) diag_write(DIAG_WARN, event, __VA_ARGS__)
#define diag_info(event, ...) diag_write(DIAG_INFO, event, __VA_ARGS__)
#define diag_debug(event, ...) diag_write(DIAG_DEBUG, event, __VA_ARGS__)

/* Cause text for a cold path's caller: "journal file 2: open /data/journal-0-2: permission denied".
 * Each level that knows more puts its part in front. */
struct diag_trail {
    char text[512];
};
void diag_trail_clear(struct diag_trail *trail);
/* Prefixes "cause: " to what is there; cut at the end when full. trail may be NULL: nothing. */
void diag_trail_add(struct diag_trail *trail, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
