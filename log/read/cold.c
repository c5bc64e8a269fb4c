/* The cold reads under way: from footer over chunks to the answer. */
#include "log/read/cold.h"

#include "engine/base/check.h"
#include "log/append/log_metrics.h"
#include "log/read/tail_read.h"

#define COLD_STEPS_PER_POLL 64u
#define COLD_TAIL_ENTRIES_PER_POLL 4096u

static struct cold_cursor *
cold_cursor(struct log *log, uint64_t incarnation, uint64_t offset)
{
    uint64_t mixed = (incarnation * 31 + offset) * UINT64_C(0x9e3779b97f4a7c15);

    return &log->cold->cursors[(mixed >> 32) % LOG_CURSORS_MAX];
}

/* The segment behind the read's one. Compaction may have put another in that one's place: the next
 * may then hold batches that were read already, which are stepped over by their offset. */
static uint32_t
cold_next(const struct log *log, const struct cold_read *read)
{
    const struct partition *partition = &log->partitions[read->request.slot];

    return segment_next(&log->segments, &partition->segments, read->segment);
}

static void
cold_save_cursor(struct log *log, const struct cold_read *read)
{
    const struct segment *segment = &log->segments.segments[read->segment];
    struct cold_cursor cursor = {
        .incarnation = read->request.incarnation,
        .offset = read->next_offset,
        .number = segment->number,
        .segment = read->segment,
        .position = read->position,
    };

    if (read->position >= segment->data_bytes) {
        cursor.segment = cold_next(log, read);
        if (cursor.segment == SEGMENT_NONE)
            return;
        cursor.number = log->segments.segments[cursor.segment].number;
        cursor.position = 0;
    }
    *cold_cursor(log, cursor.incarnation, cursor.offset) = cursor;
    cold__ahead(log, cursor.segment, cursor.position);
}

/* Gives up what the read holds and leaves its answer. */
static void
cold_answer(struct log *log, struct cold_read *read)
{
    struct log_cold *cold = log->cold;
    struct log_read_result result = {.ctx = read->request.ctx,
                                     .requester = read->request.requester,
                                     .slot = read->request.slot,
                                     .leader_epoch = -1};
    struct partition *partition = partition_of(log, read->request.slot, read->request.incarnation);

    if (read->chunk != LOG_NONE)
        cold__put(log, read->chunk);
    read->chunk = LOG_NONE;
    if (read->rc == RC_OK && read->bytes > 0 && read->segment != SEGMENT_NONE &&
        read->kind == COLD_READ)
        cold_save_cursor(log, read);
    if (read->rc == RC_OK && read->bytes > 0 && read->segment != SEGMENT_NONE) {
        log_count(log, METRIC_READS_COLD, 1);
        log_count(log, METRIC_BYTES_READ_COLD, read->bytes);
        log_stamp(log, TRACE_READ, read->base_offset);
    }
    if (read->segment != SEGMENT_NONE)
        log->segments.segments[read->segment].readers--;
    if (partition == NULL) {
        result.rc = RC_UNKNOWN_PARTITION;
    } else {
        read__fill(partition, &result);
        result.rc = (uint16_t)read->rc;
        result.bytes = read->rc == RC_NO_MEMORY ? read->batch_bytes : read->bytes;
        result.base_offset = read->base_offset;
        /* What its batches need may be gone with segments below the start. */
        if (read->step == COLD_SKIPS && read->request.offset < partition->start_offset &&
            read->rc == RC_OK) {
            result.rc = RC_OFFSET_OUT_OF_RANGE;
            result.bytes = 0;
        } else if (read->step == COLD_SKIPS && read->rc == RC_OK) {
            skips_end(&read->skips, &result);
        }
        /* All that was left in files is read: the rest stands in the ring. */
        if (read->rc == RC_OK && read->bytes == 0 && read->kind == COLD_READ)
            (void)read__tail(log, partition, &read->request, &result);
    }
    cold->results[(cold->results_first + cold->results_count++) % LOG_COLD_READS_MAX] = result;
    read->kind = COLD_IDLE;
    cold->reads_active--;
}

/* True when something moved. */
static uint32_t
cold_step_skips(struct log *log, struct cold_read *read)
{
    enum rc rc = RC_OK;
    uint32_t work = 0;

    for (; rc == RC_OK && work < COLD_STEPS_PER_POLL; work++)
        rc = cold__skips_step(log, read);
    if (rc == RC_OK || rc == RC_AGAIN)
        return work - 1;
    if (rc != RC_NOT_FOUND) {
        read->rc = rc;
        read->bytes = 0;
    }
    cold_answer(log, read);
    return work;
}

/* The read has what it wanted, or will not get it. */
static void
cold_finish(struct log *log, struct cold_read *read)
{
    const struct partition *partition = partition_of(
        log, read->request.slot, read->request.incarnation);

    if (read->kind != COLD_READ || !read->request.is_committed || read->rc != RC_OK ||
        read->bytes == 0 || partition == NULL) {
        cold_answer(log, read);
        return;
    }
    cold__skips_begin(log, partition, read);
    (void)cold_step_skips(log, read);
}

static uint64_t
cold_chunk_position(const struct log *log, const struct cold_read *read)
{
    const struct segment *segment = &log->segments.segments[read->segment];

    if (read->step == COLD_FOOTER)
        return segment->file_bytes > COLD_FOOTER_BYTES
                   ? round_down(segment->file_bytes - COLD_FOOTER_BYTES, FORMAT_BLOCK_BYTES)
                   : 0;
    return round_down(read->position, FORMAT_BLOCK_BYTES);
}

/* True when the read has a chunk that is ready. */
static bool
cold_have_chunk(struct log *log, struct cold_read *read)
{
    if (read->chunk == LOG_NONE) {
        /* Past the end of a segment: the walk decides without bytes; any ready chunk would do, so
         * none is asked for. */
        uint64_t position = cold_chunk_position(log, read);
        switch (cold__get(log, read->segment, position, &read->chunk)) {
        case COLD_GET_READY:
            return true;
        case COLD_GET_WAIT:
        case COLD_GET_NONE:
            return false;
        case COLD_GET_FAILED:
            read->rc = RC_IO_ERROR;
            read->bytes = 0;
            cold_finish(log, read);
            return false;
        }
    }
    switch ((enum cold_chunk_state)log->cold->chunks[read->chunk].state) {
    case COLD_READY:
        return true;
    case COLD_FAILED:
        read->rc = RC_IO_ERROR;
        read->bytes = 0;
        cold_finish(log, read);
        return false;
    default:
        return false;
    }
}

/* What is looked for by time is not in the files: goes on in the ring. */
static void
cold_begin_tail(struct log *log, struct cold_read *read)
{
    const struct partition *partition = &log->partitions[read->request.slot];

    if (read->chunk != LOG_NONE)
        cold__put(log, read->chunk);
    read->chunk = LOG_NONE;
    if (read->segment != SEGMENT_NONE)
        log->segments.segments[read->segment].readers--;
    read->segment = SEGMENT_NONE;
    read->step = COLD_TAIL;
    read->target = max_u64(read->target, partition->tail_floor);
    read->tail_entry = partition->tail.oldest;
}

static uint32_t
cold_step_tail(struct log *log, struct cold_read *read)
{
    struct partition *partition = partition_of(log, read->request.slot, read->request.incarnation);

    if (partition == NULL) {
        cold_finish(log, read);
        return 1;
    }
    /* What was evicted meanwhile was looked at already, or is too old to wait for. */
    if (read->tail_entry != TAIL_NONE && partition->tail.oldest != TAIL_NONE)
        read->tail_entry = max_u64(read->tail_entry, partition->tail.oldest);
    if (partition->tail.oldest == TAIL_NONE)
        read->tail_entry = TAIL_NONE;
    for (uint32_t i = 0; i < COLD_TAIL_ENTRIES_PER_POLL && read->tail_entry != TAIL_NONE; i++) {
        const struct tail_entry *entry = tail_at(&log->tail, read->tail_entry);
        if (entry->base_offset + entry->last_delta >= read->limit)
            read->tail_entry = TAIL_NONE;
        else if (entry->max_timestamp >= read->time_ms &&
                 entry->base_offset + entry->last_delta >= read->target) {
            struct log_read_result result = {0};
            read->request.offset = entry->base_offset;
            read->request.max_bytes = 0; /* one batch */
            read->request.whole_first = true;
            (void)read__tail(log, partition, &read->request, &result);
            read->rc = (enum rc)result.rc;
            read->bytes = result.bytes;
            read->batch_bytes = result.bytes;
            read->base_offset = result.base_offset;
            read->tail_entry = TAIL_NONE;
        } else {
            read->tail_entry = tail_newer(&log->tail, &partition->tail, read->tail_entry);
        }
    }
    if (read->tail_entry == TAIL_NONE)
        cold_finish(log, read);
    return 1;
}

/* The walk has nothing more to give. */
static void
cold_done(struct log *log, struct cold_read *read)
{
    if (read->kind == COLD_FIND && read->rc == RC_OK && read->bytes == 0)
        cold_begin_tail(log, read);
    else
        cold_finish(log, read);
}

static uint32_t
cold_step(struct log *log, struct cold_read *read)
{
    uint32_t work = 0;

    if (read->step == COLD_TAIL)
        return cold_step_tail(log, read);
    if (read->step == COLD_SKIPS)
        return cold_step_skips(log, read);
    for (; work < COLD_STEPS_PER_POLL; work++) {
        const struct segment *segment = &log->segments.segments[read->segment];
        if (read->step == COLD_RUNS && read->position >= segment->data_bytes &&
            (read->bytes > 0 || cold_next(log, read) == SEGMENT_NONE)) {
            cold_done(log, read);
            return work + 1;
        }
        if (read->step == COLD_RUNS && read->position >= segment->data_bytes) {
            uint32_t next = cold_next(log, read);
            log->segments.segments[read->segment].readers--;
            read->segment = next;
            log->segments.segments[read->segment].readers++;
            read->position = 0;
            if (read->chunk != LOG_NONE)
                cold__put(log, read->chunk);
            read->chunk = LOG_NONE;
            continue;
        }
        if (!cold_have_chunk(log, read))
            return work;
        if (read->step == COLD_FOOTER) {
            const struct cold_chunk *chunk = &log->cold->chunks[read->chunk];
            read->position = cold__from_footer(log, read, chunk, cold__bytes(log, read->chunk));
            read->step = COLD_RUNS;
            cold__put(log, read->chunk);
            read->chunk = LOG_NONE;
            continue;
        }
        switch (cold__walk(log, read)) {
        case COLD_WALK_MORE:
            if (read->step == COLD_RUNS && read->bytes >= LOG_COLD_BYTES) {
                cold_finish(log, read);
                return work + 1;
            }
            break;
        case COLD_WALK_CHUNK:
            cold__put(log, read->chunk);
            read->chunk = LOG_NONE;
            if (read->step == COLD_RUNS && read->bytes > 0) {
                cold_finish(log, read);
                return work + 1;
            }
            break;
        case COLD_WALK_DONE:
            cold_done(log, read);
            return work + 1;
        }
    }
    return work;
}

static uint32_t
cold_poll(struct log *log)
{
    struct log_cold *cold = log->cold;
    uint32_t work = 0;

    if (cold->chunks_reading > 0)
        cold__resend(log);
    for (uint32_t i = 0; cold->reads_active > 0 && i < LOG_COLD_READS_MAX; i++)
        if (cold->reads[i].kind != COLD_IDLE)
            work += cold_step(log, &cold->reads[i]);
    return work;
}

void
cold__attach(struct log *log)
{
    log->hooks.cold_complete = cold__complete;
    log->hooks.cold_poll = cold_poll;
    log->cold->chunk_count = (uint32_t)min_u64(log->config.cold_bytes / LOG_COLD_BYTES,
                                               COLD_CHUNKS_MAX);
}

/* Where to begin: cursor, the active segment's index, or the footer of a sealed one. */
static void
cold_place(struct log *log, struct cold_read *read)
{
    const struct partition *partition = &log->partitions[read->request.slot];
    const struct segment *segment = &log->segments.segments[read->segment];
    const struct cold_cursor *cursor = cold_cursor(log, read->request.incarnation, read->target);

    read->step = COLD_RUNS;
    read->position = 0;
    if (read->kind == COLD_READ && cursor->incarnation == read->request.incarnation &&
        cursor->offset == read->target && cursor->segment == read->segment &&
        cursor->number == segment->number) {
        read->position = cursor->position;
        return;
    }
    if (segment->sealed) {
        read->step = COLD_FOOTER;
    } else if (read->segment == partition->segments.newest) {
        uint64_t delta = read->target > segment->base_offset ? read->target - segment->base_offset
                                                             : 0;
        if (read->kind == COLD_FIND)
            read->position = index_find_time(&partition->index, read->time_ms);
        read->position = max_u64(
            read->position,
            index_find_offset(&partition->index, (uint32_t)min_u64(delta, UINT32_MAX)));
    }
}

bool
cold__start(struct log *log,
            enum cold_kind kind,
            const struct log_read_request *request,
            int64_t time_ms)
{
    struct log_cold *cold = log->cold;
    const struct partition *partition = &log->partitions[request->slot];
    uint32_t idx = 0;

    if (cold->reads_active + cold->results_count >= LOG_COLD_READS_MAX)
        return false;
    while (cold->reads[idx].kind != COLD_IDLE)
        idx++;
    struct cold_read *read = &cold->reads[idx];
    *read = (struct cold_read){
        .kind = kind,
        .request = *request,
        .time_ms = time_ms,
        .target = request->offset,
        .limit = kind == COLD_READ ? read__limit(partition, request)
                                   : partition_high_watermark(partition),
        .chunk = LOG_NONE,
        .base_offset = UINT64_MAX,
        .tail_entry = TAIL_NONE,
        .rc = RC_OK,
    };
    cold->reads_active++;
    if (kind == COLD_READ) {
        read->segment = segment_find(&log->segments, &partition->segments, request->offset);
    } else {
        read->segment = segment_find_time(&log->segments, &partition->segments, time_ms);
        while (read->segment != SEGMENT_NONE &&
               log->segments.segments[read->segment].next_offset <= read->target)
            read->segment = log->segments.segments[read->segment].newer;
    }
    if (read->segment == SEGMENT_NONE) {
        if (kind == COLD_FIND)
            cold_begin_tail(log, read);
        else
            cold_finish(log, read);
        return true;
    }
    log->segments.segments[read->segment].readers++;
    cold_place(log, read);
    return true;
}

uint32_t
log_take_reads(struct log *log, struct log_read_result *results, uint32_t count)
{
    struct log_cold *cold = log->cold;
    uint32_t taken = 0;

    for (; taken < count && cold->results_count > 0; taken++) {
        results[taken] = cold->results[cold->results_first];
        cold->results_first = (cold->results_first + 1) % LOG_COLD_READS_MAX;
        cold->results_count--;
    }
    return taken;
}
