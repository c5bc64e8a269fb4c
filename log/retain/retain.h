/* Retention: whole sealed segments go when they are too old, too much, or below a raised start
 * offset.
 *
 *   NONE -> JOURNAL (START_OFFSET durable) -> CLOSE (no reader, file closed, off the list)
 *        -> MANIFEST (without it) -> UNLINK -> NONE
 *
 * That order leaves nothing that a start would have to guess: what the manifest does not list and
 * no one serves may go. Only sealed segments are deleted, oldest first, one at a time per
 * partition, never past the high watermark. An active segment older than segment.ms is left by the
 * same look, or the last records of a topic at rest would stay for ever.
 *
 * Runs on: the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_RETAIN_RETAIN_H
#define EAGRE_LOG_RETAIN_RETAIN_H

#include "log/append/log.h"

#define RETAIN_SCAN_NS NS_PER_S /* how often every partition is looked at */
#define RETAIN_PARTITIONS_PER_POLL 256u

/* From now on log_poll() enforces retention. Call once after recovery. */
void retain_attach(struct log *log);

#endif
