/* The exact record of a time, inside one stored batch. This is the only place where the server
 * decompresses, and it does so here because control's thread may: one batch at a time, into one
 * bounded region whose pages go back afterwards when they were many. */
#include "engine/control/control_internal.h"

#include "engine/record/record_codec.h"
#include "engine/record/record_iterator.h"
#include "hw/mem/mem.h"

#define UNPACK_KEEP_BYTES (1u << 20)

/* Every answer goes through here: what lies below the partition's first offset is gone, though its
 * batch still holds it. */
static void
answer(struct control_find *find, int64_t offset, int64_t time_ms)
{
    find->ret_offset = offset > find->first_offset ? offset : find->first_offset;
    find->ret_time_ms = time_ms;
}

static enum rc
search(struct control_find *find, const struct record_batch_info *info, struct bytes payload)
{
    struct record_iterator iterator;
    struct record_view view;
    int64_t wanted = find->time_ms == INT64_MAX ? info->max_timestamp_ms : find->time_ms;

    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &view)) {
        if (view.timestamp_ms >= wanted && view.offset >= find->first_offset) {
            answer(find, view.offset, view.timestamp_ms);
            return RC_OK;
        }
    }
    if (iterator.rc != RC_OK)
        return iterator.rc;
    /* The header promises a later time than any record that is left has: its producer erred, or
     * that record is gone. The batch's beginning skips no record. */
    answer(find, info->base_offset, info->max_timestamp_ms);
    return RC_OK;
}

enum rc
control__find_record(struct control *control, struct control_find *find)
{
    struct record_batch_info info;
    size_t unpacked_bytes = 0;
    enum rc rc = record_batch_read(control->found, find->batch_bytes, &info);

    if (rc != RC_OK)
        return rc;
    control__count(&control->counters.finds, 1);
    if ((info.attributes & RECORD_ATTRIBUTES_LOG_APPEND_TIME) != 0) {
        answer(find, info.base_offset, info.max_timestamp_ms); /* all its records have one time */
        return RC_OK;
    }
    struct bytes packed = {control->found + RECORD_BATCH_HEADER_BYTES,
                           info.batch_bytes - RECORD_BATCH_HEADER_BYTES};
    if (record_batch_codec(&info) == RECORD_CODEC_NONE)
        return search(find, &info, packed);
    rc = record_decompress(
        record_batch_codec(&info), packed, control->unpack, CONTROL_UNPACK_BYTES, &unpacked_bytes);
    if (rc == RC_OK)
        rc = search(find, &info, (struct bytes){control->unpack, unpacked_bytes});
    if (rc == RC_NO_MEMORY) {
        /* Longer than the scratch, or the library could not allocate: its beginning skips no
         * record. */
        answer(find, info.base_offset, info.base_timestamp_ms);
        rc = RC_OK;
        unpacked_bytes = CONTROL_UNPACK_BYTES;
    }
    if (unpacked_bytes > UNPACK_KEEP_BYTES || rc != RC_OK)
        mem_release(control->unpack, CONTROL_UNPACK_BYTES);
    return rc;
}
