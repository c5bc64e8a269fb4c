/* The exact record of a time, inside one stored batch. This is the only place where the server
 * decompresses, and it does so here because control's thread may: one batch at a time, into one
 * bounded region whose pages go back afterwards when they were many. */
#include "engine/control/control_internal.h"

#include "engine/record/record_codec.h"
#include "engine/record/record_iterator.h"
#include "hw/mem/mem.h"

#define UNPACK_KEEP_BYTES (1u << 20)

static enum rc
search(const struct record_batch_info *info,
       struct bytes payload,
       int64_t time_ms,
       int64_t *ret_offset,
       int64_t *ret_time)
{
    struct record_iterator iterator;
    struct record_view view;

    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &view)) {
        if (view.timestamp_ms >= time_ms) {
            *ret_offset = view.offset;
            *ret_time = view.timestamp_ms;
            return RC_OK;
        }
    }
    if (iterator.rc != RC_OK)
        return iterator.rc;
    /* The header promises a later time than any record has: its producer erred. The batch's
     * beginning skips no record. */
    *ret_offset = info->base_offset;
    *ret_time = info->max_timestamp_ms;
    return RC_OK;
}

enum rc
control__find_record(struct control *control,
                     uint32_t batch_bytes,
                     int64_t time_ms,
                     int64_t *ret_offset,
                     int64_t *ret_time)
{
    struct record_batch_info info;
    size_t unpacked_bytes = 0;
    enum rc rc = record_batch_read(control->found, batch_bytes, &info);

    if (rc != RC_OK)
        return rc;
    control__count(&control->counters.finds, 1);
    if ((info.attributes & RECORD_ATTRIBUTES_LOG_APPEND_TIME) != 0) {
        *ret_offset = info.base_offset; /* all its records have one time */
        *ret_time = info.max_timestamp_ms;
        return RC_OK;
    }
    struct bytes packed = {control->found + RECORD_BATCH_HEADER_BYTES,
                           info.batch_bytes - RECORD_BATCH_HEADER_BYTES};
    int64_t wanted = time_ms == INT64_MAX ? info.max_timestamp_ms : time_ms;
    if (record_batch_codec(&info) == RECORD_CODEC_NONE)
        return search(&info, packed, wanted, ret_offset, ret_time);
    rc = record_decompress(
        record_batch_codec(&info), packed, control->unpack, CONTROL_UNPACK_BYTES, &unpacked_bytes);
    if (rc == RC_OK)
        rc = search(
            &info, (struct bytes){control->unpack, unpacked_bytes}, wanted, ret_offset, ret_time);
    if (rc == RC_NO_MEMORY) {
        /* Longer than the scratch, or the library could not allocate: its beginning skips no
         * record. */
        *ret_offset = info.base_offset;
        *ret_time = info.base_timestamp_ms;
        rc = RC_OK;
        unpacked_bytes = CONTROL_UNPACK_BYTES;
    }
    if (unpacked_bytes > UNPACK_KEEP_BYTES || rc != RC_OK)
        mem_release(control->unpack, CONTROL_UNPACK_BYTES);
    return rc;
}
