/* Reads: checks, the tail in the slab ring, and the way to the cold side.
 *
 * Budget of a tail read, one core at 3 GHz: 60 ns to find the batch (a hint of the last read, else
 * O(log n) jumps), then 20 ns per batch plus the copy (0.1 ns per byte). */
#include "engine/base/check.h"
#include "log/append/log_metrics.h"
#include "log/read/cold.h"
#include "log/read/skips.h"
#include "log/read/tail_read.h"

#define READ_COPY_BYTES (128 * KIB) /* per call, unless one batch is longer */

void
read__fill(const struct partition *partition, struct log_read_result *ret_result)
{
    ret_result->start_offset = partition->start_offset;
    ret_result->high_watermark = partition_high_watermark(partition);
    ret_result->last_stable_offset = partition_last_stable(partition);
    ret_result->end_offset = partition->next_offset;
    ret_result->leader_epoch = partition->leader_epoch;
    ret_result->total_bytes = partition_total_bytes(partition);
}

/* The tail entry that holds offset: where the last reader of this place stopped, else by jumps. */
static uint64_t
read_find_entry(const struct log *log, const struct partition *partition, uint64_t offset)
{
    if (partition->tail.oldest == TAIL_NONE || offset < partition->tail_floor)
        return TAIL_NONE;
    for (uint32_t i = 0; i < LOG_HINTS; i++) {
        const struct partition_hint *hint = &partition->hints[i];
        if (hint->offset != offset || hint->entry < partition->tail.oldest)
            continue;
        uint64_t next = tail_newer(&log->tail, &partition->tail, hint->entry);
        if (next != TAIL_NONE && tail_at(&log->tail, next)->base_offset == offset)
            return next;
    }
    return tail_find(&log->tail, &partition->tail, offset);
}

static void
read_leave_hint(struct partition *partition, uint64_t offset, uint64_t entry)
{
    for (uint32_t i = 0; i < LOG_HINTS; i++)
        if (partition->hints[i].entry == entry && partition->hints[i].offset == offset)
            return;
    partition->hints[partition->hint_next] = (struct partition_hint){offset, entry};
    partition->hint_next = (partition->hint_next + 1) % LOG_HINTS;
}

/* Is all in memory that was aborted from this batch on? */
static bool
read_knows_skips(const struct log *log,
                 const struct partition *partition,
                 const struct log_read_request *request,
                 uint64_t entry)
{
    return !request->is_committed ||
           tail_at(&log->tail, entry)->base_offset >= partition->transactions.aborted_from;
}

bool
read__tail(struct log *log,
           struct partition *partition,
           const struct log_read_request *request,
           struct log_read_result *result)
{
    uint64_t at = read_find_entry(log, partition, request->offset);
    uint64_t limit = read__limit(partition, request);
    uint32_t room = read__room(request);
    uint64_t last_entry = TAIL_NONE;
    uint64_t next_offset = 0;
    uint32_t bytes = 0;

    if (at == TAIL_NONE || !read_knows_skips(log, partition, request, at))
        return false;
    result->rc = RC_OK;
    result->base_offset = tail_at(&log->tail, at)->base_offset;
    for (; at != TAIL_NONE; at = tail_newer(&log->tail, &partition->tail, at)) {
        const struct tail_entry *entry = tail_at(&log->tail, at);
        if (entry->base_offset + entry->last_delta >= limit)
            break;
        if ((uint64_t)bytes + entry->bytes > request->max_bytes &&
            (bytes > 0 || !request->whole_first))
            break;
        if ((uint64_t)bytes + entry->bytes > room) {
            if (bytes == 0) {
                result->rc = RC_NO_MEMORY;
                result->bytes = entry->bytes + request->dst_bytes - room;
                return true;
            }
            break;
        }
        bytes_copy(request->dst + bytes,
                   request->dst_bytes - bytes,
                   slab_ring_at(&log->ring, entry->position),
                   entry->bytes);
        bytes += entry->bytes;
        last_entry = at;
        next_offset = entry->base_offset + entry->last_delta + 1;
        if (bytes >= READ_COPY_BYTES)
            break;
    }
    if (last_entry != TAIL_NONE)
        read_leave_hint(partition, next_offset, last_entry);
    result->bytes = bytes;
    if (request->is_committed && bytes > 0) {
        struct read_skips skips;
        skips_begin(&skips, request, bytes);
        skips_add_kept(&skips, log, partition, 0);
        skips_end(&skips, result);
        bytes = result->rc == RC_OK ? result->bytes : 0;
    }
    if (bytes > 0) {
        log_count(log, METRIC_READS_TAIL, 1);
        log_count(log, METRIC_BYTES_READ_TAIL, bytes);
        log_stamp(log, TRACE_READ, result->base_offset);
    }
    return true;
}

/* Bytes readable from offset on: exact in the ring, else from the segments' sizes; never 0 when
 * there are any. */
static uint32_t
read_estimate(const struct log *log, const struct partition *partition, uint64_t offset)
{
    uint64_t at = read_find_entry(log, partition, offset);
    uint64_t total = partition_total_bytes(partition);
    uint64_t bytes = 0;

    if (at != TAIL_NONE) {
        bytes = total - tail_at(&log->tail, at)->bytes_before;
    } else {
        bytes = total > partition->gathered_bytes ? total - partition->gathered_bytes : 0;
        for (uint32_t i = partition->segments.newest; i != SEGMENT_NONE;
             i = log->segments.segments[i].older) {
            const struct segment *segment = &log->segments.segments[i];
            uint64_t span = segment->next_offset - segment->base_offset;
            if (segment->next_offset <= offset || span == 0)
                continue;
            uint64_t wanted = segment->next_offset - max_u64(offset, segment->base_offset);
            bytes += (uint64_t)((double)segment->batch_bytes * (double)wanted / (double)span);
            if (segment->base_offset <= offset)
                break;
        }
    }
    return (uint32_t)min_u64(max_u64(bytes, 1), UINT32_MAX);
}

/* What can be wrong with a read as such. */
static enum rc
read_check(const struct partition *partition, const struct log_read_request *request)
{
    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    if (request->leader_epoch >= 0 && request->leader_epoch < partition->leader_epoch)
        return RC_LEADER_EPOCH_FENCED;
    if (request->leader_epoch > partition->leader_epoch)
        return RC_LEADER_EPOCH_UNKNOWN;
    return RC_OK;
}

static void
read_begin(const struct log_read_request *request, struct log_read_result *ret_result)
{
    *ret_result = (struct log_read_result){
        .ctx = request->ctx,
        .requester = request->requester,
        .slot = request->slot,
        .leader_epoch = -1,
        .base_offset = request->offset,
    };
}

static void
read_arm(struct log *log, const struct partition *partition, const struct log_read_request *request)
{
    uint64_t known = read__limit(partition, request);
    enum rc rc = request->is_committed
                     ? log_arm_committed(
                           log, request->slot, request->incarnation, known, request->requester)
                     : log_arm(log, request->slot, request->incarnation, known, request->requester);

    CHECK(rc == RC_OK); /* it serves, as was checked */
}

bool
log_read(struct log *log,
         const struct log_read_request *request,
         struct log_read_result *ret_result)
{
    struct partition *partition = partition_of(log, request->slot, request->incarnation);
    enum rc rc = read_check(partition, request);

    if (UNLIKELY(log->hooks.cold_poll == NULL))
        cold__attach(log);
    read_begin(request, ret_result);
    if (partition != NULL)
        read__fill(partition, ret_result);
    if (rc == RC_OK &&
        (request->offset < partition->start_offset || request->offset > partition->next_offset))
        rc = RC_OFFSET_OUT_OF_RANGE;
    ret_result->rc = (uint16_t)rc;
    if (rc != RC_OK)
        return true;
    bool probe = request->dst_bytes == 0;
    if (probe)
        ret_result->total_bytes = 0;
    if (request->offset >= read__limit(partition, request)) {
        if (request->arm)
            read_arm(log, partition, request);
        return true;
    }
    if (probe) {
        ret_result->total_bytes = read_estimate(log, partition, request->offset);
        return true;
    }
    if (read__tail(log, partition, request, ret_result))
        return true;
    if (cold__start(log, COLD_READ, request, 0))
        return false;
    ret_result->rc = RC_AGAIN;
    return true;
}

bool
log_find_time(struct log *log,
              const struct log_read_request *request,
              int64_t time_ms,
              struct log_read_result *ret_result)
{
    struct partition *partition = partition_of(log, request->slot, request->incarnation);
    enum rc rc = read_check(partition, request);
    struct log_read_request find = *request;

    if (UNLIKELY(log->hooks.cold_poll == NULL))
        cold__attach(log);
    read_begin(request, ret_result);
    if (partition != NULL)
        read__fill(partition, ret_result);
    ret_result->rc = (uint16_t)rc;
    if (rc != RC_OK)
        return true;
    if (time_ms == INT64_MAX)
        time_ms = partition->max_timestamp_ms;
    if (ret_result->high_watermark == partition->start_offset ||
        time_ms > partition->max_timestamp_ms)
        return true; /* none */
    find.offset = partition->start_offset;
    if (cold__start(log, COLD_FIND, &find, time_ms))
        return false;
    ret_result->rc = RC_AGAIN;
    return true;
}
