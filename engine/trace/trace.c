#include "engine/trace/trace.h"

#include "engine/base/check.h"

struct trace_row {
    const char *name;
    const char *folder;
};

#define TRACE(name, folder, sentence) {#name, folder},
static const struct trace_row trace_rows[] = {
#include "engine/trace/trace_stage.def"
};
#undef TRACE
_Static_assert(ARRAY_COUNT(trace_rows) == TRACE_STAGE_COUNT, "one row a stage");

void
trace_init(struct trace *trace, uint32_t sample_shift)
{
    CHECK(sample_shift < 32);
    *trace = (struct trace){.sample_mask = (1u << sample_shift) - 1};
}

void
trace_keep(struct trace *trace, enum trace_stage stage, uint64_t now_ns, uint64_t id)
{
    CHECK(stage < TRACE_STAGE_COUNT);
    if ((trace->seen[stage]++ & trace->sample_mask) != 0)
        return;
    uint64_t number = atomic_load_explicit(&trace->written,
                                           memory_order_relaxed); /* only we write it */
    trace->stamps[number & (TRACE_STAMPS - 1)] = (struct trace_stamp){
        .number = number + 1, .at_ns = now_ns, .id = id, .stage = (uint32_t)stage};
    /* Pairs with the acquire in trace_read(): the stamp is whole before it is counted. */
    atomic_store_explicit(&trace->written, number + 1, memory_order_release);
}

uint32_t
trace_read(const struct trace *trace, struct trace_stamp *stamps, uint32_t count)
{
    uint64_t written = atomic_load_explicit(&trace->written,
                                            memory_order_acquire); /* see trace_keep() */
    uint64_t there = min_u64(written, TRACE_STAMPS);
    uint64_t first = written - min_u64(there, count);
    uint32_t copied = 0;

    for (uint64_t number = first; number < written; number++) {
        struct trace_stamp stamp = trace->stamps[number & (TRACE_STAMPS - 1)];
        if (stamp.number == number + 1)
            stamps[copied++] = stamp;
    }
    return copied;
}

const char *
trace_stage_name(enum trace_stage stage)
{
    return stage < TRACE_STAGE_COUNT ? trace_rows[stage].name : "?";
}

const char *
trace_stage_folder(enum trace_stage stage)
{
    return stage < TRACE_STAGE_COUNT ? trace_rows[stage].folder : "?";
}
