/* Who this data directory belongs to: eagre.meta, made at the first start, checked at every later
 * one. */
#ifndef EAGRE_ENGINE_APP_NODE_H
#define EAGRE_ENGINE_APP_NODE_H

#include "engine/config/config.h"
#include "hw/clock/clock.h"
#include "hw/disk/disk.h"
#include "log/format/format.h"

/* Reads eagre.meta, or writes it when the directory is new. RC_NEWER_FORMAT, RC_CORRUPT (no intact
 * copy; trail says what to do), RC_INVALID (another broker.id), or the disk's trouble. Runs on:
 * start-up. Blocks: yes. */
enum rc node_open(struct disk *disk,
                  struct clock *clock,
                  const struct settings *settings,
                  struct meta_block *ret_meta,
                  struct diag_trail *trail) MUST_USE;

#endif
