/* What the gate does to one batch: header checks and CRC, at several batch sizes, beside a memcpy
 * of the same bytes. */
#include "engine/record/record_batch.h"
#include "engine/record/record_builder.h"
#include "perf/micro/micro.h"

#include <stdio.h>
#include <string.h>

static uint8_t batch[1 << 20];
static uint8_t copy[1 << 20];

static uint32_t
batch_build(uint32_t records)
{
    static const uint8_t value[100] = {1};
    struct record_builder builder;

    struct record record = {.timestamp_ms = 1700000000000, .value = {value, sizeof(value)}};
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    record_builder_begin(&builder, batch, sizeof(batch), &options);
    for (uint32_t i = 0; i < records; i++)
        if (!record_builder_add(&builder, &record))
            return 0;
    return record_builder_finish(&builder);
}

static double
batch_check_round(uint32_t bytes, uint32_t repeats, bool check)
{
    uint64_t begin = micro_now_ns();

    for (uint32_t i = 0; i < repeats; i++) {
        struct record_batch_info info;
        if (!check)
            memcpy(copy, batch, bytes);
        else if (record_batch_check(batch, bytes, &info) != RC_OK ||
                 !record_batch_crc_ok(batch, bytes))
            return -1;
        __asm__ __volatile__("" ::: "memory");
    }
    return (double)(micro_now_ns() - begin) / repeats;
}

void
micro_batch(void)
{
    static const uint32_t counts[] = {1, 100, 1000};
    char what[64];

    for (uint32_t i = 0; i < ARRAY_COUNT(counts); i++) {
        uint32_t bytes = batch_build(counts[i]);
        uint32_t repeats = (16u << 20) / bytes;
        double check[MICRO_ROUNDS];
        double limit[MICRO_ROUNDS];
        for (uint32_t round = 0; round < MICRO_ROUNDS; round++) {
            check[round] = batch_check_round(bytes, repeats, true);
            limit[round] = batch_check_round(bytes, repeats, false);
        }
        snprintf(what, sizeof(what), "check a batch of %u records (%u bytes)", counts[i], bytes);
        micro_row(what,
                  micro_median(check, MICRO_ROUNDS),
                  "ns/batch",
                  "memcpy, ns",
                  micro_median(limit, MICRO_ROUNDS));
    }
}
