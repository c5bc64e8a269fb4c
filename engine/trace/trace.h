/* Stamps of a record's way through the engine: which stage, when, for which batch.
 *
 * One struct trace per core, written by that core only; a tile holds a pointer to its core's, or
 * NULL (then a stamp costs one test). Every 2^sample_shift-th stamp of a stage is kept in a ring of
 * TRACE_STAMPS. Readers (the admin page, tests) copy while the core may write: a stamp that is
 * overwritten while it is copied is dropped by its number.
 *
 *   trace_stamp(config->trace, TRACE_APPEND, now_ns, base_offset);
 */
#ifndef EAGRE_ENGINE_TRACE_TRACE_H
#define EAGRE_ENGINE_TRACE_TRACE_H

#include "engine/base/base.h"

#include <stdatomic.h>

#define TRACE_STAMPS 1024u
_Static_assert((TRACE_STAMPS & (TRACE_STAMPS - 1)) == 0, "slots are found by a mask");

#define TRACE(name, folder, sentence) TRACE_##name,
enum trace_stage {
#include "engine/trace/trace_stage.def"
    TRACE_STAGE_COUNT
};
#undef TRACE

struct trace_stamp {
    uint64_t number; /* 1, 2, ... over all stages of this core */
    uint64_t at_ns;  /* monotonic; comparable between cores of one machine */
    uint64_t id;     /* the stage's own: an offset or a request's ctx */
    uint32_t stage;  /* enum trace_stage */
    uint32_t zero;
};

struct trace {
    uint32_t sample_mask; /* 2^sample_shift - 1 */
    uint32_t seen[TRACE_STAGE_COUNT];
    _Atomic uint64_t written;
    struct trace_stamp stamps[TRACE_STAMPS];
};

/* sample_shift in [0, 31]: 0 keeps every stamp. */
void trace_init(struct trace *trace, uint32_t sample_shift);

void trace_keep(struct trace *trace, enum trace_stage stage, uint64_t now_ns, uint64_t id);

/* Budget: 1 ns when trace is NULL, about 5 ns when a stamp is kept.
 * Runs on: the owning core.  Allocates: nothing.  Blocks: never. */
static ALWAYS_INLINE void
trace_stamp(struct trace *trace, enum trace_stage stage, uint64_t now_ns, uint64_t id)
{
    if (UNLIKELY(trace != NULL))
        trace_keep(trace, stage, now_ns, id);
}

/* Copies the newest stamps, oldest first, up to count; returns how many. Any thread. */
uint32_t trace_read(const struct trace *trace, struct trace_stamp *stamps, uint32_t count);

const char *trace_stage_name(enum trace_stage stage);   /* "HAND_OVER"; static storage */
const char *trace_stage_folder(enum trace_stage stage); /* "net/gate" */

#endif
