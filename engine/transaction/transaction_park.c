/* One request per id may wait for the end of the transaction before it: the first request of the
 * next transaction usually comes while the markers of the last are on their way, and telling it to
 * come again costs the client a pause that is longer than the markers take. What takes longer than
 * that is answered with CONCURRENT_TRANSACTIONS, as Kafka answers at once. */
#include "engine/transaction/transaction_inner.h"

bool
park__take(struct coordinator *coordinator,
           struct transaction *transaction,
           const struct transaction_parked *request,
           struct transaction_time time)
{
    bool is_ending = transaction->step == STEP_MARK || transaction->step == STEP_COMPLETE;

    /* retry_ns: a marker was refused, so the end is not near. */
    if (!is_ending || transaction->parked.api != 0 || transaction->retry_ns != NO_DEADLINE)
        return false;
    transaction->parked = *request;
    transaction->parked.until_ns = time.now_ns + TRANSACTION_PARK_NS;
    coordinator__wake(coordinator, transaction->parked.until_ns);
    return true;
}

void
park__resume(struct coordinator *coordinator,
             struct transaction *transaction,
             struct transaction_time time)
{
    const struct transaction_parked parked = transaction->parked;
    const struct transaction_call call = {.token = parked.token, .version = parked.version};

    transaction->parked.api = 0;
    switch (parked.api) {
    case 0:
        break;
    case KAFKA_INIT_PRODUCER_ID:
        coordinator_init_producer(coordinator, &call, parked.request, time);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        coordinator_add_offsets(coordinator, &call, parked.request, time);
        break;
    default:
        CHECK(parked.api == KAFKA_ADD_PARTITIONS_TO_TXN);
        add__one(coordinator, (uint32_t)(parked.token - 1), parked.batch_item, time);
    }
}

void
park__refuse(struct coordinator *coordinator, struct transaction *transaction)
{
    const struct transaction_parked parked = transaction->parked;
    const struct transaction_call call = {.token = parked.token, .version = parked.version};
    int16_t error = KAFKA_ERROR_CONCURRENT_TRANSACTIONS;

    transaction->parked.api = 0;
    switch (parked.api) {
    case 0:
        break;
    case KAFKA_INIT_PRODUCER_ID:
        coordinator__answer_init(coordinator, &call, error, NULL);
        break;
    case KAFKA_ADD_OFFSETS_TO_TXN:
        coordinator__answer_offsets(coordinator, &call, error);
        break;
    default:
        CHECK(parked.api == KAFKA_ADD_PARTITIONS_TO_TXN);
        add__answer(coordinator, (uint32_t)(parked.token - 1), parked.batch_item, error);
    }
}
