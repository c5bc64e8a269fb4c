/* Goal: the journal works on a true file system through every real ring body, two groups in flight,
 * over several laps. Method: a directory of its own below /tmp, 300 groups with reclaim, then a
 * scan; the batches come back equal. */
#include "log/journal/journal.h"
#include "log/journal/journal_scan.h"
#include "tests/unit/log/format/sample.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES ((uint64_t)1024 * 1024)
#define HALF_BYTES ((uint64_t)128 * 1024)
#define GROUPS 300u

static void
fill_group(struct journal *journal, uint8_t *payload, uint64_t group)
{
    struct sample sample = {
        .base_offset = group,
        .record_count = 1,
        .bytes = (uint32_t)(61 + group * 7919 % 60000),
        .fill = (uint8_t)group,
    };
    struct journal_entry entry;

    memset(payload, 0, HALF_BYTES);
    sample_batch(payload, &sample);
    journal_entry_data(&entry, 7, payload, 0, 1);
    cr_assert(journal_entry_add(journal, &entry));
}

static void
complete_some(struct journal *journal, struct io *io)
{
    struct io_completion completions[8];
    struct journal_done done;

    io_wait(io, UINT64_MAX);
    uint32_t count = io_reap(io, completions, 8);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(journal_owns_tag(journal, completions[i].tag));
        (void)journal_complete(journal, completions[i].tag, completions[i].result, 2, &done);
    }
    journal_poll(journal);
    cr_assert_eq(journal_failure(journal), RC_OK);
}

/* Writes the groups; gives the first that is not released. */
static uint64_t
write_groups(struct journal *journal, struct io *io, uint8_t *payload)
{
    uint64_t replay_from = 1;

    for (uint64_t group = 1; group <= GROUPS; group++) {
        uint8_t *half = payload + (group & 1) * HALF_BYTES;
        while (journal_in_flight(journal) == JOURNAL_IN_FLIGHT_MAX)
            complete_some(journal, io);
        fill_group(journal, half, group);
        cr_assert_eq(journal_submit(journal, half, 1), JOURNAL_SUBMITTED);
        uint32_t due = journal_reclaim_due(journal);
        if (due == UINT32_MAX)
            continue;
        journal_release_begin(journal, due);
        replay_from = journal_file(journal, due)->last_group + 1;
        journal_release_file(journal, due);
    }
    while (journal_in_flight(journal) > 0)
        complete_some(journal, io);
    cr_assert_eq(journal_durable_through(journal), GROUPS);
    return replay_from;
}

static void
scan_groups(struct disk *disk, uint8_t *buffer, uint64_t replay_from)
{
    struct journal_scan_config config = {
        .disk = disk, .epoch = 1, .replay_from = replay_from, .buffer = buffer};
    struct journal_scan_group group;
    struct diag_trail trail;
    struct journal_scan scan;

    diag_trail_clear(&trail);
    cr_assert_eq(journal_scan_begin(&scan, &config, &trail), RC_OK, "%s", trail.text);
    for (uint64_t number = replay_from; number <= GROUPS; number++) {
        cr_assert_eq(journal_scan_next(&scan, &group), JOURNAL_SCAN_GROUP, "%s", trail.text);
        cr_assert_eq(group.entries[0].base_offset, number);
        cr_assert_eq(group.bad_count, 0);
    }
    cr_assert_eq(journal_scan_next(&scan, &group), JOURNAL_SCAN_END);
    journal_scan_end(&scan);
}

static void
run_on(enum io_body body)
{
    char root[] = "/tmp/eagre-journal-XXXXXX";
    char path[FORMAT_PATH_MAX + sizeof(root)];
    struct diag_trail trail;
    struct disk *disk;
    struct io *io;

    diag_trail_clear(&trail);
    cr_assert_not_null(mkdtemp(root));
    cr_assert_eq(disk_open_real(root, &disk, &trail), RC_OK, "%s", trail.text);
    if (io_create(body, &io, &trail) != RC_OK) {
        (void)fprintf(stderr, "skipped: ring body %d is not here: %s\n", (int)body, trail.text);
    } else {
        struct journal_config config = {.io = io,
                                        .disk = disk,
                                        .tag = io_tag(1, 16),
                                        .file_bytes = FILE_BYTES,
                                        .entries_max = 64};
        void *memory = aligned_alloc(4096, round_up(journal_footprint(&config), 4096));
        uint8_t *payload = aligned_alloc(4096, 2 * HALF_BYTES);
        uint8_t *buffer = aligned_alloc(4096, JOURNAL_SCAN_BYTES);
        struct journal *journal = journal_init(memory, &config);
        cr_assert_eq(journal_open_files(journal, 1, 1, &trail), RC_OK, "%s", trail.text);
        uint64_t replay_from = write_groups(journal, io, payload);
        cr_assert_gt(replay_from, GROUPS / 2);
        journal_fini(journal);
        scan_groups(disk, buffer, replay_from);
        io_destroy(io);
        free(memory);
        free(payload);
        free(buffer);
    }
    cr_assert_eq(journal_remove_files(disk, 0), RC_OK);
    disk_fini(disk);
    (void)snprintf(path, sizeof(path), "%s/lock", root);
    (void)remove(path);
    cr_assert_eq(remove(root), 0);
}

Test(journal_real, io_uring_carries_two_groups_in_flight, .timeout = 60)
{
    run_on(IO_BODY_URING);
}

Test(journal_real, threads_carry_two_groups_in_flight, .timeout = 60)
{
    run_on(IO_BODY_THREADS);
}
