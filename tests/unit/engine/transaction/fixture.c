/* See fixture.h. Requests live on the heap because waiting ones are borrowed until they are
 * answered; the process of a test ends with it. */
#include "tests/unit/engine/transaction/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct bytes
text(const char *text)
{
    return text == NULL ? (struct bytes){0} : (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void
keep(char *to, size_t capacity, struct bytes from)
{
    snprintf(to, capacity, "%.*s", (int)from.count, from.count > 0 ? (const char *)from.at : "");
}

/* ---- answers */

static void
keep_results(struct fixture_answer *answer,
             const struct kafka_add_partitions_to_txn_response_topic_result *topics,
             uint32_t count)
{
    for (uint32_t t = 0; t < count; t++)
        for (uint32_t p = 0; p < topics[t].results_by_partition.count; p++) {
            cr_assert_lt(answer->item_count, 16);
            answer->errors[answer->item_count++] =
                topics[t].results_by_partition.at[p].partition_error_code;
        }
}

static void
keep_added(struct fixture_answer *answer,
           const struct kafka_add_partitions_to_txn_response *response)
{
    answer->error = response->error;
    keep_results(answer,
                 response->results_by_topic_v3_and_below.at,
                 response->results_by_topic_v3_and_below.count);
    for (uint32_t i = 0; i < response->results_by_transaction.count; i++)
        keep_results(answer,
                     response->results_by_transaction.at[i].topic_results.at,
                     response->results_by_transaction.at[i].topic_results.count);
}

static void
keep_described(struct fixture_answer *answer,
               const struct kafka_describe_transactions_response *response)
{
    const struct kafka_describe_transactions_response_transaction *one =
        &response->transaction_states.at[0];

    answer->error = one->error;
    answer->producer_id = one->producer_id;
    answer->producer_epoch = one->producer_epoch;
    answer->start_ms = one->transaction_start_time_ms;
    keep(answer->states[0], sizeof(answer->states[0]), one->transaction_state);
    for (uint32_t t = 0; t < one->topics.count; t++)
        answer->partition_count += one->topics.at[t].partitions.count;
    answer->item_count = one->topics.count;
}

static void
keep_listed(struct fixture_answer *answer, const struct kafka_list_transactions_response *response)
{
    answer->error = response->error;
    answer->unknown_count = response->unknown_state_filters.count;
    for (uint32_t i = 0; i < response->transaction_states.count && i < 16; i++)
        keep(answer->states[i], 24, response->transaction_states.at[i].transaction_state);
    answer->item_count = response->transaction_states.count;
}

static void
hook_answer(void *ctx, uint64_t token, const void *response)
{
    struct fixture *fixture = ctx;
    struct fixture_answer *answer = &fixture->answers[token];

    answer->count++;
    switch (fixture->api[token]) {
    case KAFKA_INIT_PRODUCER_ID: {
        const struct kafka_init_producer_id_response *init = response;
        answer->error = init->error;
        answer->producer_id = init->producer_id;
        answer->producer_epoch = init->producer_epoch;
        break;
    }
    case KAFKA_ADD_PARTITIONS_TO_TXN:
        keep_added(answer, response);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        answer->error = ((const struct kafka_add_offsets_to_txn_response *)response)->error;
        break;
    case KAFKA_END_TXN:
        answer->error = ((const struct kafka_end_txn_response *)response)->error;
        break;
    case KAFKA_DESCRIBE_TRANSACTIONS:
        keep_described(answer, response);
        break;
    default:
        keep_listed(answer, response);
    }
}

/* ---- the log and the rest */

static struct bytes
copy(struct bytes from)
{
    if (from.at == NULL)
        return (struct bytes){0};
    uint8_t *to = kept(malloc(from.count + 1));
    memcpy(to, from.at, from.count);
    return (struct bytes){to, from.count};
}

static bool
hook_append(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number)
{
    struct fixture *fixture = ctx;

    if (fixture->log_full || fixture->record_count == FIXTURE_RECORDS)
        return false;
    fixture->records[fixture->record_count] = (struct fixture_record){copy(key), copy(value)};
    *ret_number = ++fixture->record_count;
    return true;
}

static bool
hook_producer_id(void *ctx, int64_t *ret_id)
{
    struct fixture *fixture = ctx;

    if (fixture->no_ids)
        return false;
    *ret_id = fixture->next_producer_id++;
    return true;
}

static enum transaction_order_result
hook_order(void *ctx, const struct transaction_order *order)
{
    struct fixture *fixture = ctx;
    struct fixture_order *kept_order = &fixture->orders[fixture->order_count];

    if (fixture->orders_busy || fixture->order_count == FIXTURE_ORDERS)
        return TRANSACTION_ORDER_BUSY;
    if (order->topic.count > 0 && order->topic.at[0] == 'x')
        return TRANSACTION_ORDER_DONE; /* a topic that is gone */
    kept_order->order = *order;
    keep(kept_order->topic, sizeof(kept_order->topic), order->topic);
    fixture->order_count++;
    fixture->orders_seen++;
    return TRANSACTION_ORDER_SENT;
}

static uint32_t
hook_partition_count(void *ctx, struct bytes topic)
{
    (void)ctx;
    char last = topic.count > 0 ? (char)topic.at[topic.count - 1] : '0';
    return last >= '0' && last <= '9' ? (uint32_t)(last - '0') : 0;
}

static struct kafka_arena
hook_scratch(void *ctx)
{
    struct fixture *fixture = ctx;

    memset(fixture->scratch, 0xdd, 4096);
    return kafka_arena_over(fixture->scratch, sizeof(fixture->scratch));
}

struct coordinator_limits
fixture_limits(void)
{
    return (struct coordinator_limits){
        .transactions_max = 16,
        .partitions_max = 64,
        .size_max = 20,
        .timeout_max_ms = 900000,
        .expiration_ms = 600000,
        .orders_max = 32,
    };
}

static struct fixture *
fixture_bare(const struct coordinator_limits *limits)
{
    struct fixture *fixture = kept(calloc(1, sizeof(*fixture)));
    struct diag_trail trail = {0};

    fixture->config = (struct coordinator_config){
        .limits = *limits,
        .hooks = {.ctx = fixture,
                  .answer = hook_answer,
                  .append = hook_append,
                  .producer_id = hook_producer_id,
                  .order = hook_order,
                  .partition_count = hook_partition_count,
                  .scratch = hook_scratch},
        .hash_seed = 7,
    };
    fixture->time = (struct transaction_time){.now_ns = NS_PER_S, .wall_ms = 1000000};
    fixture->next_token = 1;
    fixture->next_producer_id = 1000;
    uint64_t bytes = round_up(coordinator_footprint(limits), 4096);
    fixture->memory = kept(aligned_alloc(4096, bytes));
    memset(fixture->memory, 0, bytes);
    cr_assert_eq(coordinator_init(fixture->memory, &fixture->config, &fixture->coordinator, &trail),
                 RC_OK);
    return fixture;
}

struct fixture *
fixture_with(const struct coordinator_limits *limits)
{
    struct fixture *fixture = fixture_bare(limits);

    coordinator_loaded(fixture->coordinator, fixture->time);
    return fixture;
}

struct fixture *
fixture_new(void)
{
    struct coordinator_limits limits = fixture_limits();

    return fixture_with(&limits);
}

struct fixture *
fixture_restart(const struct fixture *fixture, uint32_t record_count)
{
    struct fixture *next = fixture_bare(&fixture->config.limits);
    struct diag_trail trail = {0};

    next->time = fixture->time;
    next->next_producer_id = fixture->next_producer_id + 1000;
    for (uint32_t i = 0; i < record_count; i++) {
        const struct fixture_record *record = &fixture->records[i];
        next->records[i] = *record;
        cr_assert_eq(coordinator_replay(next->coordinator, record->key, record->value, &trail),
                     RC_OK,
                     "%s",
                     trail.text);
    }
    next->record_count = record_count;
    coordinator_loaded(next->coordinator, next->time);
    return next;
}

/* ---- progress */

void
fixture_durable(struct fixture *fixture, enum rc rc)
{
    coordinator_durable(fixture->coordinator, fixture->record_count, rc, fixture->time);
}

void
fixture_tick(struct fixture *fixture)
{
    coordinator_tick(fixture->coordinator, fixture->time);
}

void
fixture_ordered(struct fixture *fixture, enum rc rc)
{
    fixture_tick(fixture);
    uint32_t count = fixture->order_count;
    fixture->order_count = 0;
    for (uint32_t i = 0; i < count; i++)
        coordinator_ordered(
            fixture->coordinator, fixture->orders[i].order.ticket, rc, fixture->time);
}

void
fixture_settle(struct fixture *fixture)
{
    for (int i = 0; i < 6; i++) {
        fixture_durable(fixture, RC_OK);
        fixture_ordered(fixture, RC_OK);
    }
}

void
fixture_pass(struct fixture *fixture, uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = min_u64(ms, 1000);
        fixture->time.now_ns += step * NS_PER_MS;
        fixture->time.wall_ms += (int64_t)step;
        ms -= step;
        if (coordinator_deadline(fixture->coordinator) <= fixture->time.now_ns)
            fixture_tick(fixture);
        if (!fixture->by_hand)
            fixture_settle(fixture);
    }
}

const struct fixture_answer *
fixture_answer(const struct fixture *fixture, uint64_t token)
{
    cr_assert_eq(fixture->answers[token].count, 1, "token %llu", (unsigned long long)token);
    return &fixture->answers[token];
}

bool
fixture_is_waiting(const struct fixture *fixture, uint64_t token)
{
    return fixture->answers[token].count == 0;
}

struct transaction_view
fixture_view(const struct fixture *fixture, const char *id)
{
    struct transaction_view view;
    uint32_t cursor = 0;

    while (coordinator_next(fixture->coordinator, &cursor, &view)) {
        if (view.id.count == strlen(id) && memcmp(view.id.at, id, view.id.count) == 0)
            return view;
    }
    return (struct transaction_view){.state = TRANSACTION_STATES};
}

/* ---- requests */

static struct transaction_call
begin(struct fixture *fixture, int16_t api, int16_t version)
{
    uint64_t token = fixture->next_token++;

    cr_assert_lt(token, FIXTURE_TOKENS);
    fixture->api[token] = api;
    return (struct transaction_call){.token = token, .version = version};
}

static uint64_t
end(struct fixture *fixture, const struct transaction_call *call)
{
    if (!fixture->by_hand)
        fixture_settle(fixture);
    cr_assert_leq(fixture->answers[call->token].count, 1);
    return call->token;
}

static uint64_t
init(struct fixture *fixture, const char *id, int32_t timeout_ms, struct producer producer)
{
    struct transaction_call call = begin(fixture, KAFKA_INIT_PRODUCER_ID, 4);
    struct kafka_init_producer_id_request *request = kept(calloc(1, sizeof(*request)));

    request->transactional_id = text(id);
    request->transaction_timeout_ms = timeout_ms;
    request->producer_id = producer.id;
    request->producer_epoch = producer.epoch;
    coordinator_init_producer(fixture->coordinator, &call, request, fixture->time);
    return end(fixture, &call);
}

uint64_t
fixture_init(struct fixture *fixture, const char *id, int32_t timeout_ms)
{
    return init(fixture, id, timeout_ms, (struct producer){-1, -1});
}

uint64_t
fixture_init_again(struct fixture *fixture, const char *id, struct producer producer)
{
    return init(fixture, id, 60000, producer);
}

struct producer
fixture_producer(struct fixture *fixture, const char *id)
{
    for (int i = 0; i < 4; i++) {
        uint64_t token = fixture_init(fixture, id, 60000);
        fixture_settle(fixture);
        const struct fixture_answer *answer = fixture_answer(fixture, token);
        if (answer->error == 0)
            return (struct producer){answer->producer_id, answer->producer_epoch};
        cr_assert_eq(answer->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    }
    cr_assert_fail("no producer");
    return (struct producer){-1, -1};
}

/* Each "t3:2" becomes a topic of one partition. */
static uint32_t
add_topics(const char *partitions, struct kafka_add_partitions_to_txn_request_topic *topics)
{
    uint32_t count = 0;

    while (*partitions != '\0') {
        size_t name = strcspn(partitions, ":");
        char *copied = kept(strndup(partitions, name));
        int32_t *index = kept(malloc(sizeof(*index)));
        *index = (int32_t)strtol(partitions + name + 1, NULL, 10);
        topics[count].name = text(copied);
        topics[count].partitions.at = index;
        topics[count].partitions.count = 1;
        count++;
        partitions += strcspn(partitions, ",");
        partitions += *partitions == ',';
    }
    return count;
}

uint64_t
fixture_add(struct fixture *fixture, const struct add *add)
{
    int16_t version = add->version != 0 ? add->version : 3;
    struct transaction_call call = begin(fixture, KAFKA_ADD_PARTITIONS_TO_TXN, version);
    struct kafka_add_partitions_to_txn_request *request = kept(calloc(1, sizeof(*request)));
    struct kafka_add_partitions_to_txn_request_transaction *one = kept(calloc(1, sizeof(*one)));
    struct kafka_add_partitions_to_txn_request_topic *topics = kept(calloc(64, sizeof(*topics)));
    uint32_t count = add_topics(add->partitions, topics);

    if (version >= 4) {
        one->transactional_id = text(add->id);
        one->producer_id = add->producer.id;
        one->producer_epoch = add->producer.epoch;
        one->verify_only = add->verify_only;
        one->topics.at = topics;
        one->topics.count = count;
        request->transactions.at = one;
        request->transactions.count = 1;
    } else {
        request->v3_and_below_transactional_id = text(add->id);
        request->v3_and_below_producer_id = add->producer.id;
        request->v3_and_below_producer_epoch = add->producer.epoch;
        request->v3_and_below_topics.at = topics;
        request->v3_and_below_topics.count = count;
    }
    coordinator_add_partitions(fixture->coordinator, &call, request, fixture->time);
    return end(fixture, &call);
}

uint64_t
fixture_add_offsets(struct fixture *fixture, const char *id, struct producer producer)
{
    struct transaction_call call = begin(fixture, KAFKA_ADD_OFFSETS_TO_TXN, 3);
    struct kafka_add_offsets_to_txn_request *request = kept(calloc(1, sizeof(*request)));

    request->transactional_id = text(id);
    request->producer_id = producer.id;
    request->producer_epoch = producer.epoch;
    request->group_id = text("group");
    coordinator_add_offsets(fixture->coordinator, &call, request, fixture->time);
    return end(fixture, &call);
}

uint64_t
fixture_end(struct fixture *fixture, const char *id, struct producer producer, bool commit)
{
    struct transaction_call call = begin(fixture, KAFKA_END_TXN, 3);
    struct kafka_end_txn_request *request = kept(calloc(1, sizeof(*request)));

    request->transactional_id = text(id);
    request->producer_id = producer.id;
    request->producer_epoch = producer.epoch;
    request->committed = commit;
    coordinator_end(fixture->coordinator, &call, request, fixture->time);
    return end(fixture, &call);
}

uint64_t
fixture_describe(struct fixture *fixture, const char *id)
{
    struct transaction_call call = begin(fixture, KAFKA_DESCRIBE_TRANSACTIONS, 0);
    struct bytes name = text(id);
    struct kafka_describe_transactions_request request = {
        .transactional_ids = {.at = &name, .count = 1}};

    coordinator_describe(fixture->coordinator, &call, &request);
    return call.token;
}

uint64_t
fixture_list(struct fixture *fixture, const struct kafka_list_transactions_request *request)
{
    struct transaction_call call = begin(fixture, KAFKA_LIST_TRANSACTIONS, 1);

    coordinator_list(fixture->coordinator, &call, request, fixture->time);
    return call.token;
}
