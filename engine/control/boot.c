/* From nothing to CONTROL_READY: the metadata log is opened and read from its start, the store
 * rebuilt, every partition opened on its log tile, what metadata do not name is pruned, and every
 * topic is published to the gates.
 *
 *   BEGIN → OPENING_LOG → OFFSETS → (READ → WAIT)* → [CLUSTER] → OPEN → PRUNE → TRANSACTIONS →
 * PUBLISH → DONE
 *
 * Damage or a contradiction in the metadata log stops the boot and is named: serving half of the
 * topics would let clients create the missing ones anew. A single partition that cannot be opened
 * does not stop it: it is reported, and refused by its log tile. */
#include "engine/control/control_internal.h"

#include "engine/record/record_iterator.h"

void
control__fail(struct control *control, const char *what, const struct diag_trail *trail)
{
    struct diag_trail text = {0};

    if (trail != NULL)
        text = *trail;
    diag_trail_add(&text, "%s", what);
    diag_error("control_boot_failed", "%s", text.text);
    bytes_copy(control->failure,
               sizeof(control->failure) - 1,
               text.text,
               strnlen(text.text, sizeof(text.text) - 1));
    control->boot.state = BOOT_FAILED;
    /* Release pairs with control_state(): the text is there before the state says so. */
    atomic_store_explicit(&control->state, CONTROL_FAILED, memory_order_release);
    control->work++;
}

static void
fail_rc(struct control *control, const char *what, enum rc rc)
{
    struct diag_trail trail = {0};

    diag_trail_add(&trail, "%s", rc_text(rc));
    control__fail(control, what, &trail);
}

/* ---- reading the metadata log */

static void
ask_offsets(struct control *control)
{
    struct request request = {
        .kind = REQUEST_OFFSETS,
        .slot = control->metadata.slot,
        .incarnation = TOPIC_METADATA_INCARNATION,
        .ctx = control__tag(TAG_METADATA_OFFSETS, 0, 0),
    };

    if (control__log_send(control, 0, &request))
        control->boot.state = BOOT_WAIT;
}

void
control__boot_offsets(struct control *control, const struct response *response)
{
    CHECK(control->boot.state == BOOT_WAIT);
    if (response->rc != RC_OK) {
        fail_rc(control, "offsets of the metadata log", (enum rc)response->rc);
        return;
    }
    control->metadata.next_read = response->start_offset;
    control->metadata.end = response->high_watermark;
    control->boot.state = BOOT_READ;
}

static void
ask_piece(struct control *control)
{
    struct control_boot *boot = &control->boot;
    struct control_metadata *metadata = &control->metadata;

    if (metadata->next_read >= metadata->end) {
        if (boot->piece != NULL)
            buddy_give(&control->pool, boot->piece);
        boot->piece = NULL;
        boot->state = BOOT_CLUSTER;
        control->work++;
        return;
    }
    if (boot->piece == NULL)
        boot->piece = buddy_take(&control->pool, CONTROL_READ_BYTES);
    CHECK(boot->piece != NULL); /* nothing else uses the pool yet */
    struct request request = {
        .kind = REQUEST_READ,
        .flags = REQUEST_FLAG_WHOLE,
        .slot = metadata->slot,
        .incarnation = TOPIC_METADATA_INCARNATION,
        .ctx = control__tag(TAG_METADATA_READ, 0, 0),
        .u.read = {.offset = metadata->next_read,
                   .dst = boot->piece,
                   .dst_bytes = CONTROL_READ_BYTES,
                   .max_bytes = CONTROL_READ_BYTES,
                   .leader_epoch = -1},
    };
    if (control__log_send(control, 0, &request))
        boot->state = BOOT_WAIT;
}

/* Applies the records of one batch that are at or after the place reached so far. */
static enum rc
apply_batch(struct control *control,
            const uint8_t *batch,
            const struct record_batch_info *info,
            struct diag_trail *trail)
{
    struct record_iterator iterator;
    struct record_view view;
    struct bytes payload = {batch + RECORD_BATCH_HEADER_BYTES,
                            info->batch_bytes - RECORD_BATCH_HEADER_BYTES};

    if (!record_batch_crc_ok(batch, info->batch_bytes))
        return RC_CORRUPT;
    if ((info->attributes & RECORD_ATTRIBUTES_CODEC_MASK) != RECORD_CODEC_NONE)
        return RC_NEWER_FORMAT;
    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &view)) {
        if ((uint64_t)view.offset < control->metadata.next_read)
            continue;
        enum rc rc = topic_store_apply(&control->store, view.value, trail);
        if (rc != RC_OK) {
            diag_trail_add(trail, "record at offset %lld", (long long)view.offset);
            return rc;
        }
    }
    return iterator.rc;
}

void
control__boot_read(struct control *control, const struct response *response)
{
    struct control_boot *boot = &control->boot;
    const uint8_t *at = boot->piece;
    size_t left = response->bytes;
    uint64_t before = control->metadata.next_read;
    struct diag_trail trail = {0};
    enum rc rc = (enum rc)response->rc;

    CHECK(boot->state == BOOT_WAIT);
    CHECK(response->rc != RC_OK || left <= CONTROL_READ_BYTES);
    while (rc == RC_OK && left > 0) {
        struct record_batch_info info;
        rc = record_batch_read(at, left, &info);
        if (rc == RC_OK)
            rc = apply_batch(control, at, &info, &trail);
        if (rc != RC_OK)
            break;
        control->metadata.next_read = (uint64_t)record_batch_last_offset(&info) + 1;
        at += info.batch_bytes;
        left -= info.batch_bytes;
    }
    /* A piece without a whole batch would be asked for again and again. */
    if (rc == RC_OK && control->metadata.next_read == before)
        rc = RC_CORRUPT;
    if (rc != RC_OK) {
        diag_trail_add(&trail, "%s", rc_text(rc));
        control__fail(control, "metadata log", &trail);
        return;
    }
    boot->state = BOOT_READ;
}

/* ---- the cluster's name */

static void
name_cluster(struct control *control)
{
    struct topic_record record = {.kind = TOPIC_RECORD_CLUSTER,
                                  .wall_ms = clock_wall_ms(control->config.clock)};
    struct operation_request request = {
        .kind = OPERATION_CLUSTER, .call = CONTROL_NONE, .record = &record};

    if (control->store.has_cluster) {
        control__cluster_text(control);
        control__broker_count(control); /* all of the metadata log is known */
        control->boot.state = BOOT_OPEN;
        control->work++;
        return;
    }
    if (control->operation_count > 0)
        return; /* its record is being written */
    if (control->metadata.failed || control->boot.cluster_asked) {
        control__fail(control, "the cluster's id could not be written", NULL);
        return;
    }
    put_u64_be(record.id, clock_random(control->config.clock));
    put_u64_be(record.id + 8, clock_random(control->config.clock));
    record.id[6] = (uint8_t)((record.id[6] & 0x0f) | 0x40);
    record.id[8] = (uint8_t)((record.id[8] & 0x3f) | 0x80);
    control->boot.cluster_asked = control__operation_start(control, &request) != CONTROL_NONE;
}

/* ---- partitions */

static void
open_partitions(struct control *control)
{
    struct control_boot *boot = &control->boot;
    const struct topic *topic;

    while ((topic = topic_store_next(&control->store, boot->topic)) != NULL) {
        if (topic->idx != boot->topic)
            boot->partition = 0;
        boot->topic = topic->idx;
        for (; boot->partition < topic->partition_count; boot->partition++) {
            uint32_t place = topic_store_partition(&control->store, topic, boot->partition);
            CHECK(place != TOPIC_NONE);
            if (!control__open(control, place, CONTROL_NONE))
                return;
            boot->outstanding++;
        }
        boot->partition = 0;
        boot->topic++;
    }
    if (boot->outstanding > 0)
        return;
    boot->state = BOOT_PRUNE;
    boot->tile = 0;
    control->work++;
}

void
control__boot_opened(struct control *control, uint32_t place, const struct response *response)
{
    if (place == CONTROL_NONE) {
        CHECK(control->boot.state == BOOT_OPENING_LOG);
        if (response->rc != RC_OK) {
            fail_rc(control, "open the metadata log", (enum rc)response->rc);
            return;
        }
        control->metadata.slot = response->slot;
        control->boot.state = BOOT_OFFSETS;
        return;
    }
    CHECK(control->boot.outstanding > 0);
    control->boot.outstanding--;
    if (response->rc == RC_OK)
        return;
    const struct topic_partition *partition = &control->store.partitions[place];
    control__count(&control->gauges.partitions_failed, 1);
    diag_error("partition_not_open",
               "topic=%s partition=%u reason=%s doing=serve_the_others",
               control->store.topics[partition->topic_idx].name,
               partition->partition,
               rc_name((enum rc)response->rc));
}

static void
prune(struct control *control)
{
    struct control_boot *boot = &control->boot;
    struct request request = {.kind = REQUEST_PRUNE, .ctx = control__tag(TAG_PRUNE, 0, 0)};

    for (; boot->tile < control->config.log_tile_count; boot->tile++) {
        if (!control__log_send(control, boot->tile, &request))
            return;
        boot->outstanding++;
    }
    if (boot->outstanding > 0)
        return;
    boot->state = BOOT_TRANSACTIONS;
    control->work++;
}

/* A producer that goes on after our death must not be refused: before any door serves, the
 * partitions of open transactions know of them again. */
static void
resume_transactions(struct control *control)
{
    if (!control__transactions_resumed(control))
        return;
    control->boot.topic = 0;
    control->boot.state = BOOT_PUBLISH;
    control->work++;
}

/* False: no room now. */
static bool
publish_quotas(struct control *control)
{
    struct control_boot *boot = &control->boot;
    const struct quota_entity *fallback = &control->store.quotas.fallback;

    if (!boot->quotas_begun && fallback->set != 0 && !control__publish_quota(control, fallback))
        return false;
    boot->quotas_begun = true;
    for (;;) {
        uint32_t cursor = boot->quota;
        const struct quota_entity *entity = quota_entities_next(&control->store.quotas, &cursor);
        if (entity == NULL)
            return true;
        if (!control__publish_quota(control, entity))
            return false;
        boot->quota = cursor;
    }
}

static void
publish(struct control *control)
{
    struct control_boot *boot = &control->boot;
    const struct topic *topic;

    while ((topic = topic_store_next(&control->store, boot->topic)) != NULL) {
        if (!control__publish_topic(control, topic, topic->partition_count))
            return;
        boot->topic = topic->idx + 1;
    }
    if (!publish_quotas(control))
        return;
    boot->state = BOOT_DONE;
    control->work++;
    /* Release pairs with control_state(). */
    atomic_store_explicit(&control->state, CONTROL_READY, memory_order_release);
}

void
control__boot_poll(struct control *control)
{
    switch (control->boot.state) {
    case BOOT_BEGIN:
        if (control__open(control, CONTROL_NONE, CONTROL_NONE))
            control->boot.state = BOOT_OPENING_LOG;
        break;
    case BOOT_OFFSETS:
        ask_offsets(control);
        break;
    case BOOT_READ:
        ask_piece(control);
        break;
    case BOOT_CLUSTER:
        name_cluster(control);
        break;
    case BOOT_OPEN:
        open_partitions(control);
        break;
    case BOOT_PRUNE:
        prune(control);
        break;
    case BOOT_TRANSACTIONS:
        resume_transactions(control);
        break;
    case BOOT_PUBLISH:
        publish(control);
        break;
    case BOOT_OPENING_LOG:
    case BOOT_WAIT:
    case BOOT_DONE:
    case BOOT_FAILED:
        break;
    }
}
