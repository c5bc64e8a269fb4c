/* Goal: one journal, one disk and one ring for all tests of this folder. Method: see rig.h. */
#include "tests/unit/log/journal/rig.h"

#include "tests/unit/log/format/sample.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static bool
rig__submit(struct io *io, const struct io_request *request)
{
    struct rig *rig = (struct rig *)io;

    if (rig->request_count >= rig->room)
        return false;
    cr_assert_lt(rig->request_count, RIG_REQUESTS_MAX);
    cr_assert_eq(request->op, IO_WRITEV);
    cr_assert_eq(request->position % DISK_ALIGN_BYTES, 0);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < request->iovec_count; i++) {
        cr_assert_eq((uintptr_t)request->iovecs[i].iov_base % DISK_ALIGN_BYTES, 0);
        cr_assert_eq(request->iovecs[i].iov_len % DISK_ALIGN_BYTES, 0);
        sum += request->iovecs[i].iov_len;
    }
    cr_assert_eq(sum, request->bytes);
    rig->requests[rig->request_count++] = *request;
    return true;
}

static const struct io_ops rig_ops = {.submit = rig__submit};

static struct journal_config
rig_config(struct rig *rig)
{
    return (struct journal_config){
        .io = &rig->io,
        .disk = rig->disk,
        .tile_idx = 2,
        .tag = RIG_TAG,
        .file_bytes = RIG_FILE_BYTES,
        .entries_max = 100,
        .node_uuid = {9, 9},
    };
}

static void
rig_open(struct rig *rig, uint64_t next_group)
{
    struct journal_config config = rig_config(rig);
    struct diag_trail trail;

    diag_trail_clear(&trail);
    rig->epoch = journal_epoch_next(rig->epoch, 0xabcdef);
    rig->journal = journal_init(rig->memory, &config);
    cr_assert_eq(
        journal_open_files(rig->journal, rig->epoch, next_group, &trail), RC_OK, "%s", trail.text);
}

void
rig_init(struct rig *rig)
{
    struct disk_sim_config disk_config = {.seed = 1};

    memset(rig, 0, sizeof(*rig));
    rig->io.ops = &rig_ops;
    rig->room = RIG_REQUESTS_MAX;
    rig->now_ns = 1000;
    cr_assert_eq(disk_sim_create(&disk_config, &rig->disk), RC_OK);
    struct journal_config config = rig_config(rig);
    rig->memory = aligned_alloc(FORMAT_BLOCK_BYTES,
                                round_up(journal_footprint(&config), FORMAT_BLOCK_BYTES));
    rig->payload = aligned_alloc(FORMAT_BLOCK_BYTES, RIG_PAYLOAD_BYTES);
    rig->scan_buffer = aligned_alloc(FORMAT_BLOCK_BYTES, JOURNAL_SCAN_BYTES);
    memset(rig->payload, 0, RIG_PAYLOAD_BYTES);
    rig_open(rig, 1);
}

void
rig_fini(struct rig *rig)
{
    journal_fini(rig->journal);
    journal_fini(rig->journal);
    disk_fini(rig->disk);
    free(rig->memory);
    free(rig->payload);
    free(rig->scan_buffer);
}

void
rig_restart(struct rig *rig, uint64_t next_group)
{
    journal_fini(rig->journal);
    rig->request_count = 0;
    rig->payload_used = 0;
    rig_open(rig, next_group);
}

void
rig_add(struct rig *rig, uint64_t incarnation, uint32_t bytes)
{
    struct sample sample = {
        .base_offset = rig->next_offset++,
        .record_count = 1,
        .bytes = bytes,
        .fill = (uint8_t)(rig->next_offset * 37),
        .producer_id = -1,
    };
    struct journal_entry entry;
    /* Groups alternate between two halves: one may be under way while the other is filled. */
    uint8_t *base = rig->payload + (journal_open_group(rig->journal) & 1) * (RIG_PAYLOAD_BYTES / 2);

    if (rig->payload_used == 0)
        memset(base, 0, RIG_PAYLOAD_BYTES / 2);
    cr_assert_leq(rig->payload_used + bytes, RIG_PAYLOAD_BYTES / 2);
    sample_batch(base + rig->payload_used, &sample);
    journal_entry_data(
        &entry, incarnation, base + rig->payload_used, (uint32_t)rig->payload_used, 7);
    cr_assert(journal_entry_add(rig->journal, &entry));
    rig->payload_used += bytes;
}

enum journal_submit
rig_submit(struct rig *rig)
{
    uint8_t *base = rig->payload + (journal_open_group(rig->journal) & 1) * (RIG_PAYLOAD_BYTES / 2);
    enum journal_submit result = journal_submit(
        rig->journal, rig->payload_used > 0 ? base : NULL, rig->now_ns);

    if (result == JOURNAL_SUBMITTED)
        rig->payload_used = 0;
    return result;
}

static uint32_t
file_of_fd(const struct rig *rig, int fd)
{
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        if (journal_file(rig->journal, i)->fd == fd)
            return i;
    }
    cr_assert_fail("descriptor %d is not a journal file's", fd);
    return 0;
}

void
rig_poke(struct rig *rig, uint32_t file_idx, uint64_t position, const void *bytes, size_t count)
{
    char path[FORMAT_PATH_MAX];
    int fd;

    format_path_journal(path, 2, file_idx);
    cr_assert_eq(disk_open(rig->disk, path, DISK_READ | DISK_WRITE, &fd), RC_OK);
    cr_assert_eq(disk_write(rig->disk, fd, bytes, count, position), RC_OK);
    disk_close(rig->disk, fd);
}

void
rig_store(struct rig *rig, uint32_t idx, uint64_t bytes)
{
    const struct io_request *request = &rig->requests[idx];
    uint32_t file_idx = file_of_fd(rig, request->fd);
    uint64_t position = request->position;

    for (uint32_t i = 0; i < request->iovec_count && bytes > 0; i++) {
        size_t count = min_u64(bytes, request->iovecs[i].iov_len);
        rig_poke(rig, file_idx, position, request->iovecs[i].iov_base, count);
        position += count;
        bytes -= count;
    }
}

bool
rig_finish(struct rig *rig, uint32_t idx, int32_t result, struct journal_done *ret_done)
{
    cr_assert_lt(idx, rig->request_count);
    struct io_request request = rig->requests[idx];

    if (result == RIG_FULL)
        result = (int32_t)request.bytes;
    if (result > 0)
        rig_store(rig, idx, (uint64_t)result);
    for (uint32_t i = idx + 1; i < rig->request_count; i++)
        rig->requests[i - 1] = rig->requests[i];
    rig->request_count--;
    rig->now_ns += 100;
    return journal_complete(rig->journal, request.tag, result, rig->now_ns, ret_done);
}

uint64_t
rig_group(struct rig *rig, uint64_t incarnation, uint32_t bytes)
{
    struct journal_done done = {0};

    rig_add(rig, incarnation, bytes);
    cr_assert_eq(rig_submit(rig), JOURNAL_SUBMITTED);
    cr_assert(rig_finish(rig, 0, RIG_FULL, &done));
    return done.group;
}

void
rig_flip(struct rig *rig, uint32_t file_idx, uint64_t position)
{
    char path[FORMAT_PATH_MAX];

    format_path_journal(path, 2, file_idx);
    cr_assert(disk_sim_flip_bit(rig->disk, path, position, 3));
}

void
rig_zero(struct rig *rig, uint32_t file_idx, uint64_t position, uint64_t count)
{
    static const uint8_t zero[RIG_FILE_BYTES];

    rig_poke(rig, file_idx, position, zero, count);
}

struct rig_scan
rig_scan(struct rig *rig, uint64_t epoch, uint64_t replay_from)
{
    struct journal_scan_config config = {
        .disk = rig->disk,
        .tile_idx = 2,
        .epoch = epoch,
        .replay_from = replay_from,
        .buffer = rig->scan_buffer,
    };
    struct rig_scan result = {.end = JOURNAL_SCAN_ERROR};
    struct journal_scan scan;
    struct journal_scan_group group;

    diag_trail_clear(&result.trail);
    result.begin_rc = journal_scan_begin(&scan, &config, &result.trail);
    if (result.begin_rc != RC_OK)
        return result;
    for (;;) {
        result.end = journal_scan_next(&scan, &group);
        if (result.end != JOURNAL_SCAN_GROUP)
            break;
        result.first = result.groups == 0 ? group.header->number : result.first;
        cr_assert_eq(group.header->number, result.first + result.groups);
        result.last = group.header->number;
        result.bad += group.bad_count;
        result.groups++;
    }
    cr_assert_eq(journal_scan_next(&scan, &group), result.end); /* it stays ended */
    result.next_number = journal_scan_next_number(&scan);
    journal_scan_end(&scan);
    journal_scan_end(&scan);
    return result;
}
