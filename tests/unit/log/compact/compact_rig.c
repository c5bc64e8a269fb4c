/* Goal: one way to drive a compacted partition that all its tests share. Method: see
 * compact_rig.h. */
#include "compact_rig.h"

#include "engine/base/hash.h"
#include "engine/record/record_codec.h"
#include "engine/record/record_filter.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

void
crig_init(struct crig *crig, uint64_t seed, const struct log_partition_config *config)
{
    *crig = (struct crig){.value_bytes = 40};
    rig_init(&crig->rig, seed);
    crig->records = calloc(CRIG_RECORDS_MAX, sizeof(*crig->records));
    crig->config = (struct compactor_config){.memory_bytes = 4 * MIB, .seed = seed};
    if (config != NULL)
        crig_open(crig, config);
}

static void
crig_forget(struct crig *crig)
{
    free(crig->link);
    free(crig->memory);
    crig->link = NULL;
    crig->memory = NULL;
}

void
crig_fini(struct crig *crig)
{
    rig_fini(&crig->rig);
    crig_forget(crig);
    free(crig->records);
}

void
crig_open(struct crig *crig, const struct log_partition_config *config)
{
    struct rig *rig = &crig->rig;

    cr_assert_eq(rig_open(rig), RC_OK, "%s", rig->trail.text);
    if (config != NULL)
        rig_create(rig, config);
    else
        rig_reopen(rig);
    crig->link = compact_link_init(
        aligned_alloc(128, round_up(compact_link_footprint(), 128)), NULL, NULL);
    crig->config.clock = &rig->clock;
    crig->config.disk = rig->disk;
    crig->config.link_count = 1;
    crig->config.links[0] = crig->link;
    crig->memory = aligned_alloc(4096, compactor_footprint(&crig->config));
    crig->compactor = compactor_init(crig->memory, &crig->config);
    compact_attach(rig->tiles[0].log, crig->link);
}

void
crig_power_cut(struct crig *crig)
{
    rig_crash(&crig->rig);
    crig_forget(crig);
}

bool
crig_step(struct crig *crig)
{
    uint64_t now = clock_now_ns(&crig->rig.clock);
    struct tile_report report = compactor_tile_ops.poll(crig->compactor, now);

    return rig_step(&crig->rig) || report.work > 0;
}

void
crig_settle(struct crig *crig)
{
    uint32_t idle = 0;

    for (uint32_t i = 0; i < 2000000 && idle < 30; i++)
        idle = crig_step(crig) ? 0 : idle + 1;
    cr_assert_geq(idle, 30, "does not come to rest");
}

void
crig_pass_ms(struct crig *crig, uint64_t ms)
{
    clock_sim_advance(&crig->rig.clock, ms * NS_PER_MS);
    crig_settle(crig);
}

void
crig_compact(struct crig *crig)
{
    for (uint32_t i = 0; i < 12; i++)
        crig_pass_ms(crig, 1100);
}

struct partition *
crig_partition(struct crig *crig)
{
    return rig_partition(&crig->rig, 0);
}

/* ---- writing ---- */

static uint32_t
crig_text(char *text, char kind, uint32_t number)
{
    return (uint32_t)snprintf(text, 32, "%c%u", kind, number);
}

static uint32_t
crig_build(struct crig *crig, const struct crig_batch *batch, uint8_t *to)
{
    static uint8_t plain[BATCH_BYTES_MAX];
    static char value[70000];
    struct record_builder builder;
    struct record_builder_options options = RECORD_BUILDER_PLAIN;

    options.attributes = batch->attributes;
    if (batch->producer_id != 0) {
        options.producer_id = batch->producer_id;
        options.producer_epoch = 0;
        options.base_sequence = batch->sequence;
    }
    record_builder_begin(&builder, plain, sizeof(plain), &options);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct crig_record *what = &batch->records[i];
        struct record_header header = {.key = {(const uint8_t *)"h", 1},
                                       .value = {(const uint8_t *)"x", 1}};
        char key[32];
        uint32_t key_bytes = crig_text(key, 'k', what->key);
        memset(value, '.', crig->value_bytes + 32);
        crig_text(value, 'v', what->value);
        struct record record = {
            .timestamp_ms = clock_wall_ms(&crig->rig.clock) + i,
            .key = {(const uint8_t *)key, key_bytes},
            .value = {(const uint8_t *)value, 32 + crig->value_bytes},
            .headers = &header,
            .header_count = what->key % 3 == 0,
        };
        if (what->value == CRIG_TOMBSTONE)
            record.value = (struct bytes){0};
        cr_assert(record_builder_add(&builder, &record));
    }
    uint32_t bytes = record_builder_finish(&builder);
    if (crig->codec == RECORD_CODEC_NONE) {
        memcpy(to, plain, bytes);
        return bytes;
    }
    size_t packed = 0;
    cr_assert_eq(record_compress(crig->codec,
                                 (struct bytes){plain + 61, bytes - 61},
                                 to + 61,
                                 BATCH_BYTES_MAX - 61,
                                 &packed),
                 RC_OK);
    memcpy(to, plain, 61);
    put_u16_be(to + RECORD_BATCH_ATTRIBUTES, (uint16_t)(options.attributes | crig->codec));
    put_u32_be(to + RECORD_BATCH_LENGTH, (uint32_t)(packed + 61 - 12));
    put_u32_be(to + RECORD_BATCH_CRC, hash_crc32c(0, to + 21, packed + 61 - 21));
    return (uint32_t)packed + 61;
}

void
crig_append(struct crig *crig, const struct crig_batch *batch)
{
    struct rig *rig = &crig->rig;
    uint64_t acks = rig->acks;
    struct log_append_request request = {
        .slot = rig->partitions[0].slot,
        .incarnation = rig->partitions[0].incarnation,
        .batch = rig->batch,
        .batch_bytes = crig_build(crig, batch, rig->batch),
        .wall_ms = clock_wall_ms(&rig->clock),
    };
    enum log_append_status status = LOG_APPEND_AGAIN;

    for (uint32_t i = 0; i < 100000 && status == LOG_APPEND_AGAIN; i++) {
        status = log_append(rig_log(rig, 0), &request, &rig->last_ack);
        if (status == LOG_APPEND_AGAIN)
            (void)crig_step(crig);
    }
    cr_assert_eq(status, LOG_APPEND_TAKEN, "rc %u", rig->last_ack.rc);
    for (uint32_t i = 0; i < batch->count; i++)
        crig->records[crig->count + i] = batch->records[i];
    for (uint32_t i = 0; i < 100000 && rig->acks == acks; i++)
        (void)crig_step(crig);
    cr_assert_eq(rig->last_ack.base_offset, crig->count);
    crig->count += batch->count;
}

void
crig_fill(
    struct crig *crig, uint32_t count, uint32_t per_batch, uint32_t keys, uint32_t tombstone_ppm)
{
    struct crig_record records[64];

    for (uint32_t b = 0; b < count; b++) {
        for (uint32_t i = 0; i < per_batch; i++)
            records[i] = (struct crig_record){
                .key = (uint32_t)sim_rng_below(&crig->rig.rng, keys),
                .value = sim_rng_below(&crig->rig.rng, 1000000) < tombstone_ppm
                             ? CRIG_TOMBSTONE
                             : (uint32_t)(crig->count + i),
            };
        crig_append(crig, &(struct crig_batch){.count = per_batch, .records = records});
    }
    crig_settle(crig);
}

/* ---- reading ---- */

static void
crig_verify_record(struct crig *crig, const struct record_view *record)
{
    char expect[32];

    cr_assert_lt(record->offset, (int64_t)crig->count);
    struct crig_record *model = &crig->records[record->offset];
    uint32_t bytes = crig_text(expect, 'k', model->key);
    cr_assert_eq(record->key.count, bytes);
    cr_assert_eq(memcmp(record->key.at, expect, bytes), 0, "another key at its offset");
    if (model->value == CRIG_TOMBSTONE) {
        cr_assert_null(record->value.at);
        crig->tombstones++;
    } else {
        bytes = crig_text(expect, 'v', model->value);
        cr_assert_geq(record->value.count, bytes);
        cr_assert_eq(memcmp(record->value.at, expect, bytes), 0, "another value at its offset");
    }
    cr_assert_eq(record->header_count, model->key % 3 == 0);
    cr_assert_not(model->is_there, "twice");
    model->is_there = true;
    crig->found++;
}

static void
crig_verify_batch(struct crig *crig, const uint8_t *batch, const struct record_batch_info *info)
{
    static uint8_t memory[RECORD_FILTER_BUFFER_BYTES];
    struct record_iterator iterator;
    struct record_view record;
    struct bytes payload;
    int64_t greatest = -1;

    cr_assert(record_batch_crc_ok(batch, info->batch_bytes));
    cr_assert((uint64_t)info->base_offset < crig->clean ||
                  (info->attributes & RECORD_ATTRIBUTES_DELETE_HORIZON) == 0,
              "a horizon where no key was looked at");
    crig->batches++;
    crig->batches_empty += info->record_count == 0;
    crig->horizons += (info->attributes & RECORD_ATTRIBUTES_DELETE_HORIZON) != 0;
    if ((info->attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
        return;
    cr_assert_eq(record_payload(batch, info, memory, sizeof(memory), &payload), RC_OK);
    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record)) {
        cr_assert_geq(record.offset, info->base_offset);
        cr_assert_leq(record.offset, record_batch_last_offset(info));
        greatest = record.timestamp_ms > greatest ? record.timestamp_ms : greatest;
        crig_verify_record(crig, &record);
    }
    cr_assert_eq(iterator.rc, RC_OK);
    cr_assert_eq(greatest, info->max_timestamp_ms, "max timestamp of a batch");
}

static void
crig_read_all(struct crig *crig)
{
    struct partition *partition = crig_partition(crig);
    uint64_t offset = partition->start_offset;

    while (offset < partition->durable_offset) {
        struct log_read_result result = rig_read(&crig->rig, 0, offset, 1 * MIB);
        cr_assert_eq(result.rc, RC_OK, "%s at %lu", rc_name(result.rc), (unsigned long)offset);
        cr_assert_gt(result.bytes, 0, "nothing at %lu", (unsigned long)offset);
        for (uint32_t at = 0; at < result.bytes;) {
            struct record_batch_info info;
            const uint8_t *batch = crig->rig.dst + at;
            cr_assert_eq(record_batch_read(batch, result.bytes - at, &info), RC_OK);
            cr_assert_geq(record_batch_last_offset(&info), (int64_t)offset, "order");
            crig_verify_batch(crig, batch, &info);
            offset = (uint64_t)record_batch_last_offset(&info) + 1;
            at += info.batch_bytes;
            crig->bytes += info.batch_bytes;
        }
    }
}

void
crig_verify(struct crig *crig, uint64_t clean)
{
    static uint32_t newest_of[1 << 20]; /* offset + 1 by key */
    uint64_t count = crig->count;

    crig->found = crig->batches = crig->batches_empty = crig->tombstones = crig->horizons = 0;
    crig->bytes = 0;
    crig->clean = clean;
    for (uint64_t i = 0; i < count; i++)
        crig->records[i].is_there = false;
    crig_read_all(crig);
    memset(newest_of, 0, sizeof(newest_of));
    for (uint64_t i = count; i-- > 0;) {
        const struct crig_record *record = &crig->records[i];
        if (record->is_aborted || record->is_control || i < crig_partition(crig)->start_offset) {
            cr_assert_not(i < clean && record->is_aborted && record->is_there,
                          "aborted record %lu",
                          (unsigned long)i);
            continue;
        }
        uint32_t *newest = &newest_of[record->key];
        if (*newest == 0) {
            *newest = (uint32_t)i + 1;
            cr_assert(record->is_there || record->value == CRIG_TOMBSTONE,
                      "newest of key %u at %lu is gone",
                      record->key,
                      (unsigned long)i);
        } else if (i < clean && *newest - 1 < clean) {
            cr_assert_not(record->is_there,
                          "key %u at %lu has a newer one at %u",
                          record->key,
                          (unsigned long)i,
                          *newest - 1);
        } else if (i >= clean) {
            cr_assert(record->is_there, "record %lu is gone", (unsigned long)i);
        }
    }
}
