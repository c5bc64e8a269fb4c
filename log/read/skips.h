/* What a reader of committed records must skip of the batches it was given: aborted transactions
 * that touch them, laid behind the batches in the requester's memory (request.h):
 *
 *   | batches | zeros to a multiple of 8 | u64 count | count x struct read_skip |
 *
 * While they are gathered they stand at the end of that memory, the last first. When they reach the
 * batches, the last batches are given up: the reader gets those with its next read. Private to
 * log/read. */
#ifndef EAGRE_LOG_READ_SKIPS_H
#define EAGRE_LOG_READ_SKIPS_H

#include "log/append/store.h"

/* As struct request_aborted. */
struct read_skip {
    int64_t producer_id;
    uint64_t first_offset;
};
#define READ_SKIPS_HEAD_BYTES 16u /* count, and zeros before it at most */

struct read_skips {
    uint8_t *dst;       /* [dst_bytes] */
    uint32_t dst_bytes; /* READ_SKIPS_HEAD_BYTES at least */
    uint32_t bytes;     /* of batches */
    uint32_t count;
    uint64_t from;  /* first offset given */
    uint64_t until; /* one past the last */
    bool is_full;   /* one batch and its entries do not fit */
};

/* Batches may fill so many bytes of the requester's memory. */
static ALWAYS_INLINE uint32_t
read__room(const struct log_read_request *request)
{
    if (!request->is_committed)
        return request->dst_bytes;
    return request->dst_bytes > READ_SKIPS_HEAD_BYTES ? request->dst_bytes - READ_SKIPS_HEAD_BYTES
                                                      : 0;
}
/* How far this reader may read. */
static ALWAYS_INLINE uint64_t
read__limit(const struct partition *partition, const struct log_read_request *request)
{
    return request->is_committed ? partition_last_stable(partition)
                                 : partition_high_watermark(partition);
}
/* bytes > 0 of batches stand in dst, the first at offset `from`. */
void skips_begin(struct read_skips *skips, const struct log_read_request *request, uint32_t bytes);
/* Takes an entry in when it touches what is given. */
void skips_add(struct read_skips *skips, const struct aborted_entry *entry);
/* Takes in what is in memory, from the newest marker down to `oldest`. */
void skips_add_kept(struct read_skips *skips,
                    const struct log *log,
                    const struct partition *partition,
                    uint64_t oldest);
/* Lays them down and corrects result->bytes; RC_NO_MEMORY and the bytes needed when is_full. */
void skips_end(struct read_skips *skips, struct log_read_result *result);

#endif
