/* Bounds of a struct log: sizes of its tables and buffers, and when work is due. */
#ifndef EAGRE_LOG_APPEND_STORE_LIMITS_H
#define EAGRE_LOG_APPEND_STORE_LIMITS_H

#include "engine/base/base.h"
#include "log/format/format.h"
#include "log/journal/journal.h"

#define LOG_GROUP_BYTES (1 * MIB) /* payload of a group, unless one batch is longer */
#define LOG_GROUP_SECOND_BYTES                                                           \
    (256 * KIB)                    /* a second group in flight only with so much waiting \
                                    */
#define LOG_FLUSH_BYTES (64 * KIB) /* a partition with so much durable and unflushed is flushed */
#define LOG_STAGING_BYTES (1 * MIB + 64 * KIB)
#define LOG_STAGING_COUNT 8u
#define LOG_STAGING_LARGE_BYTES \
    (BATCH_BYTES_MAX + 2u * FORMAT_BLOCK_BYTES) /* one more, for one long batch */
#define LOG_FLUSHES_MAX (LOG_STAGING_COUNT + 1)
#define LOG_FLUSHES_BESIDE_GROUP 2u /* segment writes under way while a group is pending */
#define LOG_BULKS_MAX 4u            /* bulk writes under way, of all partitions */
#define LOG_BULK_BATCHES_MAX 2048u  /* of one MARK: each is an entry of its group */
#define LOG_BULK_WRITE_FACTOR 4u /* beside a sync less than so many bulk_bytes wait for its end */
#define LOG_JOBS_MAX 256u
#define LOG_ACKS_MAX 16384u /* power of two, > JOURNAL_TABLE_COUNT * JOURNAL_ENTRIES_MAX */
#define LOG_WAITS_MAX 1024u /* power of two: control entries on their way */
#define LOG_GROUPS_MAX 4u
#define LOG_ALLOCATE_MIN_BYTES (128 * KIB)
#define LOG_ALLOCATE_MAX_BYTES (16 * MIB)
#define LOG_MANIFESTS_MAX 4u /* manifest buffers */
#define LOG_PARTITION_SEGMENTS_MAX 4096u
#define LOG_SEGMENT_ABORTED_ROLL 512u /* a segment with so many aborted transactions is left */
#define LOG_SYNC_EACH_MAX 16u         /* more dirty segments: one sync of the file system */
#define LOG_RETRY_NS NS_PER_S         /* after a job found no space */
#define LOG_COLD_BYTES (128 * KIB)
#define LOG_COLD_STATE_BYTES (64 * KIB) /* struct log_cold; log/read asserts that it fits */
#define LOG_COLD_READS_MAX 8u
#define LOG_CURSORS_MAX 256u
#define LOG_HINTS 4u
#define LOG_SEALS_MAX 32u /* partitions whose last segment is being sealed */
#define LOG_EXPIRE_NS                                                                   \
    (50 * NS_PER_MS)          /* between two looks for producers that are idle too long \
                               */
#define LOG_EXPIRE_COUNT 256u /* of each look */
#define LOG_RETAINS_MAX 32u   /* partitions whose oldest segment is being deleted */
#define LOG_DROPS_MAX 64u     /* partitions being deleted */
#define LOG_NONE UINT32_MAX

_Static_assert(LOG_ACKS_MAX > JOURNAL_TABLE_COUNT * JOURNAL_ENTRIES_MAX, "acks of all groups fit");

/* A directory that stands while a partition was fenced by a process that has ended (recovery: R18).
 */
#define LOG_FENCED_PATH "fenced"

#endif
