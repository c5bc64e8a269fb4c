/* The log side of the fixture: partitions that keep real batches, answer reads and send marks. */
#include "tests/unit/net/gate/fixture.h"

#include "engine/record/record_batch.h"

#include <criterion/criterion.h>
#include <string.h>

static void
log_respond(struct fixture *fixture, const struct response *response)
{
    uint32_t tile = fixture->options.two_log_tiles ? response->slot % 2 : 0;

    cr_assert_eq(
        ring_push(&fixture->log_responses[tile], response, 1), 1u, "response ring overflows");
}

static uint64_t
log_stable(const struct fixture_partition *partition)
{
    return partition->open_offset != 0 ? partition->open_offset : partition->end_offset;
}

static void
log_mark(struct fixture *fixture, uint32_t slot)
{
    struct fixture_partition *partition = &fixture->partitions[slot];
    bool moved = partition->armed && partition->armed_high_watermark != partition->end_offset;
    bool stable = partition->armed_stable && partition->armed_last_stable != log_stable(partition);

    if (!moved && !stable)
        return;
    partition->armed = false;
    partition->armed_stable = partition->armed_stable && !stable;
    log_respond(fixture,
                &(struct response){.kind = RESPONSE_MARK,
                                   .slot = slot,
                                   .ctx = partition->incarnation,
                                   .high_watermark = partition->end_offset,
                                   .u.last_stable_offset = log_stable(partition),
                                   .start_offset = partition->start_offset});
}

static void
log_arm(struct fixture_partition *partition, const struct request *request, uint64_t known)
{
    if ((request->flags & REQUEST_FLAG_COMMITTED) != 0) {
        partition->armed_stable = true;
        partition->armed_last_stable = known;
    } else {
        partition->armed = true;
        partition->armed_high_watermark = known;
    }
}

void
fixture_close(struct fixture *fixture, uint32_t slot)
{
    fixture->partitions[slot].open_offset = 0;
    log_mark(fixture, slot);
}

uint64_t
fixture_log__append(struct fixture *fixture, uint32_t slot, const uint8_t *batch, uint32_t bytes)
{
    struct fixture_partition *partition = &fixture->partitions[slot];
    uint8_t *to = partition->bytes + partition->byte_count;
    uint64_t base = partition->end_offset;

    cr_assert_leq(partition->byte_count + bytes, FIXTURE_LOG_BYTES);
    cr_assert(record_batch_crc_ok(batch, bytes), "the gate let a broken batch through");
    memcpy(to, batch, bytes);
    record_batch_patch(to, base, 0);
    partition->byte_count += bytes;
    partition->end_offset += (uint64_t)record_batch_last_offset_delta(to) + 1;
    log_mark(fixture, slot);
    return base;
}

struct response
fixture_log__answer(const struct request *request, enum rc rc)
{
    return (struct response){.kind = RESPONSE_DONE,
                             .request_kind = request->kind,
                             .rc = (uint16_t)rc,
                             .slot = request->slot,
                             .ctx = request->ctx};
}

static void
log_produce(struct fixture *fixture, const struct request *request, enum rc rc)
{
    struct fixture_partition *partition = &fixture->partitions[request->slot];
    struct response response = fixture_log__answer(request, rc);

    response.u.append_time_ms = partition->append_time ? 1700000000123 : -1;
    response.start_offset = partition->start_offset;
    if (rc == RC_SEQUENCE_DUPLICATE)
        response.base_offset = 42;
    else if (rc == RC_OK)
        response.base_offset = fixture_log__append(
            fixture, request->slot, request->u.produce.batch, request->u.produce.batch_bytes);
    log_respond(fixture, &response);
}

/* Whole batches from the one that contains the offset. */
static void
log_copy(const struct fixture_partition *partition,
         const struct request *request,
         struct response *response)
{
    uint32_t at = 0;
    bool probe = request->u.read.dst_bytes == 0;
    bool committed = (request->flags & REQUEST_FLAG_COMMITTED) != 0;
    uint64_t limit = committed ? log_stable(partition) : partition->end_offset;
    uint32_t more = committed && !probe ? 16 + 16 * partition->aborted_count : 0;

    while (at < partition->byte_count) {
        const uint8_t *batch = partition->bytes + at;
        uint32_t bytes = (uint32_t)record_batch_bytes(batch);
        uint64_t last = record_batch_base_offset(batch) +
                        (uint64_t)record_batch_last_offset_delta(batch);
        at += bytes;
        if (last < request->u.read.offset)
            continue;
        if (last >= limit)
            break;
        if (probe) {
            response->total_bytes += bytes;
            continue;
        }
        bool whole = response->bytes == 0 && (request->flags & REQUEST_FLAG_WHOLE) != 0;
        if (!whole && response->bytes + bytes > request->u.read.max_bytes)
            break;
        if (response->bytes + bytes + more > request->u.read.dst_bytes) {
            if (response->bytes == 0) {
                response->rc = RC_NO_MEMORY;
                response->bytes = bytes + more;
            }
            break;
        }
        memcpy(request->u.read.dst + response->bytes, batch, bytes);
        if (response->bytes == 0)
            response->base_offset = record_batch_base_offset(batch);
        response->bytes += bytes;
    }
}

/* Behind what was read: what is to be skipped of it. */
static void
log_put_skips(const struct fixture_partition *partition,
              const struct request *request,
              const struct response *response)
{
    uint8_t *at = request->u.read.dst + round_up(response->bytes, 8);
    uint64_t count = 0;

    for (uint32_t i = 0; i < partition->aborted_count; i++) {
        if (partition->aborted_last[i] < response->base_offset)
            continue;
        memcpy(at + 8 + count * 16, &partition->aborted[i], 16);
        count++;
    }
    memcpy(at, &count, 8);
}

static void
log_read(struct fixture *fixture, const struct request *request)
{
    struct fixture_partition *partition = &fixture->partitions[request->slot];
    struct response response = fixture_log__answer(request, RC_OK);
    bool probe = request->u.read.dst_bytes == 0;

    fixture->reads += probe ? 0 : 1;
    fixture->probes += probe ? 1 : 0;
    response.high_watermark = partition->end_offset;
    response.start_offset = partition->start_offset;
    response.u.last_stable_offset = log_stable(partition);
    bool committed = (request->flags & REQUEST_FLAG_COMMITTED) != 0;
    if (request->incarnation != partition->incarnation)
        response.rc = RC_UNKNOWN_PARTITION;
    else if (request->u.read.leader_epoch > 0)
        response.rc = RC_LEADER_EPOCH_UNKNOWN;
    else if (request->u.read.offset < partition->start_offset ||
             request->u.read.offset > partition->end_offset)
        response.rc = RC_OFFSET_OUT_OF_RANGE;
    else
        log_copy(partition, request, &response);
    if (committed && !probe && response.rc == RC_OK && response.bytes > 0)
        log_put_skips(partition, request, &response);
    bool nothing = probe ? response.total_bytes == 0 : response.bytes == 0;
    if (response.rc == RC_OK && nothing && (request->flags & REQUEST_FLAG_ARM) != 0) {
        log_arm(partition, request, committed ? log_stable(partition) : partition->end_offset);
    }
    log_respond(fixture, &response);
}

void
fixture_log__serve(struct fixture *fixture, const struct request *request)
{
    struct fixture_partition *partition = &fixture->partitions[request->slot];

    cr_assert_eq(request->requester, 1u);
    if (request->kind == REQUEST_PRODUCE && fixture->hold_appends) {
        cr_assert_lt(fixture->held_count, ARRAY_COUNT(fixture->held));
        fixture->held[fixture->held_count++] = *request;
    } else if (request->kind == REQUEST_PRODUCE) {
        log_produce(fixture, request, fixture->append_rc);
    } else if (request->kind == REQUEST_READ) {
        log_read(fixture, request);
    } else {
        cr_assert_eq(request->kind, REQUEST_ARM);
        log_arm(partition, request, request->u.arm.high_watermark);
        struct response response = fixture_log__answer(request, RC_OK);
        if (fixture->mark_first)
            fixture_append(fixture, request->slot, 1, 500);
        fixture->mark_first = false;
        log_respond(fixture, &response);
        log_mark(fixture, request->slot);
    }
}

void
fixture_answer_held(struct fixture *fixture, uint32_t at, enum rc rc)
{
    struct request request = fixture->held[at];

    fixture->held_count--;
    memmove(
        &fixture->held[at], &fixture->held[at + 1], (fixture->held_count - at) * sizeof(request));
    log_produce(fixture, &request, rc);
}
