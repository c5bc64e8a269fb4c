/* A journal on a virtual disk with a ring whose completions the test gives out by hand, in any
 * order and of any length. */
#ifndef EAGRE_TESTS_UNIT_LOG_JOURNAL_RIG_H
#define EAGRE_TESTS_UNIT_LOG_JOURNAL_RIG_H

#include "hw/disk/disk_sim.h"
#include "log/journal/journal.h"
#include "log/journal/journal_scan.h"

#define RIG_TAG io_tag(3, 0x500)
#define RIG_FILE_BYTES ((uint64_t)256 * 1024)
#define RIG_REQUESTS_MAX 8u
#define RIG_FULL INT32_MIN /* rig_finish(): the whole request */

struct rig {
    struct io io; /* first: the journal's ring */
    struct disk *disk;
    struct journal *journal;
    void *memory;
    uint8_t *payload; /* [RIG_PAYLOAD_BYTES], 4 KiB aligned */
    uint8_t *scan_buffer;
    struct io_request requests[RIG_REQUESTS_MAX]; /* under way, oldest first */
    uint32_t request_count;
    uint32_t room; /* requests that io_submit() takes at most */
    uint64_t now_ns;
    uint64_t epoch;
    uint64_t payload_used; /* of the open group */
    uint64_t next_offset;
};
#define RIG_PAYLOAD_BYTES ((uint64_t)1024 * 1024)

/* A journal that is open on an empty disk, epoch ordinal 1, first group 1. */
void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);
/* Closes the journal and opens it again as a restart does: next epoch. Requests under way are
 * forgotten. */
void rig_restart(struct rig *rig, uint64_t next_group);

/* Adds one batch of so many bytes for an incarnation to the open group. */
void rig_add(struct rig *rig, uint64_t incarnation, uint32_t bytes);
enum journal_submit rig_submit(struct rig *rig);
/* Ends request idx: stores its first `result` bytes (RIG_FULL: all; negative: none) and tells the
 * journal. True as journal_complete(). */
bool rig_finish(struct rig *rig, uint32_t idx, int32_t result, struct journal_done *ret_done);
/* Ends request idx without telling anyone: what a crash leaves of it. */
void rig_store(struct rig *rig, uint32_t idx, uint64_t bytes);
/* One group with one batch, written and completed; gives its number. */
uint64_t rig_group(struct rig *rig, uint64_t incarnation, uint32_t bytes);

/* Reads or changes bytes of a journal file directly. */
void
rig_poke(struct rig *rig, uint32_t file_idx, uint64_t position, const void *bytes, size_t count);
void rig_flip(struct rig *rig, uint32_t file_idx, uint64_t position);
void rig_zero(struct rig *rig, uint32_t file_idx, uint64_t position, uint64_t count);

/* Scans from replay_from with an epoch; gives how many groups came, and how it ended. */
struct rig_scan {
    enum journal_scan_result end;
    enum rc begin_rc;
    uint64_t groups;
    uint64_t first;
    uint64_t last;
    uint32_t bad; /* sum of bad_count */
    uint64_t next_number;
    struct diag_trail trail;
};
struct rig_scan rig_scan(struct rig *rig, uint64_t epoch, uint64_t replay_from);

#endif
