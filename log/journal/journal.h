/* The journal of one log tile: group commit into four recycled files.
 *
 * The owner (log/append) adds an entry per batch or event to the open table while it copies batches
 * into its slab ring, and submits table and payload as one aligned O_DIRECT|O_DSYNC write when a
 * group is due. A group is durable when its write and those of all groups before it have completed;
 * acknowledgements follow journal_durable_through().
 *
 *   boot:  journal_init() -> [recovery, checkpoint naming the new epoch] -> journal_open_files()
 *   poll:  journal_entry()* -> journal_submit() ... journal_complete() -> journal_durable_through()
 *   space: journal_reclaim_due() -> journal_release_begin() -> (owner syncs segments, writes a
 * checkpoint) -> journal_release_file()
 *
 *   file:  FREE --first group--> ACTIVE --no room for the next--> FULL --release_begin--> RELEASING
 * --release_file--> FREE
 *
 * A failed write (any error, or no progress) fails the journal for ever: nothing is retried,
 * durable_through stays. A short write is continued from the last whole block it reached. Limits:
 * JOURNAL_IN_FLIGHT_MAX groups under way; JOURNAL_ENTRIES_MAX entries, JOURNAL_PAYLOAD_BYTES_MAX
 * bytes per group.
 *
 * Runs on: the log tile's core. Allocates: nothing after init. Blocks: only journal_open_files()
 * and the scan (start). */
#ifndef EAGRE_LOG_JOURNAL_JOURNAL_H
#define EAGRE_LOG_JOURNAL_JOURNAL_H

#include "engine/base/diag.h"
#include "hw/disk/disk.h"
#include "hw/io/io.h"
#include "log/format/journal_format.h"

#define JOURNAL_IN_FLIGHT_MAX 2u
#define JOURNAL_TABLE_COUNT (JOURNAL_IN_FLIGHT_MAX + 1)
#define JOURNAL_TAG_COUNT JOURNAL_TABLE_COUNT
#define JOURNAL_PIECES_MAX 60u /* of a group's payload: one write takes them and the table */
/* Smallest file that can hold its header and the greatest group. */
#define JOURNAL_FILE_BYTES_MIN                                                              \
    round_up(JOURNAL_FIRST_POSITION + JOURNAL_HEADER_BYTES_MAX + JOURNAL_PAYLOAD_BYTES_MAX, \
             FORMAT_BLOCK_BYTES)

struct journal_config {
    struct io *io;
    struct disk *disk; /* used by journal_open_files() and journal_fini() only */
    uint32_t tile_idx; /* [0, 65535]; names the files */
    uint64_t tag;      /* completions of this journal carry tag + [0, JOURNAL_TAG_COUNT); made with
                          io_tag() */
    uint64_t file_bytes;  /* multiple of 4096; a payload larger than file_bytes - 4096 - table is
                             refused (JOURNAL_TOO_LARGE) */
    uint32_t entries_max; /* per group, [1, JOURNAL_ENTRIES_MAX] */
    uint8_t node_uuid[FORMAT_UUID_BYTES];
};

enum journal_file_state {
    JOURNAL_FILE_FREE,      /* nothing in it is needed: may be written from the start */
    JOURNAL_FILE_ACTIVE,    /* groups are being appended; at most one */
    JOURNAL_FILE_FULL,      /* holds groups that recovery needs */
    JOURNAL_FILE_RELEASING, /* as FULL, the owner is making it unneeded */
};

struct journal_file {
    int fd; /* -1: not open */
    enum journal_file_state state;
    uint32_t sequence;    /* of the present use */
    uint64_t first_group; /* of the present use; 0: none */
    uint64_t last_group;
    uint64_t position; /* end of the last group */
};

struct journal; /* see journal_inner.h (only log/journal and its tests) */

/* Bytes of memory for journal_init(), which must be 4 KiB aligned. */
uint64_t journal_footprint(const struct journal_config *config);
struct journal *journal_init(void *memory, const struct journal_config *config);
/* Closes the files. Groups in flight must have completed or the ring must be gone. Twice is fine;
 * NULL is fine. */
void journal_fini(struct journal *journal);

/* Makes the four files where they are missing or of another size (written whole with zeros, synced,
 * renamed into place, directory synced) and opens them O_DIRECT|O_DSYNC. Only after recovery:
 * whatever was in them is given up. epoch: from journal_epoch_next(), already durable in a
 * checkpoint. next_group: >= 1, above every group ever replayed. Runs on: start. Blocks: yes. */
enum rc journal_open_files(struct journal *journal,
                           uint64_t epoch,
                           uint64_t next_group,
                           struct diag_trail *trail) MUST_USE;

/* ---- filling the open group ---- */

/* Room for another entry in the open group; false also when the journal has failed or no table is
 * free. */
bool journal_can_add(const struct journal *journal);
/* Room for count more of them. */
bool journal_can_add_many(const struct journal *journal, uint32_t count);
/* Adds a copy. False: full (submit first). DATA entries: payload_position must be
 * journal_open_payload_bytes(), or that rounded up to a block where a new piece of the payload
 * begins. */
bool journal_entry_add(struct journal *journal, const struct journal_entry *entry) MUST_USE;
uint32_t journal_open_entry_count(const struct journal *journal);
/* End of the last DATA entry in the payload: sum of their lengths and of the zeros between pieces.
 */
uint32_t journal_open_payload_bytes(const struct journal *journal);
/* Number that the open group will carry. */
uint64_t journal_open_group(const struct journal *journal);

enum journal_submit {
    JOURNAL_SUBMITTED, /* payload is borrowed until the group has completed */
    JOURNAL_EMPTY,     /* no entries */
    JOURNAL_BUSY, /* JOURNAL_IN_FLIGHT_MAX groups under way, or the ring is full: try again later */
    JOURNAL_NO_FILE,   /* the active file is full and the next one is not released: reclaim first */
    JOURNAL_TOO_LARGE, /* can never fit a file: the caller should have refused the batch */
    JOURNAL_FAILED,    /* for ever */
};
/* Sends the open group. payload: 4 KiB aligned, journal_open_payload_bytes() bytes and zeros up to
 * a multiple of 4096; NULL when there are none. */
enum journal_submit
journal_submit(struct journal *journal, const uint8_t *payload, uint64_t now_ns) MUST_USE;
/* The same for a payload in pieces: each 4 KiB aligned and a multiple of 4096 bytes long, with
 * zeros behind its last batch; together the padded payload. pieces: [count], copied; what they
 * point to is borrowed. count: [0, JOURNAL_PIECES_MAX]. */
enum journal_submit journal_submit_pieces(struct journal *journal,
                                          const struct iovec *pieces,
                                          uint32_t count,
                                          uint64_t now_ns) MUST_USE;

/* ---- completion ---- */

struct journal_done {
    uint64_t group;
    uint32_t entry_count;
    uint32_t payload_bytes;
    uint64_t written_bytes; /* header table and padded payload */
    uint64_t latency_ns;    /* submit to completion */
    uint32_t continued;     /* short writes on the way */
};
/* True when tag is one of this journal's. */
bool journal_owns_tag(const struct journal *journal, uint64_t tag);
/* Takes a completion. True: a group ended well, *ret_done tells which (journal_durable_through()
 * moves only over the contiguous prefix). False: continued after a short write, or failed
 * (journal_failure()). */
bool journal_complete(struct journal *journal,
                      uint64_t tag,
                      int32_t result,
                      uint64_t now_ns,
                      struct journal_done *ret_done);
/* Sends continuations that the ring had no room for; cheap when there are none. Call once per poll.
 */
void journal_poll(struct journal *journal);

/* Every group up to and with this number is on the device; next_group - 1 at the start. */
uint64_t journal_durable_through(const struct journal *journal);
/* Last group submitted. */
uint64_t journal_submitted_through(const struct journal *journal);
/* Groups submitted and not yet durable, [0, JOURNAL_IN_FLIGHT_MAX]: a completed group behind one
 * that is still under way counts, or the rule that tells a torn end from damage would not hold. */
uint32_t journal_in_flight(const struct journal *journal);
/* Writes whose completion has not come; their buffers are borrowed. Falls to 0 after a failure too.
 */
uint32_t journal_writes_under_way(const struct journal *journal);
/* RC_OK, or the reason why the journal failed for ever. */
enum rc journal_failure(const struct journal *journal);
uint64_t journal_epoch(const struct journal *journal);

/* ---- files and reclaim ---- */

const struct journal_file *journal_file(const struct journal *journal, uint32_t file_idx);
/* The file that holds a group, or UINT32_MAX when it was released (or not yet written). */
uint32_t journal_file_of_group(const struct journal *journal, uint64_t group);
/* Bytes used in ACTIVE, FULL and RELEASING files / of all four, in 1/1000. */
uint32_t journal_fill_permille(const struct journal *journal);
/* The oldest file if it should be released now: FULL, all its groups durable, none RELEASING, and
 * fill > 500 permille or the next file is not free. UINT32_MAX: nothing to do. */
uint32_t journal_reclaim_due(const struct journal *journal);
/* FULL -> RELEASING. The caller now makes every group <= last_group of the file unneeded: segments
 * synced, checkpoint durable with replay_from > last_group. */
void journal_release_begin(struct journal *journal, uint32_t file_idx);
/* RELEASING -> FREE, after that checkpoint is durable. */
void journal_release_file(struct journal *journal, uint32_t file_idx);

#endif
