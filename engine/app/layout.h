/* From settings to a layout: which threads, which tiles, how much memory. */
#ifndef EAGRE_ENGINE_APP_LAYOUT_H
#define EAGRE_ENGINE_APP_LAYOUT_H

#include "engine/app/engine.h"
#include "hw/cpu/cpu.h"

/* The budget in bytes: --memory, else a quarter of the RAM and at most 1 GiB, never below
 * ENGINE_MEMORY_MIN. */
uint64_t layout_memory_bytes(const struct settings *settings);

/* What a smaller budget than half a GiB cannot pay: the preset of partitions_max, which is the
 * length of many tables, shrinks with it. A value of the user's own stays. memory_bytes: at least
 * ENGINE_MEMORY_MIN. */
void layout_afford(struct settings *settings, uint64_t memory_bytes);
/* Reads the machine and --cores. RC_INVALID (reason in trail) for a plan that this build cannot
 * run. */
enum rc layout_from_settings(const struct settings *settings,
                             struct engine_layout *ret_layout,
                             struct diag_trail *trail) MUST_USE;

/* The layout of a plan; the simulator gives its own plans. */
enum rc layout_from_plan(const struct cpu_plan *plan,
                         bool poll_always,
                         struct engine_layout *ret_layout,
                         struct diag_trail *trail) MUST_USE;

/* Takes the net tiles out, and threads that had nothing else: the native door is off. */
void layout_drop_net(struct engine_layout *layout);

#endif
