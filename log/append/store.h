/* The inside of struct log: shared by log/append and by the folders above it (log/read,
 * log/recover, log/retain); no one else looks in here. One core owns all of it. The types stand in
 * store_log.h and what it includes, the functions here, by file.
 *
 * Life of a batch: log_append() copies it into the slab ring, adds a tail entry and a journal entry
 * -> group.c submits the open group -> its completion moves the partition's durable offset and
 * releases the ack -> flush.c gathers durable batches into runs and writes them to the active
 * segment -> the entry may be evicted from the ring -> reclaim.c syncs the segments, writes a
 * checkpoint and gives the journal file back.
 *
 * Orders that are never broken:
 *   A1 a batch is gathered only after its group is durable, or into a bulk write;
 *   A2 an entry is evicted only after its run was written and the journal names it;
 *   A3 a journal file is released only after a durable checkpoint;
 *   A4 a checkpoint names only positions synced before it;
 *   A6 the journal refers to a run only after it was synced, with all before it in its segment;
 *   A5 a segment is left (rolled) only with a footer on its way, and the next roll waits for the
 *      manifest that lists it. */
#ifndef EAGRE_LOG_APPEND_STORE_H
#define EAGRE_LOG_APPEND_STORE_H

#include "log/append/log_transaction.h"
#include "log/append/store_append.h"
#include "log/append/store_log.h"

/* ---- partition.c ---- */

/* The partition of a request, or NULL when slot and incarnation do not name one. */
static ALWAYS_INLINE struct partition *
partition_of(const struct log *log, uint32_t slot, uint64_t incarnation)
{
    if (UNLIKELY(slot >= log->partition_high))
        return NULL;
    struct partition *partition = &log->partitions[slot];
    return LIKELY(partition->incarnation == incarnation && incarnation != 0) ? partition : NULL;
}
static ALWAYS_INLINE uint32_t
partition_slot(const struct log *log, const struct partition *partition)
{
    return (uint32_t)(partition - log->partitions);
}
static ALWAYS_INLINE uint64_t
partition_high_watermark(const struct partition *partition)
{
    return partition->durability == LOG_DURABILITY_MEMORY ? partition->next_offset
                                                          : partition->durable_offset;
}
/* Records of transactions that are neither committed nor aborted begin here, or the high watermark:
 * readers of committed records and compaction go no further. */
static ALWAYS_INLINE uint64_t
partition_last_stable(const struct partition *partition)
{
    uint64_t stable = min_u64(partition_high_watermark(partition),
                              partition->transactions.first_offset);

    /* Retention may have taken the records of one that is still open. */
    return max_u64(stable, partition->start_offset);
}
/* Batch bytes below the high watermark since the partition was opened. */
static ALWAYS_INLINE uint64_t
partition_total_bytes(const struct partition *partition)
{
    return partition->durability == LOG_DURABILITY_MEMORY ? partition->end_bytes
                                                          : partition->durable_bytes;
}
/* RC_OK when it serves, else why not. */
enum rc partition_refusal(const struct partition *partition);
static ALWAYS_INLINE struct segment *
partition_active(const struct log *log, const struct partition *partition)
{
    return &log->segments.segments[partition->segments.newest];
}
/* A free slot made ready for an incarnation (start at offset 0, nothing on disk), or NULL when the
 * table is full. */
struct partition *partition_add(struct log *log, uint64_t incarnation);
/* The partition gets its active segment's record; false when the pool is empty. */
bool partition_begin_segment(struct log *log, struct partition *partition, uint64_t base_offset);
void partition_remove(struct log *log, struct partition *partition);
/* Fences one, telling why; armed requesters get a mark. */
void partition_fence(struct log *log, struct partition *partition, enum rc rc, const char *what);
/* Puts the partition into the queue of marks when someone waits for whatever changes. */
void partition_mark(struct log *log, struct partition *partition);
/* The same when only the high watermark has moved. */
void partition_mark_moved(struct log *log, struct partition *partition);
void partition_epoch_add(struct partition *partition, int32_t epoch, uint64_t start_offset);
uint32_t partition_poll_opens(struct log *log);
uint32_t partition_poll_drops(struct log *log);
void partition_wait_done(struct log *log, const struct log_wait *wait);
void partition_job_done(struct log *log, struct log_job *job);
void log_push_event(struct log *log, const struct log_event *event);

/* ---- group.c ---- */

/* Submits the open group if it is due (or in any case when forced and a place is free). False: it
 * could not be. */
bool group_submit(struct log *log, bool forced);
/* Takes what the journal has made durable. Returns groups ended. */
uint32_t group_finish(struct log *log);
/* Ends the open piece of the open group's payload, if one is begun. */
void group_close_piece(struct log *log);
/* Adds a control entry and what is due when it is durable. False: no room now. */
bool group_control(struct log *log, const struct journal_entry *entry, const struct log_wait *wait);
/* The journal has failed: every partition is fenced, waiting acks are answered. */
void group_fail(struct log *log);

/* ---- space.c ---- */

/* Is there segment space for all unflushed bytes and count more? RC_OK, RC_AGAIN (a job is under
 * way), RC_NO_SPACE. Starts jobs ahead of need and rolls. */
enum rc space_reserve(struct log *log, struct partition *partition, uint64_t count);
/* Leaves an active segment that is older than segment.ms although no append comes, so that it can
 * be deleted by age: one step at a time, to be called now and then. */
void space_leave_old(struct log *log, struct partition *partition);
/* Bytes of file that so many batch bytes take at most. */
static ALWAYS_INLINE uint64_t
space_worst(uint64_t batch_bytes)
{
    return batch_bytes + batch_bytes / 8 + 32 * KIB;
}
void space_job_done(struct log *log, struct log_job *job);

/* ---- flush.c ---- */

/* Puts the partition into the flush queue when it has enough, is forced or pinned. */
void flush_consider(struct log *log, struct partition *partition);
uint32_t flush_poll(struct log *log);
/* Builds the footer of a segment and starts writing it; false: no staging buffer. */
bool flush_footer(struct log *log, uint32_t segment, int fd);
void flush_complete(struct log *log, uint32_t flush_idx, int32_t result);
/* Gathers durable batches of the partition into a staging buffer. Returns the bytes to write (0:
 * nothing to gather). */
uint64_t flush_gather(struct log *log, struct partition *partition, uint32_t flush_idx);
/* The same for what is not durable yet, with bulk_max batches at most that the journal does not
 * have. */
uint64_t flush_gather_bulk(struct log *log,
                           struct partition *partition,
                           uint32_t flush_idx,
                           uint32_t bulk_max);
/* The write of a gathered buffer has ended well. */
void flush_written(struct log *log, uint32_t flush_idx);
/* May the partition's segment be written to? */
bool flush_is_allowed(const struct partition *partition);
/* An idle flush for a first batch of so many bytes, with a descriptor of the active segment and
 * room for it: rolls when that batch belongs to the next one. LOG_NONE: not now, or never
 * (fenced). */
uint32_t flush_prepare(struct log *log, struct partition *partition);
/* Gives back what flush_prepare() took. */
void flush_give_back(struct log *log, struct partition *partition);
/* Hands the request of a flush to the ring, or leaves it to flush_poll(). */
void flush_submit(struct log *log, uint32_t flush_idx);
/* Is the entry's batch still to be written to its segment? */
bool flush_pins(const struct log *log, const struct tail_entry *entry);
/* Moves log->unflushed over what is flushed; returns the ring bytes from the first unflushed entry
 * to the head. */
uint64_t flush_span(struct log *log);
/* Frees ring space and tail entries until count more bytes fit; false: what is there is not flushed
 * yet. */
bool flush_evict(struct log *log, uint64_t count);

/* ---- bulk.c ---- */

void bulk_init(struct log *log, uint32_t entries_max);
/* Does a batch of so many bytes bypass the journal? */
bool bulk_is_due(const struct log *log, const struct partition *partition, uint64_t bytes);
/* Room in the ring for it; false: later. */
bool bulk_make_room(struct log *log, uint32_t bytes);
/* A batch that was just numbered waits for its run. ack: as it will be. */
void bulk_add(struct log *log, struct partition *partition, const struct log_ack *ack);
/* Puts the partition into the queue of bulk writes when it has something to write. */
void bulk_consider(struct log *log, struct partition *partition);
uint32_t bulk_poll(struct log *log);
void bulk_sync_done(struct log *log, uint32_t slot, int32_t result);
/* The MARK of a bulk write is durable. */
void bulk_durable(struct log *log, struct partition *partition, const struct log_wait *wait);
/* What the journal does not name yet never will be: its acks say why. */
void bulk_abandon(struct log *log, struct partition *partition, enum rc rc);

/* ---- seal.c ---- */

/* Leaves the active segment for the next one; false: something has to end first. */
bool seal_roll(struct log *log, struct partition *partition);
void seal_footer_written(struct log *log, uint32_t flush_idx);
void seal_failed(struct log *log, struct partition *partition);
/* The manifest that lists the segment is durable. */
void seal_listed(struct log *log, struct segment *segment);
void seal_job_done(struct log *log, struct log_job *job);
uint32_t seal_poll(struct log *log);
/* Starts writing the manifest of the partition's sealed segments. False: no buffer or job now. */
bool seal_write_manifest(struct log *log, struct partition *partition, enum job_purpose purpose);

/* ---- files.c ---- */

enum files_result { FILES_READY, FILES_WAIT, FILES_FAILED };
void files_init(struct log *log);
/* Borrows the descriptor of a segment's file: *ret_fd stays open until files_release(). WAIT: it is
 * being opened, or every handle is in use; FAILED: segment->failed tells. */
enum files_result files_acquire(struct log *log, uint32_t segment, bool writable, int *ret_fd);
void files_release(struct log *log, uint32_t segment);
/* Takes a descriptor that was just made; the handle, or LOG_NONE when none is free: then it is
 * being closed again, and the segment's file is opened when it is needed. */
uint32_t files_adopt(struct log *log, int fd, uint32_t segment);
/* Gives a handle (one user) to a segment. */
void files_assign(struct log *log, uint32_t file, uint32_t segment);
/* Closes a handle (one user) that got no segment; false: no job now. */
bool files_discard(struct log *log, uint32_t file);
/* Closes the file of a segment that is not needed any more; users must be 0. */
bool files_close(struct log *log, uint32_t segment);
/* Start only: closes the longest unused file at once. */
void files_close_oldest_now(struct log *log);
/* A handle that a new file may be adopted into; evicts the longest unused. */
bool files_have_room(struct log *log);
void files_job_done(struct log *log, struct log_job *job);

/* ---- jobs.c ---- */

void jobs_init(struct log *log);
/* A job to be filled and sent; NULL: all are in use. */
struct log_job *jobs_take(struct log *log, enum job_purpose purpose, uint32_t slot, uint32_t aux);
void jobs_send(struct log *log, struct log_job *job);
uint32_t jobs_poll(struct log *log);

/* ---- reclaim.c ---- */

uint32_t reclaim_poll(struct log *log);
void reclaim_sync_done(struct log *log, uint32_t slot, int32_t result);
void reclaim_job_done(struct log *log, struct log_job *job);
/* The mark of the active segment as it is written now. */
struct partition_mark partition_mark_now(const struct log *log, const struct partition *partition);
/* A header for the next checkpoint of this tile; the generation moves. */
struct checkpoint_header reclaim_header(struct log *log);
/* Encodes one partition or producer as a checkpoint holds it. */
void reclaim_encode_partition(struct checkpoint_encoder *encoder,
                              const struct partition *partition);
void reclaim_encode_producer(struct checkpoint_encoder *encoder,
                             const struct log *log,
                             const struct producer *producer);
/* Encodes what of a partition was aborted; after all producers. */
void reclaim_encode_aborted(struct checkpoint_encoder *encoder,
                            const struct log *log,
                            const struct partition *partition);

#endif
