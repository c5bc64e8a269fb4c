/* What the native door stands on, opened from the settings: the TCP listener of the control
 * exchange and one carrier queue per net tile, on UDP ports that follow each other from the same
 * number on. */
#ifndef EAGRE_ENGINE_APP_NATIVE_H
#define EAGRE_ENGINE_APP_NATIVE_H

#include "engine/app/engine.h"
#include "hw/ethdev/ethdev.h"

#define NATIVE_TEXT_MAX 320u

struct native {
    struct engine_native engine; /* what the engine borrows */
    struct tcp *tcp;
    uint32_t count;                /* of carriers opened */
    uint16_t port;                 /* TCP, and UDP of net tile 0 */
    struct ethdev *ethdev;         /* NULL: sockets */
    char carrier[NATIVE_TEXT_MAX]; /* what runs and what it costs */
    char note[NATIVE_TEXT_MAX];    /* what an operator should know; empty: nothing */
};

/* Whether the settings ask for a native door. */
static inline bool
native_is_on(const struct settings *settings)
{
    return settings->native.host[0] != '\0';
}

/* Opens listener and carriers for net_count net tiles; a port of 0 takes one that is free for TCP
 * and UDP. RC_BUSY, RC_DENIED, RC_INVALID, RC_UNSUPPORTED, RC_NO_MEMORY; cause in trail. On failure
 * nothing stays open.
 * Runs on: start-up.  Allocates: yes.  Blocks: on names, and for EAL up to 2 s. */
enum rc native_open(const struct settings *settings,
                    uint32_t net_count,
                    struct tcp *tcp,
                    struct native *native,
                    struct diag_trail *trail) MUST_USE;
/* After engine_destroy(). A zeroed or half-open one is allowed. */
void native_close(struct native *native);

#endif
