/* Every state that a crash could leave, for every point of a recorded trace.
 *
 *   disk_sim_trace_start(disk); ... run ...; walk = disk_sim_walk_create(disk);
 *   do {
 *       count = disk_sim_walk_states(walk, 64);
 *       for (i = 0; i < count; i++) { after = disk_sim_walk_state(walk, i, &config); recover and
 * judge; disk_fini(after); } } while (disk_sim_walk_next(walk));
 *
 * At a point with few changes in doubt the states are all combinations of kept, lost and torn (as
 * many tears as fit the limit); with many they are: none, all, each alone, each missing, then
 * combinations drawn by seed. */
#ifndef EAGRE_HW_DISK_DISK_SIM_WALK_H
#define EAGRE_HW_DISK_DISK_SIM_WALK_H

#include "hw/disk/disk_sim.h"

struct disk_sim_walk;

/* The trace is copied, so the disk may go on or go away. Stands before the first event. seed: for
 * sampled states. */
struct disk_sim_walk *disk_sim_walk_create(struct disk *disk, uint64_t seed);
void disk_sim_walk_destroy(struct disk_sim_walk *walk);
/* Events already applied, [0, disk_sim_trace_count()]. */
uint64_t disk_sim_walk_position(const struct disk_sim_walk *walk);
/* Applies the next event; false at the end. */
bool disk_sim_walk_next(struct disk_sim_walk *walk);
/* How many states are offered here, [1, limit]; limit > 0. */
uint32_t disk_sim_walk_states(struct disk_sim_walk *walk, uint32_t limit);
/* True when disk_sim_walk_states() here offered every combination of lost and kept. */
bool disk_sim_walk_is_exhaustive(const struct disk_sim_walk *walk);
/* The state with that index (< the count given last): a durable disk of its own. */
struct disk *
disk_sim_walk_state(struct disk_sim_walk *walk, uint32_t idx, const struct disk_sim_config *config);

#endif
