/* Requests of transactional producers (22 with an id, 24 to 26) and of tools that look at
 * transactions (65, 66): handed to the coordinator whole, which answers now or later. Until its log
 * is there they are told to try again. */
#include "engine/control/control_internal.h"

bool
control__is_transactional(const struct control_call *call)
{
    const struct kafka_init_producer_id_request *request = call->message;

    return request->transactional_id.at != NULL;
}

static bool
only_looks(const struct control_call *call)
{
    return call->header.api_key == KAFKA_LIST_TRANSACTIONS ||
           call->header.api_key == KAFKA_DESCRIBE_TRANSACTIONS;
}

/* Kafka's tools take "not available" for the end of the broker, and "loads" for what it is: they
 * ask again. Producers look for the coordinator anew, which makes the log. */
static int16_t
unready_error(const struct internal_log *log, const struct control_call *call)
{
    if (only_looks(call) && log->state != INTERNAL_LOG_FAILED)
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    return log->state == INTERNAL_LOG_READ || log->state == INTERNAL_LOG_WAIT
               ? KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS
               : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void
control__transaction_dispatch(struct control *control, struct control_call *call)
{
    const struct transaction_call who = {.token = control__call_token(control, call),
                                         .version = call->header.api_version};
    struct transaction_time time = control__transaction_time(control);
    struct coordinator *transactions = control->transactions;
    struct internal_log *log = &control->internal[INTERNAL_LOG_TRANSACTIONS];

    /* Looking makes no log; of one that was never made the answer is that there is nothing. */
    if (log->state != INTERNAL_LOG_READY &&
        !(only_looks(call) && control__internal_log_is_void(control, log))) {
        control__internal_log_want(control, log);
        coordinator_refuse(
            transactions, &who, call->header.api_key, call->message, unready_error(log, call));
        return;
    }
    switch (call->header.api_key) {
    case KAFKA_INIT_PRODUCER_ID:
        coordinator_init_producer(transactions, &who, call->message, time);
        break;
    case KAFKA_ADD_PARTITIONS_TO_TXN:
        coordinator_add_partitions(transactions, &who, call->message, time);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        coordinator_add_offsets(transactions, &who, call->message, time);
        break;
    case KAFKA_END_TXN:
        coordinator_end(transactions, &who, call->message, time);
        break;
    case KAFKA_DESCRIBE_TRANSACTIONS:
        coordinator_describe(transactions, &who, call->message);
        break;
    default:
        CHECK(call->header.api_key == KAFKA_LIST_TRANSACTIONS);
        coordinator_list(transactions, &who, call->message, time);
    }
}

/* Asking again for want of room must not show: a decision would be told as one under way. */
static uint64_t
transaction_reply_bound(const struct control_call *call)
{
    return 64 + 4 * call->body.count;
}

const struct control_api control__apis_of_transactions[] = {
    {.key = KAFKA_ADD_PARTITIONS_TO_TXN,
     .begin = control__begin_whole,
     .dispatch = control__transaction_dispatch,
     .reply_bound = transaction_reply_bound},
    {.key = KAFKA_ADD_OFFSETS_TO_TXN,
     .begin = control__begin_whole,
     .dispatch = control__transaction_dispatch,
     .reply_bound = transaction_reply_bound},
    {.key = KAFKA_END_TXN,
     .begin = control__begin_whole,
     .dispatch = control__transaction_dispatch,
     .reply_bound = transaction_reply_bound},
    {.key = KAFKA_DESCRIBE_TRANSACTIONS,
     .begin = control__begin_whole,
     .dispatch = control__transaction_dispatch},
    {.key = KAFKA_LIST_TRANSACTIONS,
     .begin = control__begin_whole,
     .dispatch = control__transaction_dispatch},
};
const uint32_t control__apis_of_transactions_count = ARRAY_COUNT(control__apis_of_transactions);
