/* struct log itself: every table and queue of a log tile. See store.h for what holds between them.
 */
#ifndef EAGRE_LOG_APPEND_STORE_LOG_H
#define EAGRE_LOG_APPEND_STORE_LOG_H

#include "log/append/producers.h"
#include "log/append/slab_ring.h"
#include "log/append/store_work.h"
#include "log/append/transaction.h"

struct log_cold;     /* log/read */
struct compact_link; /* log/compact */

struct log {
    struct log_config config;
    uint64_t now_ns;
    int64_t wall_ms;
    uint64_t retain_next_ns; /* log/retain: when it wants to look again */
    struct log_hooks hooks;
    uint64_t group_bytes;     /* payload of a group, unless one batch is longer */
    uint64_t batch_bytes_max; /* what journal files and ring can take at all */

    struct slab_ring ring;
    struct tail_table tail;
    uint64_t unflushed; /* every tail entry below is flushed (or of no one any more) */
    uint64_t pin_end;   /* tail entries below are to be flushed now */
    uint64_t pin_scan;

    struct journal *journal;
    struct log_group groups[LOG_GROUPS_MAX]; /* ring */
    uint32_t groups_first;
    uint32_t groups_count;
    struct iovec pieces[JOURNAL_PIECES_MAX]; /* closed pieces of the open group's payload */
    uint32_t piece_count;
    uint64_t durable_entry; /* tail entries below are durable, those of the bulk bypass apart */
    uint64_t file_tail_end[JOURNAL_FILE_COUNT]; /* tail entries below belong to this journal file or
                                                   older ones */
    bool is_journal_full;
    bool is_failed; /* the journal failed: all is fenced */
    bool is_stopping;
    bool is_serving;
    bool has_left_sign; /* LOG_FENCED_PATH is there or on its way */
    bool is_held;       /* the last append was held back; see log_count_pressure() */

    struct log_ack *acks; /* ring [LOG_ACKS_MAX]: [acks_taken, acks_released) may go out, the rest
                             waits for its group */
    uint64_t acks_taken;
    uint64_t acks_released;
    uint64_t acks_next;
    struct log_ack *now_acks; /* ring [LOG_ACKS_MAX]: of memory topics */
    uint64_t now_acks_taken;
    uint64_t now_acks_next;
    struct log_wait *waits; /* ring [LOG_WAITS_MAX] */
    uint64_t waits_first;
    uint64_t waits_next;
    struct log_event *events; /* ring [events_mask + 1] */
    uint64_t events_mask;
    uint64_t events_first;
    uint64_t events_next;

    struct partition *partitions; /* [partitions_max] */
    uint32_t *partition_buckets;  /* [bucket_mask + 1]: slot by incarnation, open addressing */
    uint32_t bucket_mask;
    uint32_t partition_count;
    uint32_t state_counts[PARTITION_STATE_COUNT]; /* partitions, by state */
    uint32_t partition_high;                      /* slots ever used */
    uint32_t mark_first;
    uint32_t mark_last;
    uint32_t flush_first;
    uint32_t flush_last;
    uint32_t flush_queued;
    uint32_t open_first;
    uint32_t open_last;
    uint32_t drops[LOG_DROPS_MAX]; /* slots in PARTITION_DROPPING */
    uint32_t drops_count;

    struct producers producers;
    uint64_t producers_expire_ns; /* when to look for those too old again */
    struct transactions transactions;
    struct segment_pool segments;
    struct index_entry *index_entries; /* [partitions_max][INDEX_ENTRIES_MAX] */

    struct log_flush flushes[LOG_FLUSHES_MAX];
    uint8_t *staging; /* LOG_STAGING_COUNT small ones, then the large one */
    uint32_t flushes_active;
    struct log_bulk *bulks; /* [LOG_ACKS_MAX] */
    uint32_t bulk_free;
    uint32_t bulk_batches;     /* not yet named by the journal, of all partitions */
    uint32_t bulk_entries_max; /* of one bulk write */
    uint32_t bulks_active;     /* writes under way */
    uint32_t bulk_queue_first; /* partitions with something to write */
    uint32_t bulk_queue_last;
    uint32_t bulk_queued;
    uint32_t seals[LOG_SEALS_MAX]; /* slots that are being sealed */
    uint32_t seals_count;
    bool hold_rolls;

    struct log_file *files; /* [open_files_max] */
    uint32_t file_count;
    uint32_t file_newest;
    uint32_t file_oldest;
    uint32_t file_free;

    struct log_job *jobs; /* [LOG_JOBS_MAX] */
    uint32_t job_free;
    uint32_t job_unsent; /* list: the ring to control was full */
    uint32_t jobs_under_way;
    bool is_populating;

    uint8_t *manifests; /* LOG_MANIFESTS_MAX buffers */
    uint64_t manifest_bytes;
    uint32_t manifests_free; /* bits */
    uint8_t *checkpoint;
    uint64_t checkpoint_bytes;
    uint64_t checkpoint_generation; /* of the last one written or begun */
    struct log_reclaim reclaim;

    uint32_t retains[LOG_RETAINS_MAX]; /* slots with a deletion under way */
    uint32_t retains_count;
    uint32_t retain_scan; /* slot to look at next */

    struct compact_link *compact; /* log/compact; NULL: nothing is compacted */
    uint64_t compact_next_ns;     /* when it wants to look again */

    struct log_cold *cold;
    uint8_t *cold_memory;
};

#endif
