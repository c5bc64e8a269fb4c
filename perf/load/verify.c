/* Stamps, and what consumers make of them: each record of a producer in a partition once and in
 * order. */
#include "perf/load/bench.h"

#include <stdio.h>
#include <stdlib.h>

#define STAMP_MAGIC 0xea6eu

/* Sizes are drawn from the sequence number, so that sender and templates agree without a word. */
uint32_t
bench_value_bytes(const struct workload *workload, uint32_t sequence)
{
    uint32_t span = workload->record_bytes_max - workload->record_bytes + 1;
    uint64_t mixed = (sequence + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

    if (workload->sizes == SIZE_FIXED)
        return workload->record_bytes;
    return workload->record_bytes + (uint32_t)((mixed >> 32) % span);
}

void
bench_value(uint8_t *to, uint32_t bytes, const struct bench_batch *batch, uint32_t idx)
{
    put_u64_le(to, batch->first_ns + idx * batch->step_ns);
    put_u32_le(to + 8, batch->first_sequence + idx);
    put_u16_le(to + 12, (uint16_t)batch->producer);
    put_u16_le(to + 14, STAMP_MAGIC);
    for (uint32_t i = BENCH_STAMP_BYTES; i < bytes; i++)
        to[i] = (uint8_t)('a' + i % 26);
}

uint32_t
bench_sequence(const uint8_t *value)
{
    return get_u32_le(value + 8);
}

void
bench_topic_name(const struct driver_config *config, uint32_t topic, char *name, size_t room)
{
    snprintf(name, room, "%s-%u", config->prefix, topic);
}

bool
verify_init(struct verify *verify, uint32_t producers, uint32_t partitions)
{
    *verify = (struct verify){.producers = producers, .partitions = partitions};
    verify->expected = calloc((size_t)producers * partitions + 1, sizeof(*verify->expected));
    return verify->expected != NULL;
}

uint64_t
verify_take(struct verify *verify, uint32_t partition, const uint8_t *value, uint32_t value_bytes)
{
    if (value_bytes < BENCH_STAMP_BYTES || get_u16_le(value + 14) != STAMP_MAGIC ||
        get_u16_le(value + 12) >= verify->producers || partition >= verify->partitions) {
        verify->foreign++;
        return 0;
    }
    uint32_t sequence = bench_sequence(value);
    uint32_t *expected =
        &verify->expected[(size_t)get_u16_le(value + 12) * verify->partitions + partition];
    if (sequence < *expected) {
        verify->duplicates++;
        return 0;
    }
    verify->lost += sequence - *expected;
    *expected = sequence + 1;
    verify->received++;
    return get_u64_le(value);
}

void
verify_end(struct verify *verify, const uint32_t *stored)
{
    for (size_t i = 0; i < (size_t)verify->producers * verify->partitions; i++)
        if (stored[i] > verify->expected[i])
            verify->lost += stored[i] - verify->expected[i];
}
