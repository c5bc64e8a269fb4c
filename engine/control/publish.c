/* Snapshots of topics for the gates. One snapshot is shared by all gates and counted; each gate
 * gives it back with REQUEST_TOPIC_SEEN. A gate that is slow to do so holds up publishing
 * (CONTROL_SNAPSHOTS_MAX), never its answers. */
#include "engine/control/control_internal.h"

/* In front of every snapshot that a gate sees. */
struct counted {
    uint32_t references;
    uint32_t padding;
};
_Static_assert(sizeof(struct counted) % _Alignof(struct topic_snapshot) == 0, "follows it");
_Static_assert(sizeof(struct counted) % _Alignof(struct quota_snapshot) == 0, "follows it");

static struct counted *
counted(const void *snapshot)
{
    return (struct counted *)((uintptr_t)snapshot - sizeof(struct counted));
}

/* Cleared memory for a snapshot that we hold; NULL: no room now. */
static void *
snapshot_take(struct control *control, uint64_t bytes)
{
    uint64_t all = sizeof(struct counted) + bytes;
    struct counted *memory = all <= BUDDY_BLOCK_MAX ? buddy_take(&control->pool, all) : NULL;

    if (memory == NULL) {
        control->retry = true;
        return NULL;
    }
    memset(memory, 0, all);
    memory->references = 1;
    return memory + 1;
}

struct topic_snapshot *
control__snapshot_new(struct control *control, const struct topic *topic, uint32_t count)
{
    struct topic_snapshot *snapshot = snapshot_take(
        control, sizeof(struct topic_snapshot) + sizeof(struct partition_ref) * (uint64_t)count);

    if (snapshot == NULL)
        return NULL;
    snapshot->name_count = topic->name_count;
    snapshot->partition_count = count;
    snapshot->batch_bytes_max = (uint32_t)topic_config_number(
        &topic->config, &control->config.broker, TOPIC_CONFIG_MAX_MESSAGE_BYTES);
    snapshot->is_memory = topic_config_number(&topic->config,
                                              &control->config.broker,
                                              TOPIC_CONFIG_DURABILITY) == TOPIC_DURABILITY_MEMORY;
    snapshot->is_closed = control__internal_log_owns(control, topic);
    bytes_copy(snapshot->id, sizeof(snapshot->id), topic->id, sizeof(topic->id));
    bytes_copy(snapshot->name, sizeof(snapshot->name), topic->name, topic->name_count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = topic_store_partition(&control->store, topic, i);
        CHECK(place != TOPIC_NONE);
        const struct control_place *entry = control__place(control, place);
        bool open = entry->slot != UINT32_MAX;
        snapshot->partitions[i] = (struct partition_ref){
            .incarnation = open ? entry->incarnation : 0,
            .slot = open ? entry->slot : 0,
            .log_tile = entry->log_tile,
        };
    }
    return snapshot;
}

void
control__snapshot_keep(struct topic_snapshot *snapshot)
{
    counted(snapshot)->references++;
}

void
control__snapshot_let_go(struct control *control, const void *snapshot)
{
    struct counted *memory = counted(snapshot);

    CHECK(memory->references > 0);
    if (--memory->references == 0)
        buddy_give(&control->pool, memory);
}

/* Room for a snapshot in the rings of gates [0, count), beside the answers that are owed. */
static bool
gates_have_room(struct control *control, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (control->backlogs[i].snapshots >= CONTROL_SNAPSHOTS_MAX ||
            ring_free(control->config.gates[i].responses) == 0)
            return false;
    }
    return true;
}

/* Puts what `about` says into every gate's ring and lets go of the snapshot; false: no room now,
 * the caller keeps it. */
static bool
send_snapshot(struct control *control, const struct response *about, const void *snapshot)
{
    /* While stopping the gates are drained: they need no topics, and might not give them back. */
    uint32_t count = control_state(control) == CONTROL_STOPPING ? 0 : control->config.gate_count;

    if (!gates_have_room(control, count)) {
        control->retry = true;
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct response response = *about;
        response.request_kind = REQUEST_TOPIC_SEEN;
        response.ctx = (uint64_t)(uintptr_t)snapshot;
        counted(snapshot)->references++;
        control->backlogs[i].snapshots++;
        control->gate_notify[i] = true;
        CHECK(ring_push(control->config.gates[i].responses, &response, 1) == 1);
    }
    control__snapshot_let_go(control, snapshot);
    control__count(&control->counters.snapshots, 1);
    control->work++;
    return true;
}

bool
control__publish(struct control *control, struct topic_snapshot *snapshot)
{
    const struct response response = {.kind = RESPONSE_TOPIC, .u.topic = snapshot};

    return send_snapshot(control, &response, snapshot);
}

bool
control__publish_quota(struct control *control, const struct quota_entity *entity)
{
    struct quota_snapshot *snapshot = snapshot_take(control, sizeof(*snapshot));
    const struct response response = {.kind = RESPONSE_QUOTA, .u.quota = snapshot};

    if (snapshot == NULL)
        return false;
    snapshot->entity = *entity;
    snapshot->burst_ns = control->config.quota_window_ns;
    snapshot->pause_max_ns = control->config.quota_window_ns * control->config.quota_window_num;
    if (send_snapshot(control, &response, snapshot))
        return true;
    control__snapshot_let_go(control, snapshot);
    return false;
}

bool
control__publish_topic(struct control *control, const struct topic *topic, uint32_t count)
{
    struct topic_snapshot *snapshot = control__snapshot_new(control, topic, count);

    if (snapshot == NULL)
        return false;
    if (!control__publish(control, snapshot)) {
        control__snapshot_let_go(control, snapshot);
        return false;
    }
    control->topics[topic->idx] = (struct control_topic){
        .first_incarnation =
            control->store.partitions[topic_store_partition(&control->store, topic, 0)].incarnation,
        .visible_count = count,
    };
    return true;
}
