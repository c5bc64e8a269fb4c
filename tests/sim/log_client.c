/* A scripted user of a log; see log_client.h. */
#include "log_client.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <string.h>

#define STARVED_NS (600 * NS_PER_S)

void
log_client_init(struct log_client *client, struct log_rig *rig)
{
    struct sim_rng *swarm = &rig->world->swarm;
    *client = (struct log_client){.rig = rig, .rng = &rig->world->workload};
    client->weights = (struct client_weights){
        .append = (uint32_t)sim_rng_between(swarm, 1, 100),
        .produce = sim_rng_chance(swarm, 700000) ? (uint32_t)sim_rng_between(swarm, 1, 100) : 0,
        .read = (uint32_t)sim_rng_between(swarm, 0, 30),
        .open = (uint32_t)sim_rng_between(swarm, 1, 10),
        .trim = sim_rng_chance(swarm, 500000) ? (uint32_t)sim_rng_between(swarm, 1, 10) : 0,
        .drop = sim_rng_chance(swarm, 500000) ? (uint32_t)sim_rng_between(swarm, 1, 4) : 0,
    };
    client->partitions_max = (uint32_t)sim_rng_between(swarm, 1, 12);
    client->think_ns = sim_rng_between(swarm, 1, sim_rng_chance(swarm, 500000) ? 2000 : 500000);
    uint64_t bytes = min_u64(rig->options.journal_file_bytes / 2,
                             rig->options.slab_ring_bytes / 4) -
                     2048;
    client->batch_bytes_max = (uint32_t)(sim_rng_chance(swarm, 500000) ? bytes : 4096);
    if (rig->options.compacts) { /* few partitions and seconds, so that segments fill and are met */
        client->partitions_max = 1 + client->partitions_max % 3;
        client->think_ns = max_u64(client->think_ns, 10 * NS_PER_MS);
        client->batch_bytes_max = (uint32_t)bytes;
    }
}

/* ---- partitions ---- */

static bool
is_usable(const struct model_partition *partition)
{
    return partition->slot != UINT32_MAX && !partition->refused &&
           partition->drop_submit == MODEL_NEVER;
}

/* A usable partition by chance, or UINT32_MAX. */
static uint32_t
pick_partition(struct log_client *client)
{
    const struct log_model *model = client->rig->model;
    if (model->partition_count == 0)
        return UINT32_MAX;
    uint32_t first = (uint32_t)sim_rng_below(client->rng, model->partition_count);
    for (uint32_t i = 0; i < model->partition_count; i++) {
        uint32_t idx = (first + i) % model->partition_count;
        if (is_usable(&model->partitions[idx]))
            return idx;
    }
    return UINT32_MAX;
}

static uint32_t
living_partitions(const struct log_client *client)
{
    const struct log_model *model = client->rig->model;
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->partition_count; i++)
        count += model->partitions[i].drop_submit == MODEL_NEVER;
    return count;
}

static void
open_partition(struct log_client *client)
{
    static const uint64_t segment_bytes[] = {64 * KIB, 128 * KIB, 256 * KIB, 4 * MIB};
    struct log_model *model = client->rig->model;
    if (living_partitions(client) >= client->partitions_max ||
        model->partition_count == MODEL_PARTITIONS_MAX)
        return;
    struct log_partition_config config = {
        .incarnation = model->partition_count + 1,
        .topic_id = {1, (uint8_t)(model->partition_count + 1)},
        .partition = model->partition_count,
        .durability = sim_rng_chance(client->rng, 150000) ? LOG_DURABILITY_MEMORY
                                                          : LOG_DURABILITY_DEVICE,
        .log_append_time = sim_rng_chance(client->rng, 150000),
        .batch_bytes_max = MODEL_BATCH_BYTES_MAX,
        .segment_bytes = segment_bytes[sim_rng_below(client->rng, ARRAY_COUNT(segment_bytes))],
        .segment_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
    };
    if (client->rig->options.compacts && sim_rng_chance(client->rng, 800000)) {
        config.is_compacted = true;
        config.keeps_old = true;
        config.segment_bytes = 64 * KIB;
        config.delete_retention_ms = sim_rng_chance(client->rng, 500000) ? 1000 : 3600 * 1000;
        config.compaction_lag_max_ms = INT64_MAX;
        config.dirty_ratio_millionths = sim_rng_chance(client->rng, 300000) ? 500000 : 0;
    }
    (void)log_model_open(model, &config, rig_mark(client->rig));
    enum rc rc = rig_open(client->rig, model->partition_count - 1);
    if (rc != RC_OK)
        (void)log_model_fail(model, "open refused: %s", rc_name(rc));
}

static void
trim_partition(struct log_client *client)
{
    uint32_t idx = pick_partition(client);
    if (idx == UINT32_MAX)
        return;
    struct model_partition *partition = &client->rig->model->partitions[idx];
    struct log_read_result offsets;
    enum rc rc = log_offsets(
        client->rig->log, partition->slot, partition->config.incarnation, &offsets);
    if (rc != RC_OK) {
        (void)log_model_fail(client->rig->model, "no offsets: %s", rc_name(rc));
        return;
    }
    if (offsets.high_watermark == offsets.start_offset)
        return;
    uint64_t to = sim_rng_between(client->rng, offsets.start_offset + 1, offsets.high_watermark);
    rc = rig_trim(client->rig, idx, to);
    if (rc == RC_OFFSET_OUT_OF_RANGE && partition->config.durability == LOG_DURABILITY_MEMORY)
        return; /* only what is on the device can be trimmed */
    if (rc != RC_OK && rc != RC_AGAIN)
        (void)log_model_fail(
            client->rig->model, "trim to %" PRIu64 " refused: %s", to, rc_name(rc));
}

static void
drop_partition(struct log_client *client)
{
    uint32_t idx = pick_partition(client);
    if (idx == UINT32_MAX)
        return;
    if (client->rig->reading && client->rig->read_partition == idx)
        return;
    for (uint32_t i = 0; i < RIG_PENDING_MAX; i++) { /* its answers may never come: not now */
        if (client->rig->waits[i].kind != RIG_FREE && client->rig->waits[i].partition == idx)
            return;
    }
    enum rc rc = rig_drop(client->rig, idx);
    if (rc != RC_OK && rc != RC_AGAIN)
        (void)log_model_fail(client->rig->model, "drop refused: %s", rc_name(rc));
}

/* ---- batches ---- */

static struct model_batch
draw_batch(struct log_client *client)
{
    struct model_batch batch = {
        .id = client->rig->model->id_next++,
        .timestamp_ms = clock_wall_ms(&client->rig->clock),
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .records = 1,
        .value_bytes = (uint32_t)sim_rng_between(client->rng, 16, 200),
    };
    uint64_t size = sim_rng_below(client->rng, 10);
    if (size >= 6)
        batch.records = (uint32_t)sim_rng_between(client->rng, 1, 50);
    if (size == 9)
        batch.value_bytes = (uint32_t)sim_rng_between(
            client->rng, 16, max_u64(16, client->batch_bytes_max / batch.records - 64));
    return batch;
}

/* Watches over appends that are put off again and again. */
static void
note_again(struct log_client *client, bool again)
{
    uint64_t now_ns = sim_world_now_ns(client->rig->world);
    if (!again) {
        client->again_since_ns = 0;
        return;
    }
    if (client->again_since_ns == 0)
        client->again_since_ns = now_ns;
    if (now_ns - client->again_since_ns > STARVED_NS)
        (void)log_model_fail(client->rig->model, "appends are put off for ever");
}

static void
append_batch(struct log_client *client)
{
    uint32_t idx = pick_partition(client);
    if (idx == UINT32_MAX)
        return;
    struct model_batch batch = draw_batch(client);
    note_again(client, rig_append(client->rig, idx, &batch) == RC_AGAIN);
}

static void
add_producer(struct log_client *client)
{
    uint32_t idx = pick_partition(client);
    if (idx == UINT32_MAX || client->producer_count == CLIENT_PRODUCERS_MAX)
        return;
    if (client->rig->model->partitions[idx].config.durability != LOG_DURABILITY_DEVICE)
        return; /* what memory loses leaves a hole in the sequence */
    client->producers[client->producer_count] = (struct client_producer){
        .partition = idx,
        .id = 1000 + client->producer_count,
        .epoch = (int16_t)sim_rng_below(client->rng, 3),
        .sequence = sim_rng_chance(client->rng, 100000) ? INT32_MAX - 20 : 0,
    };
    client->producer_count++;
}

/* Takes acknowledged batches from the head of the queue. */
static void
producer_settle(struct client_producer *producer, const struct model_partition *partition)
{
    while (producer->sent > 0) {
        bool acked = false;
        for (uint32_t i = partition->batch_count; i > 0; i--) {
            if (partition->batches[i - 1].id == producer->queue[0].id)
                acked = partition->batches[i - 1].ack_mark != MODEL_NEVER;
        }
        if (!acked)
            return;
        producer->last = producer->queue[0];
        producer->count--;
        producer->sent--;
        memmove(producer->queue, producer->queue + 1, producer->count * sizeof(producer->queue[0]));
    }
}

static void
producer_step(struct log_client *client, struct client_producer *producer)
{
    struct model_partition *partition = &client->rig->model->partitions[producer->partition];
    if (!is_usable(partition))
        return;
    producer_settle(producer, partition);
    if (producer->last.id != 0 && producer->count == 0 && sim_rng_chance(client->rng, 100000)) {
        (void)rig_append(
            client->rig, producer->partition, &producer->last); /* an answer was lost */
        return;
    }
    if (producer->count < CLIENT_IN_FLIGHT) {
        struct model_batch batch = draw_batch(client);
        batch.producer_id = producer->id;
        batch.producer_epoch = producer->epoch;
        batch.base_sequence = producer->sequence;
        producer->sequence = (int32_t)(((uint32_t)producer->sequence + batch.records) &
                                       (uint32_t)INT32_MAX);
        producer->queue[producer->count++] = batch;
    }
    while (producer->sent < producer->count) {
        enum rc rc = rig_append(client->rig, producer->partition, &producer->queue[producer->sent]);
        note_again(client, rc == RC_AGAIN);
        if (rc != RC_OK)
            return;
        producer->sent++;
    }
}

static void
produce(struct log_client *client)
{
    if (client->producer_count == 0 || sim_rng_chance(client->rng, 100000))
        add_producer(client);
    if (client->producer_count == 0)
        return;
    producer_step(client, &client->producers[sim_rng_below(client->rng, client->producer_count)]);
}

/* ---- reading ---- */

static void
read_batches(struct log_client *client)
{
    uint32_t idx = pick_partition(client);
    if (idx != UINT32_MAX)
        rig_read_begin(client->rig, idx, sim_rng_next(client->rng));
}

/* ---- the actor ---- */

static uint32_t
client_step(void *object)
{
    struct log_client *client = object;
    const struct client_weights *weights = &client->weights;
    uint64_t now_ns = sim_world_now_ns(client->rig->world);
    uint64_t total = (uint64_t)weights->append + weights->produce + weights->read + weights->open +
                     weights->trim + weights->drop;
    uint64_t draw = sim_rng_below(client->rng, total);
    client->due_ns = now_ns + sim_rng_between(client->rng, 1, client->think_ns);
    client->operations++;
    if (draw < weights->append)
        append_batch(client);
    else if ((draw -= weights->append) < weights->produce)
        produce(client);
    else if ((draw -= weights->produce) < weights->read)
        read_batches(client);
    else if ((draw -= weights->read) < weights->open)
        open_partition(client);
    else if ((draw -= weights->open) < weights->trim)
        trim_partition(client);
    else
        drop_partition(client);
    return 1;
}

static uint64_t
client_due_ns(void *object)
{
    struct log_client *client = object;
    return client->operations < client->operations_max ? client->due_ns : SIM_NEVER_NS;
}

void
log_client_add(struct log_client *client, uint64_t operations)
{
    client->operations_max = client->operations + operations;
    client->again_since_ns = 0;
    sim_world_add(
        client->rig->world,
        &(struct sim_actor){
            .name = "client", .object = client, .step = client_step, .due_ns = client_due_ns});
}

bool
log_client_is_done(void *object)
{
    struct log_client *client = object;
    return client->operations >= client->operations_max || client->rig->model->why[0] != '\0';
}

bool
log_client_restart(struct log_client *client)
{
    struct log_rig *rig = client->rig;
    for (uint32_t i = 0; i < client->producer_count; i++)
        client->producers[i].sent = 0;
    for (uint32_t i = 0; i < rig->model->partition_count; i++) {
        struct model_partition *partition = &rig->model->partitions[i];
        if (partition->drop_ack != MODEL_NEVER)
            continue;
        enum rc rc = rig_open(rig, i);
        if (rc != RC_OK)
            return log_model_fail(rig->model, "open after a restart refused: %s", rc_name(rc));
    }
    if (!rig_settle(rig))
        return false;
    for (uint32_t i = 0; i < rig->model->partition_count; i++) {
        struct model_partition *partition = &rig->model->partitions[i];
        if (partition->drop_submit == MODEL_NEVER || partition->drop_ack != MODEL_NEVER)
            continue;
        enum rc rc = rig_drop(rig, i); /* the drop was not durable: say it again */
        if (rc != RC_OK)
            return log_model_fail(rig->model, "drop after a restart refused: %s", rc_name(rc));
    }
    return rig_settle(rig);
}
