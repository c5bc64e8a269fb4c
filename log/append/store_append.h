/* The way in: a batch between its checks and its offset, and what transactions have to say. Part of
 * the inside of struct log; see store.h. */
#ifndef EAGRE_LOG_APPEND_STORE_APPEND_H
#define EAGRE_LOG_APPEND_STORE_APPEND_H

#include "log/append/log_transaction.h"
#include "log/append/store_log.h"

/* ---- log.c ---- */

/* What log_append() works out before anything is changed. */
struct append_batch {
    struct producer_claim claim;
    uint32_t producer;
    uint32_t last_delta;
    int64_t max_timestamp_ms;
    bool is_idempotent;
    bool is_transactional;
    bool is_bulk;
};
/* The answer to a batch that is not taken. */
enum log_append_status append_refuse(struct log *log,
                                     const struct log_append_request *request,
                                     const struct partition *partition,
                                     enum rc rc,
                                     struct log_ack *ret_ack);
/* Appends a batch that was checked, when there is room. */
enum log_append_status append_offer(struct log *log,
                                    struct partition *partition,
                                    const struct log_append_request *request,
                                    struct append_batch *batch,
                                    struct log_ack *ret_ack);

/* Puts an ack behind all others: it goes out with the newest group that exists. */
void log_push_ack(struct log *log, const struct log_ack *ack);

/* A batch that stands in the ring. */
struct tail_batch {
    uint64_t position; /* in the ring */
    uint32_t bytes;
    uint32_t last_delta; /* offset of its last record, counted from its first */
    uint32_t is_bulk;    /* 1: the journal does not have its bytes */
    int64_t max_timestamp_ms;
};

/* Numbers a batch: tail entry, partition's end. */
void tail_add_batch(struct log *log, struct partition *partition, const struct tail_batch *batch);

/* ---- log_transaction.c ---- */

struct record_marker;
/* Wall time of a moment of the engine's clock, and the other way round (never before its begin). */
static ALWAYS_INLINE int64_t
log_wall_of(const struct log *log, uint64_t ns)
{
    return log->wall_ms - (int64_t)(log->now_ns > ns ? (log->now_ns - ns) / NS_PER_MS : 0);
}
static ALWAYS_INLINE uint64_t
log_ns_of(const struct log *log, int64_t wall_ms)
{
    if (wall_ms >= log->wall_ms)
        return log->now_ns;
    uint64_t age_ms = (uint64_t)log->wall_ms - (uint64_t)wall_ms;
    return age_ms < log->now_ns / NS_PER_MS ? log->now_ns - age_ms * NS_PER_MS : 0;
}
/* Recovery: a producer's transaction is open from first_offset on. RC_LIMIT. */
enum rc transaction_reopen(struct log *log,
                           struct partition *partition,
                           uint32_t producer,
                           uint64_t first_offset);
/* Recovery: a marker stands at offset, perhaps known already. RC_LIMIT. */
enum rc transaction_replay_marker(struct log *log,
                                  struct partition *partition,
                                  const struct record_marker *marker,
                                  uint64_t offset);
/* Recovery: what was told of offsets from next_offset on did not survive. */
void transaction_cut(struct log *log, struct partition *partition);
/* Forgets what is listed for good in footers of segments that end at or below end_offset; readers
 * are sent to those. */
void transaction_forget_listed(struct log *log, struct partition *partition, uint64_t end_offset);
/* Has the footer of the segment with that marker offset what was aborted, for good? */
bool
transaction_is_listed(const struct log *log, const struct partition *partition, uint64_t offset);
/* The same for ascending offsets; *segment begins as the oldest one. */
bool transaction_is_told(const struct log *log, uint32_t *segment, uint64_t offset);
/* What a segment's footer is to list, ascending; into: [SEGMENT_ABORTED_MAX]. Returns how many; 0
 * also when there are more, which stay in memory. */
uint32_t transaction_aborted_of(const struct log *log,
                                const struct segment *segment,
                                struct aborted_entry *into);
/* A segment in which so many were aborted is left. */
uint32_t transaction_aborted_limit(const struct log *log);
/* The partition has a new active segment. */
void transaction_segment_begun(struct log *log, struct partition *partition);
/* May this batch of an idempotent producer be appended, as far as transactions go? */
enum rc transaction_check(const struct log *log, const struct append_batch *batch);
/* A transactional batch that was checked has its offset. */
void transaction_appended(struct log *log,
                          struct partition *partition,
                          const struct append_batch *batch,
                          uint64_t base_offset);
/* A marker stands at offset. */
void transaction_marked(struct log *log,
                        struct partition *partition,
                        const struct record_marker *marker,
                        uint64_t offset);
/* The high watermark has moved: what it has passed the markers of is over. */
void transaction_settle(struct log *log, struct partition *partition);
/* The partition goes: all its transactions are forgotten. */
void transaction_drop_all(struct log *log, struct partition *partition);

#endif
