/* The records inside a batch whose bytes are right: codec, count, and that they fill it. */
#include "engine/inspect/inspect_inner.h"

#include "engine/record/record_codec.h"
#include "engine/record/record_iterator.h"

/* The metadata log rebuilds the table of topics, as a start would. */
static void
apply_metadata(struct inspect *inspect,
               const char *path,
               uint64_t position,
               const struct record_view *record)
{
    struct diag_trail trail = {{0}};

    if (inspect->store_is_broken)
        return;
    enum rc rc = topic_store_apply(&inspect->store, record->value, &trail);
    if (rc == RC_OK)
        return;
    inspect->store_is_broken = true;
    inspect__find(inspect,
                  INSPECT_AT(INSPECT_DAMAGE, "V8", path, position),
                  "record %lld of the metadata log cannot be applied: %s; %s",
                  (long long)record->offset,
                  rc_text(rc),
                  trail.text);
}

/* The batch's records as they are before compression; at NULL: they cannot be had (told). */
static struct bytes
unpack(struct inspect *inspect,
       const char *path,
       const struct inspect_batch *batch,
       const struct record_batch_info *info)
{
    const struct bytes packed = {batch->at + RECORD_BATCH_HEADER_BYTES,
                                 info->batch_bytes - RECORD_BATCH_HEADER_BYTES};
    enum record_codec codec = record_batch_codec(info);
    size_t bytes = 0;

    if (codec == RECORD_CODEC_NONE)
        return packed;
    enum rc rc = record_decompress(
        codec, packed, inspect->records, INSPECT_RECORDS_BYTES_MAX, &bytes);
    if (rc == RC_OK)
        return (struct bytes){inspect->records, bytes};
    inspect__find(inspect,
                  INSPECT_AT(rc == RC_NO_MEMORY ? INSPECT_NOTE : INSPECT_WARNING,
                             rc == RC_NO_MEMORY ? "V7" : "V6",
                             path,
                             batch->position),
                  "batch of offset %lld: its records cannot be decompressed (codec %u): %s",
                  (long long)info->base_offset,
                  (uint32_t)codec,
                  rc_text(rc));
    return (struct bytes){0};
}

void
inspect__check_records(struct inspect *inspect,
                       const char *path,
                       const struct inspect_batch *batch,
                       struct inspect_walk *walk)
{
    struct record_batch_info info;
    struct record_iterator iterator;
    struct record_view record;
    int64_t before = -1;
    const char *what = NULL;

    if (record_batch_read(batch->at, batch->bytes, &info) != RC_OK)
        return; /* whoever called has checked it */
    struct bytes payload = unpack(inspect, path, batch, &info);
    if (payload.at == NULL)
        return;
    record_iterator_begin(&iterator, &info, payload);
    while (record_iterator_next(&iterator, &record)) {
        walk->records++;
        if (record.offset <= before || record.offset > record_batch_last_offset(&info))
            what = "the offset of a record is outside the batch or goes back";
        before = record.offset;
        if (inspect->current != NULL && inspect->current->incarnation == TOPIC_METADATA_INCARNATION)
            apply_metadata(inspect, path, batch->position, &record);
    }
    if (iterator.rc != RC_OK)
        what = "its records do not fill it as its header says";
    if (what != NULL)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V6", path, batch->position),
                      "batch of offset %lld: %s (as its producer sent it: the CRC is right)",
                      (long long)info.base_offset,
                      what);
}
