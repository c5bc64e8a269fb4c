/* eagre.meta, checkpoints and manifests as rows. */
#include "engine/cli/dump.h"

#include "log/format/checkpoint_format.h"
#include "log/format/manifest_format.h"

#include <stdlib.h>
#include <string.h>

void
dump_meta(struct dump *dump, struct inspect_file *file)
{
    const uint8_t *at = inspect_file_view(file, 0, min_u64(file->bytes, META_FILE_BYTES));
    struct meta_block meta;
    enum rc rc = at == NULL ? RC_TRUNCATED : meta_decode(at, file->bytes, &meta);

    if (rc != RC_OK) {
        dump_damage(dump, 0, rc_text(rc));
        return;
    }
    json_t *row = dump_row("meta");
    dump_int(row, "version", meta.version);
    dump_int(row, "node_id", meta.node_id);
    dump_uuid(row, "cluster_uuid", meta.cluster_uuid);
    dump_uuid(row, "node_uuid", meta.node_uuid);
    dump_int(row, "created_ms", meta.created_ms);
    dump_print(dump, row);
}

static void
print_epochs(struct dump *dump, uint64_t incarnation, const struct format_epoch *epochs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        json_t *row = dump_row("epoch");
        dump_incarnation(row, incarnation);
        dump_int(row, "epoch", epochs[i].epoch);
        dump_count(row, "start_offset", epochs[i].start_offset);
        dump_print(dump, row);
    }
}

static void
print_partition(struct dump *dump, const struct checkpoint_partition *partition)
{
    json_t *row = dump_row("partition");

    dump_incarnation(row, partition->incarnation);
    dump_uuid(row, "topic_id", partition->topic_id);
    dump_int(row, "partition", partition->partition);
    dump_int(row, "state", partition->state);
    dump_count(row, "start_offset", partition->start_offset);
    dump_count(row, "next_offset", partition->next_offset);
    dump_count(row, "high_watermark", partition->high_watermark);
    dump_count(row, "segment_base_offset", partition->segment_base_offset);
    dump_count(row, "durable_position", partition->durable_position);
    dump_count(row, "segment_batch_bytes", partition->segment_batch_bytes);
    dump_count(row, "manifest_generation", partition->manifest_generation);
    dump_int(row, "leader_epoch", partition->leader_epoch);
    dump_int(row, "segment_created_ms", partition->segment_created_ms);
    dump_int(row, "max_timestamp_ms", partition->max_timestamp_ms);
    dump_count(row, "max_timestamp_offset", partition->max_timestamp_offset);
    dump_print(dump, row);
}

static void
print_producer(struct dump *dump, const struct format_producer *producer)
{
    json_t *row = dump_row("producer");
    json_t *batches = json_array();

    dump_incarnation(row, producer->incarnation);
    dump_int(row, "producer_id", producer->producer_id);
    dump_int(row, "producer_epoch", producer->producer_epoch);
    dump_int(row, "last_append_ms", producer->last_append_ms);
    dump_int(row, "coordinator_epoch", producer->coordinator_epoch);
    dump_count(row, "transaction_first_offset", producer->transaction_first_offset);
    for (uint32_t i = 0; i < producer->batch_count; i++)
        json_array_append_new(batches,
                              json_pack("{s:i, s:i, s:I}",
                                        "first_sequence",
                                        producer->batches[i].first_sequence,
                                        "last_sequence",
                                        producer->batches[i].last_sequence,
                                        "base_offset",
                                        (json_int_t)producer->batches[i].base_offset));
    json_object_set_new(row, "batches", batches);
    dump_print(dump, row);
}

static void
print_checkpoint(struct dump *dump, struct checkpoint_decoder *decoder)
{
    const struct checkpoint_header *header = &decoder->header;
    const struct checkpoint_partition *partition;
    const struct checkpoint_aborted *aborted;
    const struct format_producer *producer;
    const struct format_epoch *epochs;
    json_t *row = dump_row("checkpoint");

    dump_count(row, "generation", header->generation);
    dump_int(row, "tile", header->tile_idx);
    dump_int(row, "clean", (header->flags & CHECKPOINT_CLEAN) != 0);
    dump_int(row, "partitions", header->partition_count);
    dump_count(row, "producers", header->producer_count);
    dump_count(row, "journal_epoch", header->journal_epoch);
    dump_count(row, "replay_from", header->replay_from);
    dump_uuid(row, "node_uuid", header->node_uuid);
    dump_int(row, "created_ms", header->created_ms);
    dump_print(dump, row);
    while ((partition = checkpoint_next_partition(decoder, &epochs)) != NULL) {
        if (dump->only != 0 && dump->only != partition->incarnation)
            continue;
        print_partition(dump, partition);
        print_epochs(dump, partition->incarnation, epochs, partition->epoch_count);
    }
    while ((producer = checkpoint_next_producer(decoder)) != NULL)
        if (dump->only == 0 || dump->only == producer->incarnation)
            print_producer(dump, producer);
    while ((aborted = checkpoint_next_aborted(decoder)) != NULL) {
        if (dump->only != 0 && dump->only != aborted->incarnation)
            continue;
        row = dump_row("aborted");
        dump_incarnation(row, aborted->incarnation);
        dump_int(row, "producer_id", aborted->entry.producer_id);
        dump_count(row, "first_offset", aborted->entry.first_offset);
        dump_count(row, "last_offset", aborted->entry.last_offset);
        dump_count(row, "last_stable_offset", aborted->entry.last_stable_offset);
        dump_print(dump, row);
    }
}

/* Its checksum covers it whole, so it is read whole. */
void
dump_checkpoint(struct dump *dump, struct inspect_file *file)
{
    struct checkpoint_decoder decoder;
    uint8_t *whole = file->bytes > CHECKPOINT_BYTES_MAX
                         ? NULL
                         : aligned_alloc(FORMAT_BLOCK_BYTES,
                                         round_up(file->bytes, FORMAT_BLOCK_BYTES));
    size_t count = 0;

    if (whole == NULL) {
        dump_damage(dump, 0, "too long for a checkpoint, or no memory");
        return;
    }
    enum rc rc = disk_read(dump->disk, file->fd, whole, file->bytes, 0, &count);
    if (rc == RC_OK)
        rc = checkpoint_decode(&decoder, whole, count);
    if (rc == RC_OK)
        print_checkpoint(dump, &decoder);
    else
        dump_damage(dump, 0, rc_text(rc));
    free(whole);
}

void
dump_manifest(struct dump *dump, struct inspect_file *file)
{
    const struct manifest_segment *segments;
    struct manifest_header header;
    const uint8_t *at = file->bytes < sizeof(header) ||
                                file->bytes > manifest_bytes_max(MANIFEST_SEGMENTS_MAX)
                            ? NULL
                            : inspect_file_view(file, 0, file->bytes);

    if (at == NULL) {
        dump_damage(dump, 0, "not as long as a manifest can be");
        return;
    }
    uint64_t incarnation = get_u64_le(at + offsetof(struct manifest_header, incarnation));
    enum rc rc = manifest_decode(at, file->bytes, incarnation, &header, &segments);
    if (rc != RC_OK) {
        dump_damage(dump, 0, rc_text(rc));
        return;
    }
    json_t *row = dump_row("manifest");
    dump_incarnation(row, header.incarnation);
    dump_count(row, "generation", header.generation);
    dump_uuid(row, "topic_id", header.topic_id);
    dump_int(row, "partition", header.partition);
    dump_int(row, "segments", header.segment_count);
    dump_print(dump, row);
    const struct manifest_aborted *aborted = manifest_aborted(&header, segments);
    for (uint32_t i = 0; i < header.segment_count; i++) {
        row = dump_row("sealed");
        dump_count(row, "base_offset", segments[i].base_offset);
        dump_count(row, "next_offset", segments[i].next_offset);
        dump_count(row, "data_bytes", segments[i].data_bytes);
        dump_count(row, "file_bytes", segments[i].file_bytes);
        dump_count(row, "batch_bytes", segments[i].batch_bytes);
        dump_int(row, "max_timestamp_ms", segments[i].max_timestamp_ms);
        dump_int(row, "file_generation", segments[i].file_generation);
        dump_int(row, "sealed_ms", segments[i].sealed_ms);
        if (aborted != NULL && aborted[i].count > 0) {
            dump_int(row, "aborted", aborted[i].count);
            dump_count(row, "aborted_first_offset", aborted[i].first_offset);
        }
        dump_print(dump, row);
    }
}
