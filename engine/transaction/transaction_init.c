/* InitProducerId with a transactional id: the id gets its next epoch, which fences who had it; a
 * transaction that is open is aborted first, and the caller comes again (KIP-98, KIP-360). */
#include "engine/transaction/transaction_inner.h"

void
coordinator__answer_init(struct coordinator *coordinator,
                         const struct transaction_call *call,
                         int16_t error,
                         const struct transaction_producer *producer)
{
    struct kafka_init_producer_id_response response;

    kafka_init_producer_id_response_defaults(&response);
    response.error = kafka_error_for_version(error, KAFKA_INIT_PRODUCER_ID, call->version);
    response.producer_id = -1;
    response.producer_epoch = -1;
    if (error == KAFKA_ERROR_NONE) {
        response.producer_id = producer->id;
        response.producer_epoch = producer->epoch;
    } else {
        coordinator->counters.refused++;
    }
    coordinator__answer(coordinator, call->token, &response);
}

static int16_t
init_check(const struct coordinator *coordinator,
           const struct kafka_init_producer_id_request *request)
{
    if (request->transactional_id.count == 0 ||
        request->transactional_id.count > TRANSACTION_ID_BYTES_MAX)
        return KAFKA_ERROR_INVALID_REQUEST;
    if (request->transaction_timeout_ms <= 0 ||
        request->transaction_timeout_ms > coordinator->config.limits.timeout_max_ms)
        return KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT;
    if ((request->producer_id < 0) != (request->producer_epoch < 0))
        return KAFKA_ERROR_INVALID_REQUEST;
    return KAFKA_ERROR_NONE;
}

/* Whether who names its producer id and epoch is the owner of the id:
 *
 *   named id   named epoch            owner when
 *   none       none                   always: it takes the id over
 *   any        any                    the id is new here
 *   current    current                always
 *   current    the one before         it asks again for an answer that it did not get, and no
 *                                     transaction was begun since
 *   the former one, at its last epoch it asks again after the change of the producer id */
static bool
init_owns(const struct transaction *transaction,
          const struct kafka_init_producer_id_request *request)
{
    const struct transaction_producer *has = &transaction->producer;

    if (request->producer_id < 0 || has->epoch < 0)
        return true;
    if (request->producer_id == has->id)
        return request->producer_epoch == has->epoch ||
               (request->producer_epoch == has->last_epoch &&
                transaction->state != TRANSACTION_ONGOING);
    return request->producer_id == has->last_id &&
           request->producer_epoch >= TRANSACTION_EPOCH_LAST &&
           request->producer_epoch == has->last_epoch;
}

/* The producer after this request. Its id is -1 when it needs a new one. */
static struct transaction_producer
init_next(const struct transaction *transaction,
          const struct kafka_init_producer_id_request *request)
{
    const struct transaction_producer *has = &transaction->producer;
    bool names_one = request->producer_id >= 0;
    struct transaction_producer next = {
        .id = has->id,
        .last_id = has->last_id,
        .last_epoch = -1,
        .timeout_ms = request->transaction_timeout_ms,
    };

    if (names_one)
        next.last_epoch = has->epoch;
    if (has->epoch < 0) {
        next.id = -1;
        next.last_epoch = -1;
    } else if (names_one &&
               (request->producer_id != has->id || request->producer_epoch != has->epoch)) {
        next.epoch = has->epoch; /* asked again */
        next.last_epoch = has->last_epoch;
    } else if (has->epoch >= TRANSACTION_EPOCH_LAST) {
        next.id = -1;
        next.last_id = has->id;
    } else {
        next.epoch = (int16_t)(has->epoch + 1);
    }
    return next;
}

/* An id that never got a producer is not kept. */
static void
init_end(struct coordinator *coordinator, struct transaction *transaction, int16_t error)
{
    transaction->step = STEP_NONE;
    transaction__answer_asker(coordinator, transaction, error);
    if (transaction->producer.epoch < 0)
        transaction__remove(coordinator, transaction);
}

static void
init_store(struct coordinator *coordinator,
           struct transaction *transaction,
           struct transaction_time time)
{
    const struct transaction_value value = {
        .producer = transaction->next_producer,
        .state = TRANSACTION_EMPTY,
        .start_ms = -1,
        .update_ms = time.wall_ms,
    };

    transaction->update_ms = time.wall_ms;
    if (!transaction__store(coordinator, transaction, &value, STEP_INIT))
        init_end(coordinator, transaction, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
}

void
init__ask_id(struct coordinator *coordinator,
             struct transaction *transaction,
             struct transaction_time time)
{
    struct transaction_producer *next = &transaction->next_producer;

    CHECK(transaction->step == STEP_ID);
    if (next->id < 0 &&
        !coordinator->config.hooks.producer_id(coordinator->config.hooks.ctx, &next->id)) {
        order__queue(coordinator, transaction);
        return;
    }
    if (next->id < 0) {
        init_end(coordinator, transaction, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    init_store(coordinator, transaction, time);
}

void
init__stored(struct coordinator *coordinator, struct transaction *transaction, enum rc rc)
{
    if (rc != RC_OK) {
        init_end(coordinator, transaction, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    transaction->producer = transaction->next_producer;
    transaction__move(coordinator, transaction, TRANSACTION_EMPTY);
    init_end(coordinator, transaction, KAFKA_ERROR_NONE);
}

/* A new producer while the former one's transaction is open: that is aborted under an epoch that
 * nobody has, so its producer is fenced; the caller comes again and gets the one after. */
static int16_t
init_fence(struct coordinator *coordinator,
           struct transaction *transaction,
           struct transaction_time time)
{
    const struct transaction_decision decision = {.state = TRANSACTION_PREPARE_ABORT,
                                                  .cause = CAUSE_FENCED};

    return end__decide(coordinator, transaction, decision, time)
               ? KAFKA_ERROR_CONCURRENT_TRANSACTIONS
               : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void
coordinator_init_producer(struct coordinator *coordinator,
                          const struct transaction_call *call,
                          const struct kafka_init_producer_id_request *request,
                          struct transaction_time time)
{
    const struct transaction_parked who = {
        .api = KAFKA_INIT_PRODUCER_ID,
        .version = call->version,
        .token = call->token,
        .request = request,
    };
    int16_t error = init_check(coordinator, request);
    struct transaction *transaction = NULL;

    if (error == KAFKA_ERROR_NONE) {
        transaction = transaction__find(coordinator, request->transactional_id);
        if (transaction == NULL)
            transaction = transaction__add(coordinator, request->transactional_id);
        if (transaction == NULL)
            error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        else if (park__take(coordinator, transaction, &who, time))
            return;
        else if (transaction->step != STEP_NONE)
            error = KAFKA_ERROR_CONCURRENT_TRANSACTIONS;
        else if (!init_owns(transaction, request))
            error = KAFKA_ERROR_PRODUCER_FENCED;
        else if (transaction->state == TRANSACTION_ONGOING)
            error = init_fence(coordinator, transaction, time);
    }
    if (error != KAFKA_ERROR_NONE) {
        coordinator__answer_init(coordinator, call, error, NULL);
        return;
    }
    transaction->next_producer = init_next(transaction, request);
    transaction->asker_api = KAFKA_INIT_PRODUCER_ID;
    transaction->asker_version = call->version;
    transaction->asker_token = call->token;
    transaction->step = STEP_ID;
    init__ask_id(coordinator, transaction, time);
}

/* What makes no sense is told so even while nothing can be served: asking again would not help. */
void
init__refuse(struct coordinator *coordinator,
             const struct transaction_call *call,
             const struct kafka_init_producer_id_request *request,
             int16_t error)
{
    int16_t own = init_check(coordinator, request);

    if (own != KAFKA_ERROR_NONE)
        error = own;
    coordinator__answer_init(coordinator, call, error, NULL);
}
