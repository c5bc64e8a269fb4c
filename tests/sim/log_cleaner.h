/* The compactor beside a log on a simulated world: a tile of its own, here an actor. It lives and
 * dies with the rig's process. */
#ifndef EAGRE_TESTS_SIM_LOG_CLEANER_H
#define EAGRE_TESTS_SIM_LOG_CLEANER_H

#include "log_keys.h"
#include "log_rig.h"

/* After recovery. */
void cleaner_start(struct log_rig *rig);
/* The process stops cleanly: what is under way is given up, as the end of its thread would. */
void cleaner_stop(struct log_rig *rig);
/* The memory goes. */
void cleaner_forget(struct log_rig *rig);
/* Is a run under way on this process' log? */
bool cleaner_is_busy(const struct log_rig *rig);
/* Passes time until nothing more is compacted. False: it never ends. */
bool cleaner_run(struct log_rig *rig);
/* What is clean of a partition now; *bounds is narrowed when it was filled before. */
void cleaner_bounds(struct log_rig *rig, uint32_t slot, struct log_keys_bounds *bounds);
/* Runs that were ended well in all lives, and the records that they took out. */
uint64_t cleaner_runs(const struct log_rig *rig);
uint64_t cleaner_removed(const struct log_rig *rig);

#endif
