/* AddPartitionsToTxn and AddOffsetsToTxn: partitions become part of the transaction when the record
 * that names them is durable; then each is admitted at its log tile, and only then the client hears
 * of it. The offsets of consumer groups are a partition like others.
 *
 * A transaction of a request succeeds or fails as a whole: a partition that does not exist keeps
 * the others from being tried. */
#include "engine/transaction/transaction_inner.h"

/* Instead of an error: each partition has its own. */
#define ADD_BY_PARTITION INT16_MIN
/* Not an error: the answer comes later. */
#define ADD_WAITS INT16_MAX

#define add_item struct kafka_add_partitions_to_txn_request_transaction

/* A transaction of a request; up to version 3 there is one, in fields of its own. */
static add_item
add_item_at(const struct kafka_add_partitions_to_txn_request *request,
            int16_t version,
            uint32_t idx)
{
    if (version >= 4)
        return request->transactions.at[idx];
    add_item item = {
        .transactional_id = request->v3_and_below_transactional_id,
        .producer_id = request->v3_and_below_producer_id,
        .producer_epoch = request->v3_and_below_producer_epoch,
    };
    item.topics.at = request->v3_and_below_topics.at;
    item.topics.count = request->v3_and_below_topics.count;
    return item;
}

/* ---- answers */

void
coordinator__answer_offsets(struct coordinator *coordinator,
                            const struct transaction_call *call,
                            int16_t error)
{
    struct kafka_add_offsets_to_txn_response response;

    kafka_add_offsets_to_txn_response_defaults(&response);
    response.error = kafka_error_for_version(error, KAFKA_ADD_OFFSETS_TO_TXN, call->version);
    if (error != KAFKA_ERROR_NONE)
        coordinator->counters.refused++;
    coordinator__answer(coordinator, call->token, &response);
}

static bool
add_exists(const struct coordinator *coordinator, struct bytes topic, int32_t partition)
{
    const struct coordinator_hooks *hooks = &coordinator->config.hooks;

    return topic.count > 0 && topic.count <= TRANSACTION_TOPIC_BYTES_MAX && partition >= 0 &&
           (uint32_t)partition < hooks->partition_count(hooks->ctx, topic);
}

/* The error of one partition where each has its own. */
static int16_t
add_partition_error(const struct coordinator *coordinator,
                    const add_item *item,
                    struct bytes topic,
                    int32_t partition)
{
    if (!item->verify_only)
        return add_exists(coordinator, topic, partition) ? KAFKA_ERROR_OPERATION_NOT_ATTEMPTED
                                                         : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    const struct transaction *transaction = transaction__find(coordinator, item->transactional_id);
    bool is_in = transaction != NULL && transaction->state == TRANSACTION_ONGOING &&
                 partition >= 0 &&
                 transaction__partition(coordinator, transaction, topic, (uint32_t)partition) !=
                     NULL;
    return is_in ? KAFKA_ERROR_NONE : KAFKA_ERROR_TRANSACTION_ABORTABLE;
}

struct add_results {
    const struct kafka_add_partitions_to_txn_response_topic_result *at; /* NULL: no room */
    uint32_t count;
};

static struct add_results
add_fill(const struct coordinator *coordinator,
         const struct transaction_batch *batch,
         const add_item *item,
         int16_t error,
         struct kafka_arena *arena)
{
    struct kafka_add_partitions_to_txn_response_topic_result *topics = kafka_arena_take(
        arena, item->topics.count * sizeof(*topics) + 8);

    for (uint32_t t = 0; topics != NULL && t < item->topics.count; t++) {
        const struct kafka_add_partitions_to_txn_request_topic *asked = &item->topics.at[t];
        struct kafka_add_partitions_to_txn_response_partition_result *list = kafka_arena_take(
            arena, asked->partitions.count * sizeof(*list) + 8);
        if (list == NULL)
            return (struct add_results){0};
        for (uint32_t p = 0; p < asked->partitions.count; p++) {
            int32_t index = asked->partitions.at[p];
            int16_t own = error;
            if (error == ADD_BY_PARTITION)
                own = add_partition_error(coordinator, item, asked->name, index);
            list[p].index = index;
            list[p].partition_error_code = kafka_error_for_version(
                own, KAFKA_ADD_PARTITIONS_TO_TXN, batch->version);
        }
        topics[t].name = asked->name;
        topics[t].results_by_partition.at = list;
        topics[t].results_by_partition.count = asked->partitions.count;
    }
    return (struct add_results){topics, item->topics.count};
}

static bool
add_fill_all(const struct coordinator *coordinator,
             const struct transaction_batch *batch,
             struct kafka_arena *arena,
             struct kafka_add_partitions_to_txn_response *response)
{
    uint32_t count = batch->request->transactions.count;
    struct kafka_add_partitions_to_txn_result *list = kafka_arena_take(arena,
                                                                       count * sizeof(*list) + 8);

    for (uint32_t i = 0; list != NULL && i < count; i++) {
        add_item item = add_item_at(batch->request, batch->version, i);
        struct add_results results = add_fill(coordinator, batch, &item, batch->errors[i], arena);
        if (results.at == NULL)
            return false;
        list[i].transactional_id = item.transactional_id;
        list[i].topic_results.at = results.at;
        list[i].topic_results.count = results.count;
    }
    response->results_by_transaction.at = list;
    response->results_by_transaction.count = count;
    return list != NULL;
}

/* One result less is missing; the last one answers. */
static void
add_batch_done(struct coordinator *coordinator, uint32_t batch_idx)
{
    struct transaction_batch *batch = slab_at(&coordinator->batches, batch_idx);
    struct kafka_add_partitions_to_txn_response response;
    struct kafka_arena arena;
    uint64_t token = batch->token;

    CHECK(batch->left > 0);
    if (--batch->left > 0)
        return;
    arena = coordinator->config.hooks.scratch(coordinator->config.hooks.ctx);
    kafka_add_partitions_to_txn_response_defaults(&response);
    if (batch->version >= 4) {
        if (!add_fill_all(coordinator, batch, &arena, &response))
            response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    } else {
        add_item item = add_item_at(batch->request, batch->version, 0);
        struct add_results results = add_fill(coordinator, batch, &item, batch->errors[0], &arena);
        response.results_by_topic_v3_and_below.at = results.at;
        response.results_by_topic_v3_and_below.count = results.at != NULL ? results.count : 0;
    }
    slab_give(&coordinator->batches, batch_idx);
    coordinator__answer(coordinator, token, &response);
}

void
add__answer(struct coordinator *coordinator, uint32_t batch_idx, uint32_t item, int16_t error)
{
    struct transaction_batch *batch = slab_at(&coordinator->batches, batch_idx);

    batch->errors[item] = error;
    if (error != KAFKA_ERROR_NONE)
        coordinator->counters.refused++;
    add_batch_done(coordinator, batch_idx);
}

/* ---- the record */

/* Takes in the partitions that are not there yet. False: a limit is reached. */
static bool
add_new(struct coordinator *coordinator,
        struct transaction *transaction,
        const add_item *item,
        uint32_t *ret_count)
{
    uint32_t count = 0;

    for (uint32_t t = 0; t < item->topics.count; t++) {
        const struct kafka_add_partitions_to_txn_request_topic *topic = &item->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++) {
            uint32_t index = (uint32_t)topic->partitions.at[p];
            if (transaction__partition(coordinator, transaction, topic->name, index) != NULL)
                continue;
            struct transaction_partition *entry = transaction__partition_add(
                coordinator, transaction, topic->name, index);
            if (entry == NULL)
                return false;
            entry->is_new = true;
            count++;
        }
    }
    *ret_count = count;
    return true;
}

static int16_t
add_store(struct coordinator *coordinator,
          struct transaction *transaction,
          const add_item *item,
          struct transaction_time time)
{
    bool begins = transaction->state != TRANSACTION_ONGOING;
    const struct transaction_value value = {
        .producer = transaction->producer,
        .state = TRANSACTION_ONGOING,
        .start_ms = begins ? time.wall_ms : transaction->start_ms,
        .update_ms = time.wall_ms,
    };
    int16_t error = ADD_WAITS;
    uint32_t new_count = 0;

    if (!add_new(coordinator, transaction, item, &new_count)) {
        error = KAFKA_ERROR_POLICY_VIOLATION;
    } else if (new_count == 0) {
        /* All are there; perhaps not all were admitted. */
        transaction->admit_error = KAFKA_ERROR_NONE;
        transaction->orders_left = order__due(coordinator, transaction, true);
        if (transaction->orders_left == 0)
            return KAFKA_ERROR_NONE;
        transaction->step = STEP_ADMIT;
        order__queue(coordinator, transaction);
    } else if (!transaction__store(coordinator, transaction, &value, STEP_ADD)) {
        error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (error != ADD_WAITS)
        transaction__partitions_drop(coordinator, transaction, true);
    else
        transaction->update_ms = time.wall_ms;
    return error;
}

void
add__stored(struct coordinator *coordinator,
            struct transaction *transaction,
            enum rc rc,
            struct transaction_time time)
{
    if (rc != RC_OK) {
        transaction__partitions_drop(coordinator, transaction, true);
        transaction__answer_asker(coordinator, transaction, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    if (transaction->state != TRANSACTION_ONGOING) {
        transaction->start_ms = transaction->update_ms;
        transaction->deadline_ns = time.now_ns +
                                   (uint64_t)transaction->producer.timeout_ms * NS_PER_MS;
        coordinator__wake(coordinator,
                          min_u64(transaction->deadline_ns, time.now_ns + TRANSACTION_LOOK_NS));
    }
    transaction__move(coordinator, transaction, TRANSACTION_ONGOING);
    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        struct transaction_partition *entry = partition__at(coordinator, idx);
        entry->is_new = false;
        idx = entry->after;
    }
    transaction->step = STEP_ADMIT;
    transaction->admit_error = KAFKA_ERROR_NONE;
    transaction->orders_left = order__due(coordinator, transaction, true);
    order__queue(coordinator, transaction);
}

void
add__admitted(struct coordinator *coordinator, struct transaction *transaction)
{
    transaction->step = STEP_NONE;
    if (transaction->asker_token == 0) {
        /* Nobody asked: coordinator_loaded() did. */
        CHECK(coordinator->settling > 0);
        coordinator->settling--;
        return;
    }
    transaction__answer_asker(coordinator, transaction, transaction->admit_error);
}

/* ---- requests */

/* 0, an error, ADD_BY_PARTITION, or ADD_WAITS: who asks is answered later. */
static int16_t
add_begin(struct coordinator *coordinator,
          const add_item *item,
          const struct transaction_parked *who,
          struct transaction_time time)
{
    const struct transaction_producer producer = {.id = item->producer_id,
                                                  .epoch = item->producer_epoch};
    struct transaction *transaction = NULL;
    int16_t error = transaction__check(
        coordinator, item->transactional_id, &producer, &transaction);

    if (error != KAFKA_ERROR_NONE)
        return error;
    if (item->verify_only)
        return transaction->state == TRANSACTION_PREPARE_COMMIT ||
                       transaction->state == TRANSACTION_PREPARE_ABORT
                   ? KAFKA_ERROR_CONCURRENT_TRANSACTIONS
                   : ADD_BY_PARTITION;
    if (transaction->step != STEP_NONE)
        return park__take(coordinator, transaction, who, time)
                   ? ADD_WAITS
                   : KAFKA_ERROR_CONCURRENT_TRANSACTIONS;
    error = add_store(coordinator, transaction, item, time);
    if (error != ADD_WAITS)
        return error;
    transaction->asker_api = who->api;
    transaction->asker_version = who->version;
    transaction->asker_token = who->token;
    transaction->batch_item = who->batch_item;
    return ADD_WAITS;
}

static bool
add_all_exist(const struct coordinator *coordinator, const add_item *item)
{
    for (uint32_t t = 0; t < item->topics.count; t++) {
        const struct kafka_add_partitions_to_txn_request_topic *topic = &item->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++)
            if (!add_exists(coordinator, topic->name, topic->partitions.at[p]))
                return false;
    }
    return true;
}

void
add__one(struct coordinator *coordinator,
         uint32_t batch_idx,
         uint32_t item_idx,
         struct transaction_time time)
{
    const struct transaction_batch *batch = slab_at(&coordinator->batches, batch_idx);
    add_item item = add_item_at(batch->request, batch->version, item_idx);
    const struct transaction_parked who = {
        .api = KAFKA_ADD_PARTITIONS_TO_TXN,
        .version = batch->version,
        .batch_item = item_idx,
        .token = (uint64_t)batch_idx + 1,
    };
    int16_t error = ADD_BY_PARTITION;

    if (item.verify_only || add_all_exist(coordinator, &item))
        error = add_begin(coordinator, &item, &who, time);
    if (error != ADD_WAITS)
        add__answer(coordinator, batch_idx, item_idx, error);
}

void
coordinator_add_partitions(struct coordinator *coordinator,
                           const struct transaction_call *call,
                           const struct kafka_add_partitions_to_txn_request *request,
                           struct transaction_time time)
{
    uint32_t count = call->version >= 4 ? request->transactions.count : 1;
    uint32_t idx = count <= TRANSACTION_BATCH_MAX ? slab_take(&coordinator->batches) : SLAB_NONE;

    if (idx == SLAB_NONE) {
        coordinator->counters.limits_reached++;
        add__refuse(coordinator, call, request, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    struct transaction_batch *batch = slab_at(&coordinator->batches, idx);
    *batch = (struct transaction_batch){
        .token = call->token, .request = request, .version = call->version, .left = count + 1};
    for (uint32_t i = 0; i < count; i++)
        add__one(coordinator, idx, i, time);
    add_batch_done(coordinator, idx);
}

void
add__refuse(struct coordinator *coordinator,
            const struct transaction_call *call,
            const struct kafka_add_partitions_to_txn_request *request,
            int16_t error)
{
    struct kafka_arena arena = coordinator->config.hooks.scratch(coordinator->config.hooks.ctx);
    const struct transaction_batch batch = {.request = request, .version = call->version};
    struct kafka_add_partitions_to_txn_response response;

    kafka_add_partitions_to_txn_response_defaults(&response);
    response.error = error;
    if (call->version < 4) {
        add_item item = add_item_at(request, call->version, 0);
        struct add_results results = add_fill(coordinator, &batch, &item, error, &arena);
        response.results_by_topic_v3_and_below.at = results.at;
        response.results_by_topic_v3_and_below.count = results.at != NULL ? results.count : 0;
    }
    coordinator->counters.refused++;
    coordinator__answer(coordinator, call->token, &response);
}

void
coordinator_add_offsets(struct coordinator *coordinator,
                        const struct transaction_call *call,
                        const struct kafka_add_offsets_to_txn_request *request,
                        struct transaction_time time)
{
    static const int32_t partition = 0;
    const struct kafka_add_partitions_to_txn_request_topic topic = {
        .name = {(const uint8_t *)TRANSACTION_OFFSETS_TOPIC, sizeof(TRANSACTION_OFFSETS_TOPIC) - 1},
        .partitions = {.at = &partition, .count = 1},
    };
    add_item item = {.transactional_id = request->transactional_id,
                     .producer_id = request->producer_id,
                     .producer_epoch = request->producer_epoch};
    const struct transaction_parked who = {
        .api = KAFKA_ADD_OFFSETS_TO_TXN,
        .version = call->version,
        .token = call->token,
        .request = request,
    };
    int16_t error = KAFKA_ERROR_INVALID_GROUP_ID;

    item.topics.at = &topic;
    item.topics.count = 1;
    if (request->group_id.count > 0)
        error = add_begin(coordinator, &item, &who, time);
    if (error != ADD_WAITS)
        coordinator__answer_offsets(coordinator, call, error);
}

int16_t
coordinator_check_offsets(const struct coordinator *coordinator,
                          struct bytes transactional_id,
                          int64_t producer_id,
                          int16_t producer_epoch)
{
    static const char topic[] = TRANSACTION_OFFSETS_TOPIC;
    const struct transaction_producer producer = {.id = producer_id, .epoch = producer_epoch};
    struct transaction *transaction = NULL;
    int16_t error = transaction__check(coordinator, transactional_id, &producer, &transaction);

    if (error == KAFKA_ERROR_PRODUCER_FENCED)
        return KAFKA_ERROR_INVALID_PRODUCER_EPOCH; /* what TxnOffsetCommit calls it */
    if (error != KAFKA_ERROR_NONE)
        return error;
    if (transaction->state != TRANSACTION_ONGOING || transaction->step == STEP_PREPARE)
        return KAFKA_ERROR_INVALID_TXN_STATE;
    const struct transaction_partition *entry = transaction__partition(
        coordinator, transaction, (struct bytes){(const uint8_t *)topic, sizeof(topic) - 1}, 0);
    return entry != NULL && !entry->is_new ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_TXN_STATE;
}
