#include "log/segment/segment.h"

#include "engine/base/check.h"

#include <string.h>

void
run_builder_begin(struct run_builder *builder,
                  struct segment_space staging,
                  uint64_t incarnation,
                  struct segment *stats,
                  struct index *index)
{
    CHECK(stats->data_bytes % FORMAT_BLOCK_BYTES == 0);
    *builder = (struct run_builder){
        .buffer = staging.at,
        .capacity = round_down(staging.bytes, FORMAT_BLOCK_BYTES),
        .position = stats->data_bytes,
        .incarnation = incarnation,
        .stats = stats,
        .index = index,
    };
}

static void
run_builder_close(struct run_builder *builder)
{
    uint8_t *run = builder->buffer + builder->used;
    uint64_t end = RUN_HEADER_BYTES + builder->run_used;
    uint64_t padded = round_up(end, FORMAT_BLOCK_BYTES);

    builder->header.batch_bytes = (uint32_t)builder->run_used;
    run_header_encode(&builder->header, run);
    memset(run + end, 0, padded - end);
    builder->used += padded;
    builder->last_run_bytes = (uint32_t)padded;
    builder->run_used = 0;
    builder->stats->data_bytes += padded;
}

static void
run_builder_open(struct run_builder *builder, const struct run_batch *batch)
{
    struct segment *stats = builder->stats;
    uint64_t position = builder->position + builder->used;
    struct index_entry entry = {
        .offset_delta = (uint32_t)(batch->base_offset - stats->base_offset),
        .block = (uint32_t)(position / FORMAT_BLOCK_BYTES),
        .max_before_ms = stats->max_timestamp_ms,
        .max_delta = stats->max_timestamp_ms < 0
                         ? 0
                         : (uint32_t)(stats->max_timestamp_offset - stats->base_offset),
    };

    builder->run_count++;
    index_add(builder->index, &entry);
    builder->header = (struct run_header){
        .incarnation = builder->incarnation,
        .segment_base_offset = stats->base_offset,
        .base_offset = batch->base_offset,
        .block = entry.block,
    };
}

static void
run_builder_count(struct segment *stats, const struct run_batch *batch)
{
    stats->next_offset = batch->base_offset + batch->last_delta + 1;
    stats->batch_bytes += batch->count;
    stats->record_count += (uint64_t)batch->last_delta + 1;
    if (stats->first_timestamp_ms < 0)
        stats->first_timestamp_ms = batch->max_timestamp_ms;
    if (batch->max_timestamp_ms > stats->max_timestamp_ms) {
        stats->max_timestamp_ms = batch->max_timestamp_ms;
        stats->max_timestamp_offset = batch->base_offset;
    }
}

bool
run_builder_add(struct run_builder *builder, const struct run_batch *batch)
{
    if (builder->run_used > 0 &&
        RUN_HEADER_BYTES + builder->run_used + batch->count > RUN_TARGET_BYTES)
        run_builder_close(builder);
    uint64_t end = builder->used + RUN_HEADER_BYTES + builder->run_used + batch->count;
    if (round_up(end, FORMAT_BLOCK_BYTES) > builder->capacity)
        return false;
    if (builder->run_used == 0)
        run_builder_open(builder, batch);

    uint8_t *at = builder->buffer + builder->used + RUN_HEADER_BYTES + builder->run_used;
    bytes_copy(at, builder->capacity - (end - batch->count), batch->bytes, batch->count);
    builder->header.prefix_crc = run_prefix_crc(builder->header.prefix_crc, at);
    builder->header.last_offset = batch->base_offset + batch->last_delta;
    builder->header.batch_count++;
    builder->run_used += batch->count;
    run_builder_count(builder->stats, batch);
    return true;
}

uint64_t
run_builder_end(struct run_builder *builder)
{
    if (builder->run_used > 0)
        run_builder_close(builder);
    return builder->used;
}
