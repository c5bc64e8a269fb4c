/* Construction of the native door: net tiles, the control exchange, and the rings between them.
 *
 * The doors' share of the budget is a sixteenth of it (of a small one, a twenty-fourth), divided by
 * the net tiles; what a small budget cannot pay shrinks the door's limits, unless the user set
 * them. */
#include "engine/app/engine_internal.h"

#include "engine/base/check.h"

#include <stdio.h>

#define ENGINE_NATIVE_SHARE_MIN (10 * MIB)
#define ENGINE_NATIVE_SMALL (512 * MIB)
#define ENGINE_NATIVE_SHARE_MAX (256 * MIB)
/* A batch in the byte ring is at most a datagram; a message is read from its own buffer. */
#define ENGINE_BYTES_MIN ((uint64_t)MIB)
#define ENGINE_BYTES_MAX (4 * MIB)
#define ENGINE_FORWARD_SLOTS 512u
#define ENGINE_FORWARD_BYTES (512 * KIB)

const char *
engine__door_name(uint32_t door_idx)
{
    static const char *const names[DOOR_TILES_MAX] = {"net0",
                                                      "net1",
                                                      "net2",
                                                      "net3",
                                                      "net4",
                                                      "net5",
                                                      "net6",
                                                      "net7",
                                                      "net8",
                                                      "net9",
                                                      "net10",
                                                      "net11",
                                                      "net12",
                                                      "net13",
                                                      "net14",
                                                      "net15"};

    CHECK(door_idx < DOOR_TILES_MAX);
    return names[door_idx];
}

/* ---- rings ---- */

static enum rc
native_take_grant_rings(struct engine *engine, struct diag_trail *trail)
{
    uint32_t doors = engine->layout.net_count;
    size_t grant_bytes = ring_footprint(sizeof(struct door_grant), DOOR_GRANT_RING_SLOTS);
    size_t event_bytes = ring_footprint(sizeof(struct door_event), DOOR_GRANT_RING_SLOTS);
    size_t head_bytes = round_up(sizeof(struct engine_grant_rings), BASE_LINE_BYTES);
    void *memory;

    enum rc rc = mem_arena_take(&engine->arena,
                                "rings exchange to net",
                                doors * (head_bytes + grant_bytes + event_bytes),
                                &memory,
                                trail);
    if (rc != RC_OK)
        return rc;
    uint8_t *at = (uint8_t *)memory + doors * head_bytes;
    engine->grant_rings = memory;
    for (uint32_t i = 0; i < doors; i++) {
        struct engine_grant_rings *rings = &engine->grant_rings[i];
        ring_init(&rings->grants, at, sizeof(struct door_grant), DOOR_GRANT_RING_SLOTS);
        at += grant_bytes;
        ring_init(&rings->events, at, sizeof(struct door_event), DOOR_GRANT_RING_SLOTS);
        at += event_bytes;
    }
    return RC_OK;
}

static enum rc
native_take_forwards(struct engine *engine, struct diag_trail *trail)
{
    uint32_t pairs = engine->layout.net_count * engine->layout.net_count;
    size_t head_bytes = round_up(sizeof(struct engine_forward), BASE_LINE_BYTES);
    size_t ring_bytes = ring_footprint(DOOR_FORWARD_SLOT_BYTES, ENGINE_FORWARD_SLOTS);
    void *memory;

    if (engine->layout.net_count == 1)
        return RC_OK;
    enum rc rc = mem_arena_take(&engine->arena,
                                "rings net to net",
                                pairs * (head_bytes + ring_bytes + ENGINE_FORWARD_BYTES),
                                &memory,
                                trail);
    if (rc != RC_OK)
        return rc;
    uint8_t *at = (uint8_t *)memory + pairs * head_bytes;
    engine->forwards = memory;
    for (uint32_t i = 0; i < pairs; i++) {
        ring_init(&engine->forwards[i].ring, at, DOOR_FORWARD_SLOT_BYTES, ENGINE_FORWARD_SLOTS);
        at += ring_bytes;
        byte_ring_init(&engine->forwards[i].bytes, at, ENGINE_FORWARD_BYTES);
        at += ENGINE_FORWARD_BYTES;
    }
    return RC_OK;
}

/* The byte rings of one door, one to each log tile. */
static enum rc
native_take_bytes(struct engine *engine,
                  uint32_t door_idx,
                  uint64_t ring_bytes,
                  struct diag_trail *trail)
{
    uint32_t logs = engine->layout.log_count;
    char name[MEM_NAME_MAX];
    void *memory;

    snprintf(name, sizeof(name), "bytes %s to logs", engine__door_name(door_idx));
    enum rc rc = mem_arena_take(&engine->arena, name, logs * ring_bytes, &memory, trail);
    for (uint32_t l = 0; rc == RC_OK && l < logs; l++)
        byte_ring_init(&engine->bytes[l][door_idx], (uint8_t *)memory + l * ring_bytes, ring_bytes);
    return rc;
}

/* ---- doors ---- */

static void
native_limit(uint32_t *limit, uint64_t setting)
{
    if (setting != 0)
        *limit = (uint32_t)setting;
}

static void
native_limits(const struct engine *engine, struct door_limits *limits, uint64_t share_bytes)
{
    const struct settings *settings = engine->settings;

    door_limits_default(limits, share_bytes);
    native_limit(&limits->sessions_max, settings->native_sessions_max);
    native_limit(&limits->packets_max, settings->native_packets_max);
    native_limit(&limits->reorder_max, settings->native_reorder_max);
    native_limit(&limits->messages_max, settings->native_messages_max);
    native_limit(&limits->reads_max, settings->native_reads_max);
    native_limit(&limits->produces_max, settings->native_produces_max);
    limits->window = (uint32_t)settings->native_window;
    limits->subscriptions_max = (uint32_t)settings->native_subscriptions_max;
    limits->calls_max = (uint32_t)settings->native_calls_max;
    limits->topics_max = (uint32_t)settings->topics_max;
    limits->partitions_max = (uint32_t)settings->partitions_max;
    limits->reorder_max = min_u32(limits->reorder_max, limits->packets_max);
    limits->idle_ns = (uint64_t)settings->native_idle_ms * NS_PER_MS;
}

static void
native_door_rings(struct engine *engine, uint32_t door_idx, struct door_config *config)
{
    uint32_t requester = engine__door_requester(engine, door_idx);
    struct waker *control_waker = &engine->cores[engine__control_core(engine)].waker;
    uint32_t doors = engine->layout.net_count;

    for (uint32_t l = 0; l < engine->layout.log_count; l++)
        config->logs[l] = (struct door_log_link){
            .requests = &engine->log_links[l][requester].requests,
            .responses = &engine->log_links[l][requester].responses,
            .waker = &engine->cores[engine->log_core[l]].waker,
            .bytes = &engine->bytes[l][door_idx],
        };
    config->control_requests = &engine->control_links[requester].requests;
    config->control_responses = &engine->control_links[requester].responses;
    config->control_waker = control_waker;
    config->grants = &engine->grant_rings[door_idx].grants;
    config->events = &engine->grant_rings[door_idx].events;
    config->exchange_waker = control_waker;
    for (uint32_t i = 0; i < doors; i++) {
        if (i == door_idx)
            continue;
        struct engine_forward *out = &engine->forwards[door_idx * doors + i];
        struct engine_forward *in = &engine->forwards[i * doors + door_idx];
        config->forward[i] = &out->ring;
        config->forward_bytes[i] = &out->bytes;
        config->forwarded[i] = &in->ring;
        config->forwarded_bytes[i] = &in->bytes;
        config->door_wakers[i] = &engine->cores[engine->net_core[i]].waker;
    }
}

static enum rc
native_wire_door(struct engine *engine,
                 uint32_t door_idx,
                 uint64_t share_bytes,
                 struct diag_trail *trail)
{
    uint32_t core_idx = engine->net_core[door_idx];
    struct door_config config = {
        .door_idx = door_idx,
        .requester = (uint16_t)engine__door_requester(engine, door_idx),
        .io_tile = engine->net_tile[door_idx],
        .io = engine->ios[core_idx],
        .clock = engine->clocks[core_idx],
        .nic = engine->native->nics[door_idx],
        .log_tile_count = engine->layout.log_count,
        .door_count = engine->layout.net_count,
        .auth_none_allowed = engine->settings->native_auth == SETTINGS_NATIVE_AUTH_NONE,
    };
    void *memory;

    native_limits(engine, &config.limits, share_bytes);
    native_door_rings(engine, door_idx, &config);
    bytes_copy(config.cookie_secret,
               sizeof(config.cookie_secret),
               engine->native->cookie_secret,
               sizeof(engine->native->cookie_secret));
    enum rc rc = engine__take_metrics(
        engine, METRICS_NET, engine__door_name(door_idx), &engine->net_metrics[door_idx], trail);
    if (rc != RC_OK)
        return rc;
    config.metrics = engine->net_metrics[door_idx];
    if (engine->has_trace)
        config.trace = &engine->traces[core_idx];
    rc = mem_arena_take(
        &engine->arena, engine__door_name(door_idx), door_footprint(&config), &memory, trail);
    if (rc != RC_OK)
        return rc;
    return door_init(memory, &config, &engine->doors[door_idx], trail);
}

/* ---- the exchange ---- */

static uint32_t
native_connections(const struct engine *engine, uint32_t door_sessions_max)
{
    return (uint32_t)min_u64((uint64_t)door_sessions_max * engine->layout.net_count,
                             EXCHANGE_CONNECTIONS_MAX);
}

static enum rc
native_wire_exchange(struct engine *engine, uint64_t share_bytes, struct diag_trail *trail)
{
    struct door_limits limits;
    const struct settings *settings = engine->settings;
    const struct engine_native *native = engine->native;
    uint32_t core_idx = engine__control_core(engine);
    struct exchange_config config = {
        .io_tile = ENGINE_EXCHANGE_TILE,
        .io = engine->ios[core_idx],
        .tcp = engine->tcp,
        .clock = engine->clocks[core_idx],
        .listener_fd = native->listener_fd,
        .door_count = engine->layout.net_count,
        .datagram_bytes_max = native->nics[0]->datagram_bytes_max,
        .window = (uint16_t)settings->native_window,
        .idle_ms = (uint32_t)settings->native_idle_ms,
        .broker_id = settings->broker_id,
        .auth = settings->native_auth == SETTINGS_NATIVE_AUTH_NONE ? WIRE_AUTH_NONE
                                                                   : WIRE_AUTH_AEAD,
        .tls_certificate = settings->native_tls_certificate,
        .tls_key = settings->native_tls_key,
        .credentials = settings->native_credentials,
        .is_loopback = native->is_loopback,
        .is_private = native->is_private,
    };

    native_limits(engine, &limits, share_bytes);
    config.door_sessions_max = limits.sessions_max;
    config.connections_max = native_connections(engine, limits.sessions_max);
    bytes_copy(config.ip, sizeof(config.ip), native->data_ip, sizeof(native->data_ip));
    for (uint32_t i = 0; i < engine->layout.net_count; i++)
        config.doors[i] = (struct exchange_door_link){
            .grants = &engine->grant_rings[i].grants,
            .events = &engine->grant_rings[i].events,
            .waker = &engine->cores[engine->net_core[i]].waker,
            .port = native->nics[i]->port,
        };
    enum rc rc = engine__take_metrics(
        engine, METRICS_CONTROL, "exchange", &engine->exchange_metrics, trail);
    return rc == RC_OK ? exchange_create(&config, &engine->exchange, trail) : rc;
}

enum rc
engine__wire_native(struct engine *engine, struct diag_trail *trail)
{
    uint64_t parts = engine->memory_bytes < ENGINE_NATIVE_SMALL ? 24 : 16;
    uint64_t share_bytes = min_u64(max_u64(engine->memory_bytes / parts, ENGINE_NATIVE_SHARE_MIN),
                                   ENGINE_NATIVE_SHARE_MAX) /
                           engine->layout.net_count;
    uint64_t ring_bytes = engine->settings->native_ring_bytes;

    if (ring_bytes == 0) {
        /* A quarter of the share goes to the byte rings, a power of two each. */
        ring_bytes = max_u64(share_bytes / 4 / engine->layout.log_count, ENGINE_BYTES_MIN);
        ring_bytes = min_u64(ring_bytes, ENGINE_BYTES_MAX);
    }
    ring_bytes = UINT64_C(1) << (63 - (uint32_t)__builtin_clzll(ring_bytes));
    enum rc rc = native_take_grant_rings(engine, trail);
    if (rc == RC_OK)
        rc = native_take_forwards(engine, trail);
    for (uint32_t i = 0; rc == RC_OK && i < engine->layout.net_count; i++)
        rc = native_take_bytes(engine, i, ring_bytes, trail);
    for (uint32_t i = 0; rc == RC_OK && i < engine->layout.net_count; i++)
        rc = native_wire_door(engine, i, share_bytes * 3 / 4, trail);
    return rc == RC_OK ? native_wire_exchange(engine, share_bytes * 3 / 4, trail) : rc;
}
