/* What the server tells at start and stop: a few lines of what it got and what that costs. Written
 * to stdout. */
#ifndef EAGRE_ENGINE_APP_BANNER_H
#define EAGRE_ENGINE_APP_BANNER_H

#include "engine/app/engine.h"
#include "engine/app/native.h"

/* CPUs, threads, disk with its measured O_DSYNC latency. Blocks for the measurement (some 20 ms on
 * a fast disk). */
void banner_start(const struct settings *settings,
                  const struct engine_layout *layout,
                  struct disk *disk);
/* The io body, the memory budget line by line, what recovery found. */
void banner_built(struct engine *engine, const struct recover_report *recovered);
/* The native door: where, how secured, which carrier and what it costs. */
void
banner_native(const struct native *native, const struct settings *settings, uint32_t net_count);
void banner_ready(struct engine *engine, const struct settings *settings, uint16_t admin_port);
void banner_stopping(void);

#endif
