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
describe_topics(const struct transactions *transactions,
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
        const struct transaction_partition *entry = partition__at(transactions, idx);
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
describe_one(const struct transactions *transactions,
             struct bytes id,
             struct kafka_arena *arena,
             struct kafka_describe_transactions_response_transaction *ret)
{
    const struct transaction *transaction = id.count == 0 ? NULL
                                                          : transaction__find(transactions, id);

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
    if (!describe_topics(transactions, transaction, arena, ret))
        ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void
transactions_describe(struct transactions *transactions,
                      const struct transaction_call *call,
                      const struct kafka_describe_transactions_request *request)
{
    struct kafka_arena arena = transactions->config.hooks.scratch(transactions->config.hooks.ctx);
    struct kafka_describe_transactions_response response;
    uint32_t count = request->transactional_ids.count;
    struct kafka_describe_transactions_response_transaction *list = kafka_arena_take(
        &arena, count * sizeof(*list) + 8);

    kafka_describe_transactions_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++)
        describe_one(transactions, request->transactional_ids.at[i], &arena, &list[i]);
    response.transaction_states.at = list;
    response.transaction_states.count = list != NULL ? count : 0;
    transactions__answer(transactions, call->token, &response);
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
transactions_list(struct transactions *transactions,
                  const struct transaction_call *call,
                  const struct kafka_list_transactions_request *request,
                  struct transaction_time time)
{
    struct kafka_arena arena = transactions->config.hooks.scratch(transactions->config.hooks.ctx);
    struct kafka_list_transactions_response response;
    struct kafka_list_transactions_response_transaction *list = kafka_arena_take(
        &arena, transactions->ids.used * sizeof(*list) + 8);
    struct bytes *unknown = kafka_arena_take(&arena,
                                             request->state_filters.count * sizeof(*unknown) + 8);
    uint32_t unknown_count = 0;
    uint32_t count = 0;

    kafka_list_transactions_response_defaults(&response);
    if (list == NULL || unknown == NULL) {
        response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        transactions__answer(transactions, call->token, &response);
        return;
    }
    for (uint32_t i = 0; i < request->state_filters.count; i++) {
        if (!list_knows_state(request->state_filters.at[i]))
            unknown[unknown_count++] = request->state_filters.at[i];
    }
    for (uint32_t i = 0; i < transactions->ids_touched; i++) {
        const struct transaction *transaction = transaction__at(transactions, i);
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
    transactions__answer(transactions, call->token, &response);
}

/* ---- refusals */

static void
refuse_describe(struct transactions *transactions,
                const struct transaction_call *call,
                const struct kafka_describe_transactions_request *request,
                int16_t error)
{
    struct kafka_arena arena = transactions->config.hooks.scratch(transactions->config.hooks.ctx);
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
    transactions__answer(transactions, call->token, &response);
}

void
transactions_refuse(struct transactions *transactions,
                    const struct transaction_call *call,
                    int16_t api_key,
                    const void *request,
                    int16_t error)
{
    struct kafka_list_transactions_response listed;

    switch (api_key) {
    case KAFKA_INIT_PRODUCER_ID:
        transactions__answer_init(transactions, call, error, NULL);
        break;
    case KAFKA_ADD_PARTITIONS_TO_TXN:
        add__refuse(transactions, call, request, error);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        transactions__answer_offsets(transactions, call, error);
        break;
    case KAFKA_END_TXN:
        transactions__answer_end(transactions, call, error);
        break;
    case KAFKA_DESCRIBE_TRANSACTIONS:
        refuse_describe(transactions, call, request, error);
        break;
    default:
        CHECK(api_key == KAFKA_LIST_TRANSACTIONS);
        kafka_list_transactions_response_defaults(&listed);
        listed.error = error;
        transactions__answer(transactions, call->token, &listed);
    }
}

/* ---- views */

const struct transactions_counters *
transactions_counters(const struct transactions *transactions)
{
    return &transactions->counters;
}

uint32_t
transactions_count(const struct transactions *transactions, enum transaction_state state)
{
    return transactions->state_counts[state];
}

int64_t
transactions_oldest_ms(const struct transactions *transactions)
{
    return transactions->oldest_ms;
}

bool
transactions_next(const struct transactions *transactions,
                  uint32_t *cursor,
                  struct transaction_view *ret)
{
    while (*cursor < transactions->ids_touched) {
        const struct transaction *transaction = transaction__at(transactions, (*cursor)++);
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
transactions_next_partition(const struct transactions *transactions,
                            struct bytes id,
                            uint32_t *cursor,
                            struct transaction_partition_view *ret)
{
    const struct transaction *transaction = transaction__find(transactions, id);

    if (transaction == NULL)
        return false;
    uint32_t idx = *cursor == SLAB_NONE ? transaction->partition_first
                                        : partition__at(transactions, *cursor)->after;
    if (idx == SLAB_NONE)
        return false;
    const struct transaction_partition *entry = partition__at(transactions, idx);
    *cursor = idx;
    *ret = (struct transaction_partition_view){.topic = partition__topic(entry),
                                               .partition = entry->partition};
    return true;
}
