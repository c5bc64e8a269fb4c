/* Limits and memory of a door. */
#include "net/door/door_internal.h"

static void *
layout_take(struct door_layout *layout, uint64_t bytes, uint64_t align)
{
    layout->at = round_up(layout->at, align);
    void *at = layout->memory == NULL ? NULL : layout->memory + layout->at;
    layout->at += bytes;
    return at;
}

static void
layout_slab(struct door_layout *layout, struct slab *slab, size_t object_bytes, uint32_t count)
{
    uint32_t bytes = (uint32_t)round_up(object_bytes, 64);
    void *memory = layout_take(layout, slab_footprint(bytes, count), 64);

    if (memory != NULL)
        slab_init(slab, memory, bytes, count);
}

void
door_limits_default(struct door_limits *limits, uint64_t budget_bytes)
{
    /* Of 32 MiB: a quarter packets, a quarter batches in pieces, a quarter reads, the rest tables;
     * and never less than what one client needs. */
    uint64_t quarter = budget_bytes / 4;
    uint64_t packets = max_u64(quarter / 1536, 1024);

    *limits = (struct door_limits){
        .sessions_max = (uint32_t)min_u64(max_u64(budget_bytes / (32 * KIB), 64), 4096),
        .window = WIRE_SACK_BITS,
        .packets_max = (uint32_t)min_u64(packets, 65536),
        .reorder_max = (uint32_t)min_u64(packets / 2, 4096),
        .messages_max = (uint32_t)min_u64(max_u64(quarter / DOOR_MESSAGE_BYTES, 4), 16),
        .reads_max = (uint32_t)min_u64(max_u64(quarter / DOOR_READ_BYTES, 8), 256),
        .subscriptions_max = 64,
        .calls_max = 16,
        .produces_max = 3072,
        .topics_max = 4096,
        .partitions_max = 4096,
        .idle_ns = 10 * NS_PER_S,
    };
}

struct door_range {
    const char *name;
    uint64_t value;
    uint64_t min;
    uint64_t max;
};

enum rc
door_layout__check(const struct door_config *config, struct diag_trail *trail)
{
    const struct door_limits *limits = &config->limits;
    uint32_t frames_max = config->nic->datagram_bytes_max / DOOR_DATA_FRAME_MIN + 1;
    const struct door_range ranges[] = {
        {"native.sessions_max", limits->sessions_max, 1, 65536},
        {"native.window", limits->window, 1, WIRE_SACK_BITS},
        {"native.packets_max", limits->packets_max, 64, 1u << 20},
        {"native.reorder_max", limits->reorder_max, 1, limits->packets_max},
        {"native.messages_max", limits->messages_max, 2, 1024},
        {"native.reads_max", limits->reads_max, 1, 4096},
        {"native.subscriptions_max", limits->subscriptions_max, 1, 4096},
        {"native.calls_max", limits->calls_max, 1, 1024},
        {"native.produces_max", limits->produces_max, 2 * frames_max, 65536},
        {"topics_max", limits->topics_max, 1, 1u << 20},
        {"partitions_max", limits->partitions_max, 1, 1u << 24},
        {"native.idle_ms", limits->idle_ns, NS_PER_S, 86400 * NS_PER_S},
        {"log tiles", config->log_tile_count, 1, LOG_TILES_MAX},
        {"net tiles", config->door_count, 1, DOOR_TILES_MAX},
    };

    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
        if (ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)
            continue;
        diag_trail_add(trail,
                       "%s is %llu, allowed is %llu to %llu",
                       ranges[i].name,
                       (unsigned long long)ranges[i].value,
                       (unsigned long long)ranges[i].min,
                       (unsigned long long)ranges[i].max);
        return RC_INVALID;
    }
    return RC_OK;
}

static uint32_t
layout_buckets(uint32_t sessions_max)
{
    uint32_t count = 16;

    while (count < 2 * sessions_max)
        count *= 2;
    return count;
}

void
door_layout__place(struct door_layout *layout, const struct door_config *config, struct door *door)
{
    const struct door_limits *limits = &config->limits;
    uint32_t datagram_bytes = config->nic->datagram_bytes_max;
    uint32_t buckets = layout_buckets(limits->sessions_max);
    struct door nowhere;
    struct door *to = door == NULL ? &nowhere : door;

    to->bucket_mask = buckets - 1;
    to->session_stride = round_up(session_footprint(), 64);
    layout_slab(layout, &to->sessions, sizeof(struct door_session), limits->sessions_max);
    to->session_memory = layout_take(
        layout, (uint64_t)limits->sessions_max * to->session_stride, 64);
    to->buckets = layout_take(layout, (uint64_t)buckets * sizeof(uint32_t), 64);
    to->heap = layout_take(layout, (uint64_t)limits->sessions_max * sizeof(uint32_t), 64);
    layout_slab(layout, &to->produces, sizeof(struct door_produce), limits->produces_max);
    layout_slab(layout, &to->readers, sizeof(struct door_reader), 4 * limits->reads_max);
    layout_slab(layout, &to->read_buffers, 64, limits->reads_max);
    layout_slab(layout, &to->messages, 64, limits->messages_max);
    layout_slab(layout, &to->stashes, datagram_bytes, 4 * limits->messages_max);
    layout_slab(layout, &to->calls, sizeof(struct door_call), limits->calls_max);
    to->places = layout_take(layout,
                             (uint64_t)config->log_tile_count * limits->partitions_max *
                                 sizeof(struct door_place),
                             64);
    void *topics = layout_take(
        layout, topic_table_footprint(limits->topics_max, limits->partitions_max), 64);
    to->scratch = layout_take(layout, datagram_bytes, 64);
    void *pool = layout_take(
        layout, session_pool_footprint(limits->packets_max, datagram_bytes), 64);
    to->call_memory = layout_take(layout,
                                  (uint64_t)limits->calls_max *
                                      (DOOR_CALL_REQUEST_BYTES + DOOR_CALL_REPLY_BYTES),
                                  DOOR_ALIGN);
    to->read_memory = layout_take(
        layout, (uint64_t)limits->reads_max * DOOR_READ_BYTES, DOOR_ALIGN);
    to->message_memory = layout_take(
        layout, (uint64_t)limits->messages_max * DOOR_MESSAGE_BYTES, DOOR_ALIGN);
    if (door == NULL)
        return;
    topic_table_init(&to->topics,
                     topics,
                     limits->topics_max,
                     limits->partitions_max,
                     clock_random(config->clock));
    to->pool = session_pool_init(pool, limits->packets_max, limits->reorder_max, datagram_bytes);
}

uint64_t
door_footprint(const struct door_config *config)
{
    struct door_layout layout = {.at = sizeof(struct door)};

    door_layout__place(&layout, config, NULL);
    return round_up(layout.at, DOOR_ALIGN);
}
