/* Goal: one damaged place costs what the decision table says and no more: nothing acknowledged is
 * taken as never written, no other partition suffers, and no client can keep the node from
 * starting. Method: a whole log tile on a virtual disk, killed; one bit of a file flipped, or a
 * record that looks like a journal table, or a smaller configuration; then a start. */
#include "../append/store_rig.h"

#include "engine/base/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT_PATH "partitions/0000000000000064/00000000000000000000.seg"
#define FORGED_BATCH_BYTES (3u * 4096u + 61u)
#define FORGED_AT 4096u /* in the batch: on a block, when the batch is the first of its group */
#define BATCH_CRC_AT 17u
#define BATCH_CRC_FROM 21u

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};

static void
append_acknowledged(struct rig *rig, uint32_t partition, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        rig_append_wait(rig,
                        &(struct rig_append){.partition = partition, .bytes = bytes, .records = 1});
        cr_assert_eq(rig->last_ack.rc, RC_OK);
    }
}

/* Reads whole blocks of a file of the virtual disk. */
static void
read_file(struct rig *rig, const char *path, uint64_t position, uint8_t *dst, size_t bytes)
{
    int fd;
    size_t count;

    cr_assert_eq(disk_open(rig->disk, path, DISK_READ, &fd), RC_OK);
    cr_assert_eq(disk_read(rig->disk, fd, dst, bytes, position, &count), RC_OK);
    cr_assert_eq(count, bytes);
    disk_close(rig->disk, fd);
}

Test(recover, R5_a_lost_checkpoint_behind_a_clean_one_is_noticed, .timeout = 60)
{
    static struct rig rig;
    char path[32];

    rig_init(&rig, 5);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    append_acknowledged(&rig, 0, 20, 1000);
    rig_stop(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_reopen(&rig);
    append_acknowledged(&rig, 0, 20, 1000);
    cr_assert_eq(rig_partition(&rig, 0)->durable_offset, 40);
    uint64_t generation = rig.tiles[0].log->checkpoint_generation;
    rig_kill(&rig);
    (void)snprintf(path, sizeof path, "checkpoint-0-%u", (unsigned)(generation & 1));
    cr_assert(disk_sim_flip_bit(rig.disk, path, 200, 1));

    /* The older checkpoint says "clean" and knows 20 records; 20 more were acknowledged since. */
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.partitions_halted, 1);
    rig_reopen(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->state, PARTITION_HALTED);
    cr_assert_eq(rig_read(&rig, 0, 0, 1000).rc, RC_HALTED);
    rig_fini(&rig);
}

Test(recover, R10_what_came_before_the_damage_is_flushed, .timeout = 60)
{
    static struct rig rig;
    static _Alignas(4096) uint8_t run[3 * 4096];
    uint64_t position = 0;

    rig_init(&rig, 12);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 6; i++) {
        position = journal_file(rig.tiles[0].log->journal, 0)->position;
        append_acknowledged(&rig, 0, 1, 2000);
    }
    append_acknowledged(&rig, 1, 45, 30000);
    rig_kill(&rig);
    cr_assert(disk_sim_flip_bit(rig.disk, "journal-0-0", position + 4096 + 500, 0));

    /* The ring is smaller than what follows, so the entries of the halted partition are evicted. */
    rig.config.slab_ring_bytes = 1 * MIB;
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.partitions_halted, 1);
    rig_reopen(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->state, PARTITION_HALTED);
    cr_assert_eq(rig_partition(&rig, 0)->next_offset, 5);
    cr_assert_eq(partition_active(rig.tiles[0].log, rig_partition(&rig, 0))->next_offset, 5);
    read_file(&rig, SEGMENT_PATH, 0, run, sizeof run);
    for (uint32_t i = 0; i < 5; i++)
        rig_compare(&rig, &rig.partitions[0], i, run + 64 + i * 2000);
    rig_verify(&rig, 1);
    rig_fini(&rig);
}

Test(recover, R17_a_directory_that_a_corrupt_journal_may_have_named_stays, .timeout = 60)
{
    static struct rig rig;
    static _Alignas(4096) uint8_t before[4096];
    static _Alignas(4096) uint8_t after[4096];

    rig_init(&rig, 10);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    append_acknowledged(&rig, 0, 20, 20000);
    rig_settle(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->flushed_offset, 20);
    rig_kill(&rig);
    read_file(&rig, SEGMENT_PATH, 0, before, sizeof before);
    /* The table of the first group: it holds the OPEN, which stands nowhere else. */
    cr_assert(disk_sim_flip_bit(rig.disk, "journal-0-0", 4096 + 70, 0));

    for (uint32_t i = 0; i < 2; i++) { /* the first refusal changes nothing for the second */
        cr_assert_eq(rig_open(&rig), RC_CORRUPT);
        cr_assert_not_null(strstr(rig.trail.text, "0000000000000064"), "%s", rig.trail.text);
        cr_assert_eq(rig.report.directories_removed, 0);
        rig_kill(&rig);
        read_file(&rig, SEGMENT_PATH, 0, after, sizeof after);
        cr_assert_eq(memcmp(before, after, sizeof before), 0);
    }
    rig_fini(&rig);
}

/* A batch as a producer may send it; its value holds a block that passes for a group's table of
 * the next version, but for the epoch, which no client knows. */
static void
make_forged_batch(uint8_t *batch)
{
    struct rig_batch what = {.bytes = FORGED_BATCH_BYTES,
                             .records = 1,
                             .seed = 3,
                             .producer_id = -1,
                             .timestamp_ms = 1000};
    struct journal_group_header header = {.magic = JOURNAL_GROUP_MAGIC,
                                          .version = 2,
                                          .number = 1,
                                          .header_bytes = 4096,
                                          .entry_count = 1};
    uint8_t *forged = batch + FORGED_AT;

    rig_make_batch(batch, &what);
    memset(forged, 0, 4096);
    memcpy(forged, &header, sizeof header);
    uint32_t crc = hash_crc32c(0, forged, 60);
    crc = hash_crc32c(crc, forged + 64, 4096 - 64);
    memcpy(forged + 60, &crc, sizeof crc);
    crc = hash_crc32c(0, batch + BATCH_CRC_FROM, FORGED_BATCH_BYTES - BATCH_CRC_FROM);
    for (uint32_t i = 0; i < 4; i++)
        batch[BATCH_CRC_AT + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static void
append_forged(struct rig *rig)
{
    static uint8_t batch[FORGED_BATCH_BYTES];
    struct log_ack ack;
    struct log_append_request request = {.slot = rig->partitions[0].slot,
                                         .incarnation = rig->partitions[0].incarnation,
                                         .batch = batch,
                                         .batch_bytes = sizeof batch,
                                         .wall_ms = rig->tiles[0].log->wall_ms};

    make_forged_batch(batch);
    cr_assert_eq(log_append(rig->tiles[0].log, &request, &ack), LOG_APPEND_TAKEN);
    rig_settle(rig);
}

/* True when the forged table stands on a block of journal file 0 at or behind position. */
static bool
forged_stands_behind(struct rig *rig, uint64_t position)
{
    static _Alignas(4096) uint8_t block[4096];
    static const struct {
        uint32_t magic;
        uint16_t version;
    } sought = {.magic = JOURNAL_GROUP_MAGIC, .version = 2};

    for (; position < rig->config.journal_file_bytes; position += sizeof block) {
        read_file(rig, "journal-0-0", position, block, sizeof block);
        if (memcmp(block, &sought, 6) == 0)
            return true;
    }
    return false;
}

Test(recover, a_record_that_looks_like_a_newer_table_does_not_refuse_a_start, .timeout = 60)
{
    static struct rig rig;
    const struct rig_append append = {.partition = 0, .bytes = 3000, .records = 1};

    rig_init(&rig, 9);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    append_acknowledged(&rig, 0, 40, 3000);
    append_forged(&rig);

    /* The journal goes round once; then the batch is stale behind the newest group. */
    const struct journal_file *file = journal_file(rig.tiles[0].log->journal, 0);
    for (uint32_t i = 0; file->state != JOURNAL_FILE_ACTIVE || file->sequence < 4; i++) {
        cr_assert_lt(i, 20000);
        cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_TAKEN);
        if (i % 8 == 0)
            rig_settle(&rig);
    }
    rig_settle(&rig);
    uint64_t position = file->position;
    uint64_t next_offset = rig_partition(&rig, 0)->durable_offset;
    rig_kill(&rig);
    cr_assert(forged_stands_behind(&rig, position), "the test aims at nothing");

    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.partitions_halted, 0);
    rig_reopen(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->next_offset, next_offset);
    rig_fini(&rig);
}

Test(recover, a_batch_too_long_for_the_ring_refuses_the_start_by_name, .timeout = 60)
{
    static struct rig rig;

    rig_init(&rig, 7);
    rig.config.slab_ring_bytes = 16 * MIB;
    rig.config.journal_file_bytes = 4 * MIB;
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &(struct log_partition_config){.batch_bytes_max = 8 * MIB});
    append_acknowledged(&rig, 0, 1, 2500000);
    rig_kill(&rig);

    rig.config.slab_ring_bytes = 2 * MIB;
    cr_assert_eq(rig_open(&rig), RC_LIMIT);
    cr_assert_not_null(strstr(rig.trail.text, "2500000"), "%s", rig.trail.text);
    rig_kill(&rig);
    /* The refused start has changed nothing: with the old ring the batch is there. */
    rig.config.slab_ring_bytes = 16 * MIB;
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->next_offset, 1);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

/* Bulk batches, acknowledged; the process is gone. Returns where the last run begins. */
static uint64_t
leave_bulk(struct rig *rig, uint64_t seed)
{
    rig_init(rig, seed);
    rig->config.bulk_bytes = 64 * KIB;
    cr_assert_eq(rig_open(rig), RC_OK);
    rig_create(rig, &plain);
    append_acknowledged(rig, 0, 3, 1000);
    append_acknowledged(rig, 0, 5, 70000);
    uint64_t end = rig_partition(rig, 0)->synced.position;
    rig_kill(rig);
    return end - 18 * 4096; /* 70,000 bytes and a header */
}

Test(recover, R19_a_mark_counts_as_a_checkpoint, .timeout = 60)
{
    static struct rig rig;
    static _Alignas(4096) uint8_t before[64 * 4096];
    static _Alignas(4096) uint8_t after[64 * 4096];

    (void)leave_bulk(&rig, 21);
    read_file(&rig, SEGMENT_PATH, 0, before, sizeof before);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
        cr_assert_eq(rig.report.batches_replayed, 0, "all stands in the segment");
        cr_assert_eq(rig.report.batches_referred, i == 0 ? 5 : 0);
        rig_reopen(&rig);
        rig_verify(&rig, 0);
        rig_kill(&rig);
        read_file(&rig, SEGMENT_PATH, 0, after, sizeof after);
        cr_assert_eq(memcmp(before, after, sizeof before), 0, "nothing was written over it");
    }
    rig_fini(&rig);
}

Test(recover, R20_a_damaged_run_before_a_mark_halts, .timeout = 60)
{
    static const uint64_t places[] = {8, 64 + 4, 64 + 100, 64 + 69999};

    for (uint32_t i = 0; i < ARRAY_COUNT(places); i++) {
        static struct rig rig;
        uint64_t run = leave_bulk(&rig, 22 + i);

        cr_assert(disk_sim_flip_bit(rig.disk, SEGMENT_PATH, run + places[i], 3));
        cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
        cr_assert_eq(rig.report.partitions_halted, 1, "place %u", i);
        cr_assert_not_null(strstr(rig.trail.text, "run before a mark"), "%s", rig.trail.text);
        rig_fini(&rig);
    }
}

Test(recover, R7_a_segment_shorter_than_its_mark_halts, .timeout = 60)
{
    static struct rig rig;
    int fd;

    uint64_t run = leave_bulk(&rig, 30);
    cr_assert_eq(disk_open(rig.disk, SEGMENT_PATH, DISK_WRITE, &fd), RC_OK);
    cr_assert_eq(disk_truncate(rig.disk, fd, run + 4096), RC_OK);
    disk_close(rig.disk, fd);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.partitions_halted, 1);
    rig_fini(&rig);
}
