/* eagre-smoke: runs every case once. See perf/smoke/README.md. */
#include "engine/base/check.h"
#include "engine/record/record_builder.h"
#include "perf/smoke/smoke.h"

#include <stdio.h>
#include <valgrind/callgrind.h>

void
smoke_begin(void)
{
    CALLGRIND_ZERO_STATS;
}

void
smoke_end(const char *name, uint32_t units)
{
    CALLGRIND_DUMP_STATS_AT(name);
    printf("%s %u\n", name, units);
}

uint32_t
smoke_batch(uint8_t *memory, size_t capacity, uint32_t records)
{
    static const uint8_t value[SMOKE_RECORD_BYTES] = {1};
    const struct record_builder_options options = RECORD_BUILDER_PLAIN;
    const struct record record = {.timestamp_ms = 1700000000000, .value = {value, sizeof(value)}};
    struct record_builder builder;

    record_builder_begin(&builder, memory, capacity, &options);
    for (uint32_t i = 0; i < records; i++)
        CHECK(record_builder_add(&builder, &record));
    return record_builder_finish(&builder);
}

int
main(void)
{
    smoke_pure();
    smoke_session();
    smoke_log();
    return 0;
}
