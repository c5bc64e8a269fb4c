/* Requests to log tiles. Each tile has a number of credits far below its response ring's size, so
 * an answer always finds a slot; who finds none waits and offers the request again at a later poll.
 * Answers name what they are about in their ctx. */
#include "engine/control/control_internal.h"

#include "engine/topic/topic_name.h"

_Static_assert(CONTROL_LOG_CREDITS < REQUEST_RING_SLOTS, "answers always find a slot");
_Static_assert(CONTROL_OPENS_MAX <= CONTROL_TAG_OBJECT_NONE, "an object of a tag has 24 bits");

bool
control__log_send(struct control *control, uint32_t log_tile, const struct request *request)
{
    CHECK(log_tile < control->config.log_tile_count);
    struct control_link *link = &control->logs[log_tile];
    struct request copy = *request;

    copy.requester = REQUESTER_CONTROL;
    if (link->outstanding >= CONTROL_LOG_CREDITS ||
        ring_push(control->config.logs[log_tile].requests, &copy, 1) == 0) {
        control->retry = true;
        return false;
    }
    link->outstanding++;
    link->notify = true;
    control->work++;
    return true;
}

void
control__logs_notify(struct control *control)
{
    for (uint32_t i = 0; i < control->config.log_tile_count; i++) {
        if (!control->logs[i].notify)
            continue;
        control->logs[i].notify = false;
        if (control->config.logs[i].waker != NULL)
            waker_notify(control->config.logs[i].waker);
    }
}

struct control_place *
control__place(struct control *control, uint32_t place)
{
    CHECK(place < control->store.partitions_touched);
    struct control_place *entry = &control->places[place];
    const struct topic_partition *partition = &control->store.partitions[place];

    if (entry->incarnation != partition->incarnation) {
        const struct topic *topic = &control->store.topics[partition->topic_idx];
        *entry = (struct control_place){
            .incarnation = partition->incarnation,
            .slot = UINT32_MAX,
            .leader_epoch = -1,
            .rc = RC_NOT_FOUND,
            .log_tile = (uint16_t)topic_partition_tile(
                topic->id, partition->partition, control->config.log_tile_count),
        };
    }
    return entry;
}

static struct log_partition_config
metadata_config(void)
{
    return (struct log_partition_config){
        .incarnation = TOPIC_METADATA_INCARNATION,
        .durability = LOG_DURABILITY_DEVICE,
        .batch_bytes_max = 1u << 20,
        .segment_bytes = 16 * MIB,
        .segment_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
    };
}

struct log_partition_config
control__partition_config(const struct control *control, uint32_t place)
{
    const struct topic_partition *partition = &control->store.partitions[place];
    const struct topic *topic = &control->store.topics[partition->topic_idx];
    const struct topic_config *own = &topic->config;
    const struct topic_config *broker = &control->config.broker;
    struct log_partition_config config = {
        .incarnation = partition->incarnation,
        .partition = partition->partition,
        .durability = topic_config_number(own, broker, TOPIC_CONFIG_DURABILITY) ==
                              TOPIC_DURABILITY_MEMORY
                          ? LOG_DURABILITY_MEMORY
                          : LOG_DURABILITY_DEVICE,
        .log_append_time = topic_config_number(own, broker, TOPIC_CONFIG_TIMESTAMP_TYPE) ==
                           TOPIC_TIMESTAMP_APPEND,
        .batch_bytes_max = (uint32_t)topic_config_number(
            own, broker, TOPIC_CONFIG_MAX_MESSAGE_BYTES),
        .segment_bytes = (uint64_t)topic_config_number(own, broker, TOPIC_CONFIG_SEGMENT_BYTES),
        .segment_ms = topic_config_number(own, broker, TOPIC_CONFIG_SEGMENT_MS),
        .retention_ms = topic_config_number(own, broker, TOPIC_CONFIG_RETENTION_MS),
        .retention_bytes = topic_config_number(own, broker, TOPIC_CONFIG_RETENTION_BYTES),
        .timestamp_before_max_ms = topic_config_number(
            own, broker, TOPIC_CONFIG_TIMESTAMP_BEFORE_MAX_MS),
        .timestamp_after_max_ms = topic_config_number(
            own, broker, TOPIC_CONFIG_TIMESTAMP_AFTER_MAX_MS),
    };

    int64_t policy = topic_config_number(own, broker, TOPIC_CONFIG_CLEANUP_POLICY);
    config.is_compacted = policy != TOPIC_CLEANUP_DELETE;
    config.keeps_old = policy == TOPIC_CLEANUP_COMPACT;
    config.dirty_ratio_millionths = (uint32_t)topic_config_number(
        own, broker, TOPIC_CONFIG_MIN_CLEANABLE_DIRTY_RATIO);
    config.delete_retention_ms = topic_config_number(own, broker, TOPIC_CONFIG_DELETE_RETENTION_MS);
    config.compaction_lag_min_ms = topic_config_number(
        own, broker, TOPIC_CONFIG_MIN_COMPACTION_LAG_MS);
    config.compaction_lag_max_ms = topic_config_number(
        own, broker, TOPIC_CONFIG_MAX_COMPACTION_LAG_MS);
    bytes_copy(config.topic_id, sizeof(config.topic_id), topic->id, sizeof(topic->id));
    return config;
}

bool
control__open(struct control *control, uint32_t place, uint32_t operation)
{
    uint32_t log_tile = place == CONTROL_NONE ? 0 : control__place(control, place)->log_tile;
    uint32_t idx = slab_take(&control->opens);

    if (idx == SLAB_NONE) {
        control->retry = true;
        return false;
    }
    struct control_open *open = slab_at(&control->opens, idx);
    *open = (struct control_open){
        .operation = operation,
        .place = place,
        .config = place == CONTROL_NONE ? metadata_config()
                                        : control__partition_config(control, place),
    };
    struct request request = {
        .kind = REQUEST_OPEN,
        .incarnation = open->config.incarnation,
        .ctx = control__tag(TAG_OPEN, idx, 0),
        .u.open.config = &open->config,
    };
    if (!control__log_send(control, log_tile, &request)) {
        slab_give(&control->opens, idx);
        return false;
    }
    return true;
}

bool
control__configure(struct control *control, uint32_t place, uint32_t operation)
{
    const struct control_place *entry = control__place(control, place);
    uint32_t idx = slab_take(&control->opens);

    if (idx == SLAB_NONE) {
        control->retry = true;
        return false;
    }
    struct control_open *open = slab_at(&control->opens, idx);
    *open = (struct control_open){
        .operation = operation,
        .place = place,
        .config = control__partition_config(control, place),
    };
    struct request request = {
        .kind = REQUEST_CONFIGURE,
        .slot = entry->slot,
        .incarnation = entry->incarnation,
        .ctx = control__tag(TAG_CONFIGURE, idx, 0),
        .u.open.config = &open->config,
    };
    if (!control__log_send(control, entry->log_tile, &request)) {
        slab_give(&control->opens, idx);
        return false;
    }
    return true;
}

/* ---- answers */

static void
open_ended(struct control *control, uint32_t idx, const struct response *response)
{
    struct control_open *open = slab_at(&control->opens, idx);
    uint32_t operation = open->operation;
    uint32_t place = open->place;

    slab_give(&control->opens, idx);
    if (operation == CONTROL_NONE)
        control__boot_opened(control, place, response);
    else
        control__operation_opened(control, operation, (enum rc)control__place(control, place)->rc);
}

/* An open partition is asked for its leader epoch; one that has no slot has none. */
static void
opened(struct control *control, uint32_t log_tile, uint32_t idx, const struct response *response)
{
    struct control_open *open = slab_at(&control->opens, idx);

    if (open->place == CONTROL_NONE) {
        open_ended(control, idx, response);
        return;
    }
    struct control_place *entry = control__place(control, open->place);
    entry->rc = response->rc;
    entry->slot = response->rc == RC_OK ? response->slot : UINT32_MAX;
    if (response->rc != RC_OK) {
        open_ended(control, idx, response);
        return;
    }
    struct request request = {
        .kind = REQUEST_OFFSETS,
        .slot = entry->slot,
        .incarnation = entry->incarnation,
        .ctx = control__tag(TAG_OPEN_OFFSETS, idx, 0),
    };
    /* The answer just taken gave a credit back, and the ring has more slots than there are credits.
     */
    CHECK(control__log_send(control, log_tile, &request));
}

static void
offsets_known(struct control *control, uint32_t idx, const struct response *response)
{
    struct control_open *open = slab_at(&control->opens, idx);
    struct control_place *entry = control__place(control, open->place);

    entry->rc = response->rc;
    if (response->rc == RC_OK)
        entry->leader_epoch = response->leader_epoch;
    open_ended(control, idx, response);
}

static void
configured(struct control *control, uint32_t idx, const struct response *response)
{
    const struct control_open *open = slab_at(&control->opens, idx);
    uint32_t operation = open->operation;

    slab_give(&control->opens, idx);
    control__operation_configured(control, operation, (enum rc)response->rc);
}

static void
take_response(struct control *control, uint32_t log_tile, const struct response *response)
{
    uint32_t object = (uint32_t)(response->ctx >> 32) & 0xffffffu;
    uint32_t item = (uint32_t)response->ctx;

    switch ((enum control_tag)(response->ctx >> 56)) {
    case TAG_METADATA_APPEND:
        control__metadata_appended(control, response);
        return;
    case TAG_METADATA_READ:
        control__boot_read(control, response);
        return;
    case TAG_METADATA_OFFSETS:
        control__boot_offsets(control, response);
        return;
    case TAG_OPEN:
        opened(control, log_tile, object, response);
        return;
    case TAG_OPEN_OFFSETS:
        offsets_known(control, object, response);
        return;
    case TAG_CONFIGURE:
        configured(control, object, response);
        return;
    case TAG_DROP:
        control__operation_dropped(control, object);
        return;
    case TAG_PRUNE:
        if (response->rc != RC_OK)
            diag_warn("partitions_not_pruned",
                      "log_tile=%u reason=%s",
                      log_tile,
                      rc_name((enum rc)response->rc));
        control->boot.outstanding--;
        return;
    case TAG_INTERNAL_OFFSETS:
    case TAG_INTERNAL_READ:
        control__internal_log_answered(
            control, &control->internal[object], (enum control_tag)(response->ctx >> 56), response);
        return;
    case TAG_INTERNAL_APPEND:
        control__internal_log_appended(control, &control->internal[object], response);
        return;
    case TAG_INTERNAL_TRIM:
        if (response->rc != RC_OK)
            diag_warn("internal_log_not_trimmed", "reason=%s", rc_name((enum rc)response->rc));
        return;
    case TAG_ORDER:
        control__transactions_ordered(control, item, response);
        return;
    case TAG_CALL:
        control__call_answered(control, object, item, response);
        return;
    case TAG_STOP:
        if (response->rc != RC_OK)
            diag_error("log_tile_stop_failed",
                       "log_tile=%u reason=%s",
                       log_tile,
                       rc_name((enum rc)response->rc));
        control->stop_answered++;
        return;
    }
    CHECK(false);
}

void
control__logs_drain(struct control *control)
{
    struct response response;

    for (uint32_t i = 0; i < control->config.log_tile_count; i++) {
        for (uint32_t n = 0; n < CONTROL_RESPONSES_PER_POLL; n++) {
            if (ring_pop(control->config.logs[i].responses, &response, 1) == 0)
                break;
            control->work++;
            /* Control arms nothing, so there are no marks: everything answers a request. */
            CHECK(response.kind == RESPONSE_DONE);
            CHECK(control->logs[i].outstanding > 0);
            control->logs[i].outstanding--;
            take_response(control, i, &response);
        }
    }
}
