/* Transactional ids and the partitions of their transactions: hash tables over slabs, and the one
 * table of moves. Names lie in the entries themselves, so that two numbers bound the memory. */
#include "engine/transaction/transaction_inner.h"

#define STATE(state) (1u << TRANSACTION_##state)

/* From a state to those that may follow it. */
static const uint16_t transaction_moves[TRANSACTION_STATES] = {
    [TRANSACTION_EMPTY] = STATE(EMPTY) | STATE(ONGOING) | STATE(DEAD),
    [TRANSACTION_ONGOING] = STATE(ONGOING) | STATE(PREPARE_COMMIT) | STATE(PREPARE_ABORT) |
                            STATE(EPOCH_FENCE),
    /* Back to ONGOING when the record of the abort could not be stored. */
    [TRANSACTION_EPOCH_FENCE] = STATE(PREPARE_ABORT) | STATE(ONGOING),
    [TRANSACTION_PREPARE_COMMIT] = STATE(COMPLETE_COMMIT),
    [TRANSACTION_PREPARE_ABORT] = STATE(COMPLETE_ABORT),
    [TRANSACTION_COMPLETE_COMMIT] = STATE(EMPTY) | STATE(ONGOING) | STATE(DEAD),
    [TRANSACTION_COMPLETE_ABORT] = STATE(EMPTY) | STATE(ONGOING) | STATE(DEAD),
    /* Back to a quiet state when the tombstone could not be stored. */
    [TRANSACTION_DEAD] = STATE(EMPTY) | STATE(COMPLETE_COMMIT) | STATE(COMPLETE_ABORT),
};

struct table_part {
    uint64_t at; /* offset in the memory */
    uint64_t bytes;
};
enum { PART_SELF, PART_IDS, PART_PARTITIONS, PART_BATCHES, PART_BUCKETS, PART_RECORD, PARTS };

static uint32_t
table_buckets(uint32_t entries)
{
    uint32_t count = 16;

    while (count < entries)
        count *= 2;
    return count;
}

static uint64_t
table_layout(const struct coordinator_limits *limits, struct table_part parts[PARTS])
{
    uint64_t buckets = (uint64_t)table_buckets(limits->transactions_max) +
                       table_buckets(limits->partitions_max);
    const uint64_t bytes[PARTS] = {
        [PART_SELF] = sizeof(struct coordinator),
        [PART_IDS] = slab_footprint(sizeof(struct transaction), limits->transactions_max),
        [PART_PARTITIONS] = slab_footprint(sizeof(struct transaction_partition),
                                           limits->partitions_max),
        [PART_BATCHES] = slab_footprint(sizeof(struct transaction_batch), TRANSACTION_BATCHES_MAX),
        [PART_BUCKETS] = buckets * sizeof(uint32_t),
        [PART_RECORD] = TRANSACTION_RECORD_BYTES_MAX,
    };
    uint64_t at = 0;

    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = (struct table_part){.at = at, .bytes = bytes[i]};
        at = round_up(at + bytes[i], 4096);
    }
    return at;
}

uint64_t
coordinator_footprint(const struct coordinator_limits *limits)
{
    struct table_part parts[PARTS];

    return table_layout(limits, parts);
}

static uint32_t *
table_take_buckets(uint32_t **at, uint32_t entries, uint32_t *ret_mask)
{
    uint32_t *buckets = *at;
    uint32_t count = table_buckets(entries);

    for (uint32_t i = 0; i < count; i++)
        buckets[i] = SLAB_NONE;
    *at += count;
    *ret_mask = count - 1;
    return buckets;
}

/* The largest record names each partition with its own topic. */
static bool
table_limits_ok(const struct coordinator_limits *limits)
{
    uint64_t record_bytes = 512 + (uint64_t)limits->size_max * (TRANSACTION_TOPIC_BYTES_MAX + 10);

    return limits->transactions_max > 0 && limits->partitions_max > 0 && limits->size_max > 0 &&
           limits->orders_max > 0 && limits->timeout_max_ms > 0 &&
           record_bytes <= TRANSACTION_RECORD_BYTES_MAX;
}

enum rc
coordinator_init(void *memory,
                 const struct coordinator_config *config,
                 struct coordinator **ret_coordinator,
                 struct diag_trail *trail)
{
    const struct coordinator_limits *limits = &config->limits;
    struct table_part parts[PARTS];
    uint8_t *base = memory;

    if (!table_limits_ok(limits)) {
        diag_trail_add(trail, "a limit of transactions is zero or too large");
        return RC_INVALID;
    }
    table_layout(limits, parts);
    struct coordinator *coordinator = memory;
    *coordinator = (struct coordinator){.config = *config};
    slab_init(&coordinator->ids,
              base + parts[PART_IDS].at,
              sizeof(struct transaction),
              limits->transactions_max);
    slab_init(&coordinator->partitions,
              base + parts[PART_PARTITIONS].at,
              sizeof(struct transaction_partition),
              limits->partitions_max);
    slab_init(&coordinator->batches,
              base + parts[PART_BATCHES].at,
              sizeof(struct transaction_batch),
              TRANSACTION_BATCHES_MAX);
    uint32_t *buckets = (uint32_t *)(void *)(base + parts[PART_BUCKETS].at);
    coordinator->id_buckets = table_take_buckets(
        &buckets, limits->transactions_max, &coordinator->id_mask);
    coordinator->partition_buckets = table_take_buckets(
        &buckets, limits->partitions_max, &coordinator->partition_mask);
    coordinator->record = base + parts[PART_RECORD].at;
    coordinator->queue_first = SLAB_NONE;
    coordinator->queue_last = SLAB_NONE;
    coordinator->wait_first = SLAB_NONE;
    coordinator->wait_last = SLAB_NONE;
    coordinator->deadline_ns = NO_DEADLINE;
    coordinator->expiry_ns = NO_DEADLINE;
    coordinator->oldest_ms = INT64_MAX;
    *ret_coordinator = coordinator;
    return RC_OK;
}

/* ---- ids */

static uint32_t *
id_bucket(const struct coordinator *coordinator, struct bytes id)
{
    uint64_t hash = hash_xxh3(id.at, id.count, coordinator->config.hash_seed);

    return &coordinator->id_buckets[hash & coordinator->id_mask];
}

struct transaction *
transaction__find(const struct coordinator *coordinator, struct bytes id)
{
    for (uint32_t idx = *id_bucket(coordinator, id); idx != SLAB_NONE;) {
        struct transaction *transaction = transaction__at(coordinator, idx);
        if (bytes__equal(transaction__id(transaction), id))
            return transaction;
        idx = transaction->next;
    }
    return NULL;
}

struct transaction *
transaction__add(struct coordinator *coordinator, struct bytes id)
{
    uint32_t idx = slab_take(&coordinator->ids);

    CHECK(id.count > 0);
    CHECK(id.count <= TRANSACTION_ID_BYTES_MAX);
    if (idx == SLAB_NONE) {
        coordinator->counters.limits_reached++;
        return NULL;
    }
    uint32_t *bucket = id_bucket(coordinator, id);
    struct transaction *transaction = transaction__at(coordinator, idx);
    /* Not the whole struct: the id's bytes are not worth clearing. */
    memset(transaction, 0, offsetof(struct transaction, id));
    transaction->is_used = true;
    transaction->state = TRANSACTION_EMPTY;
    transaction->next = *bucket;
    transaction->queue_next = SLAB_NONE;
    transaction->wait_next = SLAB_NONE;
    transaction->partition_first = SLAB_NONE;
    transaction->partition_last = SLAB_NONE;
    transaction->deadline_ns = NO_DEADLINE;
    transaction->retry_ns = NO_DEADLINE;
    transaction->start_ms = -1;
    transaction->producer = (struct transaction_producer){
        .id = -1, .last_id = -1, .epoch = -1, .last_epoch = -1};
    transaction->id_count = (uint32_t)id.count;
    bytes_copy(transaction->id, sizeof(transaction->id), id.at, id.count);
    *bucket = idx;
    if (idx >= coordinator->ids_touched)
        coordinator->ids_touched = idx + 1;
    coordinator->state_counts[TRANSACTION_EMPTY]++;
    coordinator__wake(coordinator, coordinator->expiry_ns);
    return transaction;
}

void
transaction__remove(struct coordinator *coordinator, struct transaction *transaction)
{
    uint32_t idx = transaction__idx(coordinator, transaction);
    uint32_t *link = id_bucket(coordinator, transaction__id(transaction));

    CHECK(!transaction->is_queued);
    CHECK(transaction->step == STEP_NONE);
    while (*link != idx)
        link = &transaction__at(coordinator, *link)->next;
    *link = transaction->next;
    transaction__partitions_drop(coordinator, transaction, false);
    coordinator->state_counts[transaction->state]--;
    transaction->is_used = false;
    slab_give(&coordinator->ids, idx);
}

void
transaction__move(struct coordinator *coordinator,
                  struct transaction *transaction,
                  enum transaction_state next)
{
    CHECK((transaction_moves[transaction->state] & (1u << next)) != 0);
    coordinator->state_counts[transaction->state]--;
    coordinator->state_counts[next]++;
    transaction->state = (uint8_t)next;
}

int16_t
transaction__check(const struct coordinator *coordinator,
                   struct bytes id,
                   const struct transaction_producer *producer,
                   struct transaction **ret)
{
    if (id.count == 0)
        return KAFKA_ERROR_INVALID_REQUEST;
    struct transaction *transaction = transaction__find(coordinator, id);
    if (transaction == NULL || transaction->producer.id != producer->id)
        return KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING;
    if (transaction->producer.epoch != producer->epoch)
        return KAFKA_ERROR_PRODUCER_FENCED;
    *ret = transaction;
    return KAFKA_ERROR_NONE;
}

void
coordinator__wake(struct coordinator *coordinator, uint64_t at_ns)
{
    coordinator->deadline_ns = min_u64(coordinator->deadline_ns, at_ns);
}

/* ---- partitions */

static uint32_t *
partition_bucket(const struct coordinator *coordinator,
                 uint32_t transaction,
                 struct bytes topic,
                 uint32_t partition)
{
    uint64_t seed = coordinator->config.hash_seed ^ ((uint64_t)transaction << 32 | partition);

    return &coordinator->partition_buckets[hash_xxh3(topic.at, topic.count, seed) &
                                           coordinator->partition_mask];
}

struct transaction_partition *
transaction__partition(const struct coordinator *coordinator,
                       const struct transaction *transaction,
                       struct bytes topic,
                       uint32_t partition)
{
    uint32_t owner = transaction__idx(coordinator, transaction);
    uint32_t idx = *partition_bucket(coordinator, owner, topic, partition);

    while (idx != SLAB_NONE) {
        struct transaction_partition *entry = partition__at(coordinator, idx);
        if (entry->transaction == owner && entry->partition == partition &&
            bytes__equal(partition__topic(entry), topic))
            return entry;
        idx = entry->next;
    }
    return NULL;
}

struct transaction_partition *
transaction__partition_add(struct coordinator *coordinator,
                           struct transaction *transaction,
                           struct bytes topic,
                           uint32_t partition)
{
    uint32_t owner = transaction__idx(coordinator, transaction);
    uint32_t idx = transaction->partition_count < coordinator->config.limits.size_max
                       ? slab_take(&coordinator->partitions)
                       : SLAB_NONE;

    CHECK(topic.count <= TRANSACTION_TOPIC_BYTES_MAX);
    if (idx == SLAB_NONE) {
        coordinator->counters.limits_reached++;
        return NULL;
    }
    uint32_t *bucket = partition_bucket(coordinator, owner, topic, partition);
    struct transaction_partition *entry = partition__at(coordinator, idx);
    *entry = (struct transaction_partition){
        .transaction = owner,
        .partition = partition,
        .after = SLAB_NONE,
        .next = *bucket,
        .topic_count = (uint8_t)topic.count,
    };
    bytes_copy(entry->topic, sizeof(entry->topic), topic.at, topic.count);
    *bucket = idx;
    if (transaction->partition_last == SLAB_NONE)
        transaction->partition_first = idx;
    else
        partition__at(coordinator, transaction->partition_last)->after = idx;
    transaction->partition_last = idx;
    transaction->partition_count++;
    return entry;
}

static void
partition_free(struct coordinator *coordinator, uint32_t idx)
{
    const struct transaction_partition *entry = partition__at(coordinator, idx);
    uint32_t *link = partition_bucket(
        coordinator, entry->transaction, partition__topic(entry), entry->partition);

    CHECK(entry->order != ORDER_OUT);
    while (*link != idx)
        link = &partition__at(coordinator, *link)->next;
    *link = entry->next;
    slab_give(&coordinator->partitions, idx);
}

void
transaction__partitions_drop(struct coordinator *coordinator,
                             struct transaction *transaction,
                             bool only_new)
{
    uint32_t *link = &transaction->partition_first;

    transaction->partition_last = SLAB_NONE;
    while (*link != SLAB_NONE) {
        uint32_t idx = *link;
        struct transaction_partition *entry = partition__at(coordinator, idx);
        if (only_new && !entry->is_new) {
            transaction->partition_last = idx;
            link = &entry->after;
            continue;
        }
        *link = entry->after;
        partition_free(coordinator, idx);
        transaction->partition_count--;
    }
}
