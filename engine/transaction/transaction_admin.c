/* What tools ask: describe and list transactions (KIP-664); views for pages and metrics. */
#include "engine/transaction/transaction_inner.h"

static const char *const state_names[TRANSACTION_STATES] = {
    [TRANSACTION_EMPTY] = "Empty",
    [TRANSACTION_ONGOING] = "Ongoing",
    [TRANSACTION_PREPARE_COMMIT] = "PrepareCommit",
    [TRANSACTION_PREPARE_ABORT] = "PrepareAbort",
    [TRANSACTION_COMPLETE_COMMIT] = "CompleteCommit",
    [TRANSACTION_COMPLETE_ABORT] = "CompleteAbort",
    [TRANSACTION_DEAD] = "Dead",
    [TRANSACTION_EPOCH_FENCE] = "PrepareEpochFence",
};

const char *
transaction_state_name(enum transaction_state state)
{
    return state_names[state];
}

static struct bytes
admin_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* Ids without a producer, or about to be forgotten, are not shown. */
static bool
is_shown(const struct transaction *transaction)
{
    return transaction->is_used && transaction->producer.epoch >= 0 &&
           transaction->state != TRANSACTION_DEAD;
}

/* ---- DescribeTransactions */

/* Partitions of one topic that stand side by side share its entry. */
static bool
describe_topics(const struct coordinator *coordinator,
                const struct transaction *transaction,
                struct kafka_arena *arena,
                struct kafka_describe_transactions_response_transaction *ret)
{
    uint32_t count = transaction->partition_count;
    struct kafka_describe_transactions_response_topic *topics = kafka_arena_take(
        arena, count * sizeof(*topics) + 8);
    int32_t *partitions = kafka_arena_take(arena, count * sizeof(*partitions) + 8);
    uint32_t topic_count = 0;

    if (topics == NULL || partitions == NULL)
        return false;
    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        const struct transaction_partition *entry = partition__at(coordinator, idx);
        struct bytes topic = partition__topic(entry);
        idx = entry->after;
        if (topic_count == 0 || !bytes__equal(topics[topic_count - 1].topic, topic)) {
            topics[topic_count].topic = topic;
            topics[topic_count].partitions.at = partitions;
            topic_count++;
        }
        *partitions++ = (int32_t)entry->partition;
        topics[topic_count - 1].partitions.count++;
    }
    ret->topics.at = topics;
    ret->topics.count = topic_count;
    return true;
}

static void
describe_one(const struct coordinator *coordinator,
             struct bytes id,
             struct kafka_arena *arena,
             struct kafka_describe_transactions_response_transaction *ret)
{
    const struct transaction *transaction = id.count == 0 ? NULL
                                                          : transaction__find(coordinator, id);

    ret->transactional_id = id;
    ret->transaction_state = admin_text("");
    if (transaction == NULL || !is_shown(transaction)) {
        ret->error = id.count == 0 ? KAFKA_ERROR_INVALID_REQUEST
                                   : KAFKA_ERROR_TRANSACTIONAL_ID_NOT_FOUND;
        return;
    }
    ret->transaction_state = admin_text(state_names[transaction->state]);
    ret->transaction_timeout_ms = transaction->producer.timeout_ms;
    ret->transaction_start_time_ms = transaction->start_ms;
    ret->producer_id = transaction->producer.id;
    ret->producer_epoch = transaction->producer.epoch;
    if (!describe_topics(coordinator, transaction, arena, ret))
        ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void
coordinator_describe(struct coordinator *coordinator,
                     const struct transaction_call *call,
                     const struct kafka_describe_transactions_request *request)
{
    struct kafka_arena arena = coordinator->config.hooks.scratch(coordinator->config.hooks.ctx);
    struct kafka_describe_transactions_response response;
    uint32_t count = request->transactional_ids.count;
    struct kafka_describe_transactions_response_transaction *list = kafka_arena_take(
        &arena, count * sizeof(*list) + 8);

    kafka_describe_transactions_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++)
        describe_one(coordinator, request->transactional_ids.at[i], &arena, &list[i]);
    response.transaction_states.at = list;
    response.transaction_states.count = list != NULL ? count : 0;
    coordinator__answer(coordinator, call->token, &response);
}

/* ---- ListTransactions */

static bool
list_knows_state(struct bytes name)
{
    for (uint32_t i = 0; i < TRANSACTION_STATES; i++) {
        if (bytes__equal(name, admin_text(state_names[i])))
            return true;
    }
    return false;
}

/* Whether a filter lets the transaction through; an empty one lets all through. */
static bool
list_wants(const struct transaction *transaction,
           const struct kafka_list_transactions_request *request,
           int64_t wall_ms)
{
    bool state_ok = request->state_filters.count == 0;
    bool producer_ok = request->producer_id_filters.count == 0;

    for (uint32_t i = 0; i < request->state_filters.count; i++)
        state_ok |= bytes__equal(request->state_filters.at[i],
                                 admin_text(state_names[transaction->state]));
    for (uint32_t i = 0; i < request->producer_id_filters.count; i++)
        producer_ok |= request->producer_id_filters.at[i] == transaction->producer.id;
    bool duration_ok = request->duration_filter < 0 ||
                       (transaction->start_ms >= 0 &&
                        wall_ms - transaction->start_ms > request->duration_filter);
    return state_ok && producer_ok && duration_ok;
}

void
coordinator_list(struct coordinator *coordinator,
                 const struct transaction_call *call,
                 const struct kafka_list_transactions_request *request,
                 struct transaction_time time)
{
    struct kafka_arena arena = coordinator->config.hooks.scratch(coordinator->config.hooks.ctx);
    struct kafka_list_transactions_response response;
    struct kafka_list_transactions_response_transaction *list = kafka_arena_take(
        &arena, coordinator->ids.used * sizeof(*list) + 8);
    struct bytes *unknown = kafka_arena_take(&arena,
                                             request->state_filters.count * sizeof(*unknown) + 8);
    uint32_t unknown_count = 0;
    uint32_t count = 0;

    kafka_list_transactions_response_defaults(&response);
    if (list == NULL || unknown == NULL) {
        response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        coordinator__answer(coordinator, call->token, &response);
        return;
    }
    for (uint32_t i = 0; i < request->state_filters.count; i++) {
        if (!list_knows_state(request->state_filters.at[i]))
            unknown[unknown_count++] = request->state_filters.at[i];
    }
    for (uint32_t i = 0; i < coordinator->ids_touched; i++) {
        const struct transaction *transaction = transaction__at(coordinator, i);
        if (!is_shown(transaction) || !list_wants(transaction, request, time.wall_ms))
            continue;
        list[count++] = (struct kafka_list_transactions_response_transaction){
            .transactional_id = transaction__id(transaction),
            .producer_id = transaction->producer.id,
            .transaction_state = admin_text(state_names[transaction->state]),
        };
    }
    response.unknown_state_filters.at = unknown;
    response.unknown_state_filters.count = unknown_count;
    response.transaction_states.at = list;
    response.transaction_states.count = count;
    coordinator__answer(coordinator, call->token, &response);
}

/* ---- refusals */

static void
refuse_describe(struct coordinator *coordinator,
                const struct transaction_call *call,
                const struct kafka_describe_transactions_request *request,
                int16_t error)
{
    struct kafka_arena arena = coordinator->config.hooks.scratch(coordinator->config.hooks.ctx);
    struct kafka_describe_transactions_response response;
    uint32_t count = request->transactional_ids.count;
    struct kafka_describe_transactions_response_transaction *list = kafka_arena_take(
        &arena, count * sizeof(*list) + 8);

    kafka_describe_transactions_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        list[i].error = error;
        list[i].transactional_id = request->transactional_ids.at[i];
    }
    response.transaction_states.at = list;
    response.transaction_states.count = list != NULL ? count : 0;
    coordinator__answer(coordinator, call->token, &response);
}

void
coordinator_refuse(struct coordinator *coordinator,
                   const struct transaction_call *call,
                   int16_t api_key,
                   const void *request,
                   int16_t error)
{
    struct kafka_list_transactions_response listed;

    switch (api_key) {
    case KAFKA_INIT_PRODUCER_ID:
        init__refuse(coordinator, call, request, error);
        break;
    case KAFKA_ADD_PARTITIONS_TO_TXN:
        add__refuse(coordinator, call, request, error);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        coordinator__answer_offsets(coordinator, call, error);
        break;
    case KAFKA_END_TXN:
        coordinator__answer_end(coordinator, call, error);
        break;
    case KAFKA_DESCRIBE_TRANSACTIONS:
        refuse_describe(coordinator, call, request, error);
        break;
    default:
        CHECK(api_key == KAFKA_LIST_TRANSACTIONS);
        kafka_list_transactions_response_defaults(&listed);
        listed.error = error;
        coordinator__answer(coordinator, call->token, &listed);
    }
}

/* ---- views */

const struct coordinator_counters *
coordinator_counters(const struct coordinator *coordinator)
{
    return &coordinator->counters;
}

uint32_t
coordinator_count(const struct coordinator *coordinator, enum transaction_state state)
{
    return coordinator->state_counts[state];
}

int64_t
coordinator_oldest_ms(const struct coordinator *coordinator)
{
    return coordinator->oldest_ms;
}

bool
coordinator_next(const struct coordinator *coordinator,
                 uint32_t *cursor,
                 struct transaction_view *ret)
{
    while (*cursor < coordinator->ids_touched) {
        const struct transaction *transaction = transaction__at(coordinator, (*cursor)++);
        if (!is_shown(transaction))
            continue;
        *ret = (struct transaction_view){
            .id = transaction__id(transaction),
            .producer_id = transaction->producer.id,
            .producer_epoch = transaction->producer.epoch,
            .state = (enum transaction_state)transaction->state,
            .timeout_ms = transaction->producer.timeout_ms,
            .start_ms = transaction->start_ms,
            .update_ms = transaction->update_ms,
            .partition_count = transaction->partition_count,
        };
        return true;
    }
    return false;
}

bool
coordinator_next_partition(const struct coordinator *coordinator,
                           struct bytes id,
                           uint32_t *cursor,
                           struct transaction_partition_view *ret)
{
    const struct transaction *transaction = transaction__find(coordinator, id);

    if (transaction == NULL)
        return false;
    uint32_t idx = *cursor == SLAB_NONE ? transaction->partition_first
                                        : partition__at(coordinator, *cursor)->after;
    if (idx == SLAB_NONE)
        return false;
    const struct transaction_partition *entry = partition__at(coordinator, idx);
    *cursor = idx;
    *ret = (struct transaction_partition_view){.topic = partition__topic(entry),
                                               .partition = entry->partition};
    return true;
}
