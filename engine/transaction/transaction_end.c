/* How transactions end: EndTxn, the stored decision, markers, the stored end. Once the decision is
 * durable it stands: EndTxn is answered, and the markers go out until every partition has one,
 * over restarts if need be. */
#include "engine/transaction/transaction_inner.h"

void
coordinator__answer_end(struct coordinator *coordinator,
                        const struct transaction_call *call,
                        int16_t error)
{
    struct kafka_end_txn_response response;

    kafka_end_txn_response_defaults(&response);
    response.error = kafka_error_for_version(error, KAFKA_END_TXN, call->version);
    if (error != KAFKA_ERROR_NONE)
        coordinator->counters.refused++;
    coordinator__answer(coordinator, call->token, &response);
}

void
transaction__answer_asker(struct coordinator *coordinator,
                          struct transaction *transaction,
                          int16_t error)
{
    const struct transaction_call call = {.token = transaction->asker_token,
                                          .version = transaction->asker_version};

    transaction->asker_token = 0;
    if (call.token == 0)
        return;
    switch (transaction->asker_api) {
    case KAFKA_INIT_PRODUCER_ID:
        coordinator__answer_init(coordinator, &call, error, &transaction->producer);
        break;
    case KAFKA_ADD_PARTITIONS_TO_TXN:
        add__answer(coordinator, (uint32_t)(call.token - 1), transaction->batch_item, error);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        coordinator__answer_offsets(coordinator, &call, error);
        break;
    default:
        CHECK(transaction->asker_api == KAFKA_END_TXN);
        coordinator__answer_end(coordinator, &call, error);
    }
}

/* ---- the decision */

bool
end__decide(struct coordinator *coordinator,
            struct transaction *transaction,
            struct transaction_decision decision,
            struct transaction_time time)
{
    struct transaction_value value = {
        .producer = transaction->producer,
        .state = decision.state,
        .start_ms = transaction->start_ms,
        .update_ms = time.wall_ms,
    };

    CHECK(transaction->state == TRANSACTION_ONGOING);
    CHECK(transaction->step == STEP_NONE);
    if (decision.cause != CAUSE_ASKED) {
        value.producer.last_epoch = -1;
        if (value.producer.epoch < INT16_MAX)
            value.producer.epoch++;
    }
    if (!transaction__store(coordinator, transaction, &value, STEP_PREPARE))
        return false;
    if (decision.cause != CAUSE_ASKED)
        transaction__move(coordinator, transaction, TRANSACTION_EPOCH_FENCE);
    transaction->next_producer = value.producer;
    transaction->next_state = (uint8_t)decision.state;
    transaction->cause = (uint8_t)decision.cause;
    transaction->update_ms = time.wall_ms;
    return true;
}

static void
end_count(struct coordinator_counters *counters, const struct transaction *transaction)
{
    if (transaction->state == TRANSACTION_PREPARE_COMMIT)
        counters->commits++;
    else if (transaction->cause == CAUSE_ASKED)
        counters->aborts_asked++;
    else if (transaction->cause == CAUSE_FENCED)
        counters->aborts_fenced++;
    else
        counters->aborts_expired++;
}

void
end__prepared(struct coordinator *coordinator,
              struct transaction *transaction,
              enum rc rc,
              struct transaction_time time)
{
    if (rc != RC_OK) {
        if (transaction->state == TRANSACTION_EPOCH_FENCE)
            transaction__move(coordinator, transaction, TRANSACTION_ONGOING);
        transaction__answer_asker(coordinator, transaction, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        coordinator__wake(coordinator, time.now_ns + TRANSACTION_TICK_NS);
        return;
    }
    transaction->producer = transaction->next_producer;
    transaction->deadline_ns = NO_DEADLINE;
    transaction__move(coordinator, transaction, (enum transaction_state)transaction->next_state);
    end_count(&coordinator->counters, transaction);
    end__mark(coordinator, transaction);
    transaction__answer_asker(coordinator, transaction, KAFKA_ERROR_NONE);
}

/* ---- markers and the end */

void
end__mark(struct coordinator *coordinator, struct transaction *transaction)
{
    transaction->step = STEP_MARK;
    transaction->retry_ns = NO_DEADLINE;
    transaction->orders_left = order__due(coordinator, transaction, false);
    order__queue(coordinator, transaction);
}

void
end__marked(struct coordinator *coordinator,
            struct transaction *transaction,
            struct transaction_time time)
{
    const struct transaction_value value = {
        .producer = transaction->producer,
        .state = transaction->state == TRANSACTION_PREPARE_COMMIT ? TRANSACTION_COMPLETE_COMMIT
                                                                  : TRANSACTION_COMPLETE_ABORT,
        .start_ms = transaction->start_ms,
        .update_ms = time.wall_ms,
    };

    CHECK(transaction->step == STEP_MARK);
    CHECK(transaction->orders_left == 0);
    transaction->update_ms = time.wall_ms;
    if (!transaction__store(coordinator, transaction, &value, STEP_COMPLETE))
        order__queue(coordinator, transaction);
}

void
end__completed(struct coordinator *coordinator,
               struct transaction *transaction,
               enum rc rc,
               struct transaction_time time)
{
    if (rc != RC_OK) {
        park__refuse(coordinator, transaction);
        transaction->step = STEP_MARK;
        transaction->retry_ns = time.now_ns + TRANSACTION_RETRY_NS;
        coordinator__wake(coordinator, transaction->retry_ns);
        return;
    }
    transaction__move(coordinator,
                      transaction,
                      transaction->state == TRANSACTION_PREPARE_COMMIT
                          ? TRANSACTION_COMPLETE_COMMIT
                          : TRANSACTION_COMPLETE_ABORT);
    transaction__partitions_drop(coordinator, transaction, false);
    transaction->start_ms = -1;
    park__resume(coordinator, transaction, time);
}

/* ---- EndTxn */

/* What EndTxn means in each state; -1: it decides. Rows labelled in test_transaction_end.c.
 *
 *   state                  commit                  abort
 *   EMPTY                  INVALID_TXN_STATE       INVALID_TXN_STATE
 *   ONGOING                decides                 decides
 *   PREPARE_COMMIT         CONCURRENT (it is on    INVALID_TXN_STATE
 *                          its way)
 *   PREPARE_ABORT          INVALID_TXN_STATE       CONCURRENT
 *   COMPLETE_COMMIT        0: said again           INVALID_TXN_STATE
 *   COMPLETE_ABORT         INVALID_TXN_STATE       0: said again */
#define END_DECIDES (-1)

static int16_t
end_error(const struct transaction *transaction, bool is_commit)
{
    switch ((enum transaction_state)transaction->state) {
    case TRANSACTION_ONGOING:
        return END_DECIDES;
    case TRANSACTION_PREPARE_COMMIT:
    case TRANSACTION_PREPARE_ABORT:
        return is_commit == (transaction->state == TRANSACTION_PREPARE_COMMIT)
                   ? KAFKA_ERROR_CONCURRENT_TRANSACTIONS
                   : KAFKA_ERROR_INVALID_TXN_STATE;
    case TRANSACTION_COMPLETE_COMMIT:
    case TRANSACTION_COMPLETE_ABORT:
        return is_commit == (transaction->state == TRANSACTION_COMPLETE_COMMIT)
                   ? KAFKA_ERROR_NONE
                   : KAFKA_ERROR_INVALID_TXN_STATE;
    case TRANSACTION_EPOCH_FENCE:
    case TRANSACTION_DEAD:
        return KAFKA_ERROR_CONCURRENT_TRANSACTIONS;
    case TRANSACTION_EMPTY:
    case TRANSACTION_STATES:
        break;
    }
    return KAFKA_ERROR_INVALID_TXN_STATE;
}

void
coordinator_end(struct coordinator *coordinator,
                const struct transaction_call *call,
                const struct kafka_end_txn_request *request,
                struct transaction_time time)
{
    const struct transaction_producer producer = {.id = request->producer_id,
                                                  .epoch = request->producer_epoch};
    const struct transaction_decision decision = {
        .state = request->committed ? TRANSACTION_PREPARE_COMMIT : TRANSACTION_PREPARE_ABORT,
        .cause = CAUSE_ASKED,
    };
    struct transaction *transaction = NULL;
    int16_t error = transaction__check(
        coordinator, request->transactional_id, &producer, &transaction);

    if (error == KAFKA_ERROR_NONE) {
        error = end_error(transaction, request->committed);
        /* Something is under way: what was meant counts only when that has its result. */
        if (transaction->step != STEP_NONE && error != KAFKA_ERROR_INVALID_TXN_STATE)
            error = KAFKA_ERROR_CONCURRENT_TRANSACTIONS;
    }
    if (error == END_DECIDES) {
        transaction->asker_api = KAFKA_END_TXN;
        transaction->asker_version = call->version;
        transaction->asker_token = call->token;
        if (end__decide(coordinator, transaction, decision, time))
            return;
        transaction->asker_token = 0;
        error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    coordinator__answer_end(coordinator, call, error);
}
