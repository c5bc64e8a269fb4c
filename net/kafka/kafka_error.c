#include "net/kafka/kafka_error.h"

#include "net/kafka/kafka_message.h"

/* What each result code says to a client. Codes for which a retry helps answer with a retriable
 * error, so that a producer keeps its batch: no space heals by itself, a fenced partition by a
 * restart. */
static const int16_t error_of_rc[RC_COUNT] = {
    [RC_OK] = KAFKA_ERROR_NONE,
    [RC_AGAIN] = KAFKA_ERROR_REQUEST_TIMED_OUT,
    [RC_TIMED_OUT] = KAFKA_ERROR_REQUEST_TIMED_OUT,
    [RC_INTERRUPTED] = KAFKA_ERROR_REQUEST_TIMED_OUT,
    [RC_NO_SPACE] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_NO_DESCRIPTORS] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_NO_MEMORY] = KAFKA_ERROR_REQUEST_TIMED_OUT,
    [RC_BUSY] = KAFKA_ERROR_REQUEST_TIMED_OUT,
    [RC_LIMIT] = KAFKA_ERROR_POLICY_VIOLATION,
    [RC_INVALID] = KAFKA_ERROR_INVALID_REQUEST,
    [RC_TRUNCATED] = KAFKA_ERROR_INVALID_REQUEST,
    [RC_MALFORMED] = KAFKA_ERROR_INVALID_REQUEST,
    [RC_UNSUPPORTED] = KAFKA_ERROR_UNSUPPORTED_VERSION,
    [RC_DENIED] = KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED,
    [RC_EXISTS] = KAFKA_ERROR_TOPIC_ALREADY_EXISTS,
    [RC_NOT_FOUND] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
    [RC_CLOSED] = KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER,
    [RC_IO_ERROR] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_FENCED] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_HALTED] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_CORRUPT] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_NEWER_FORMAT] = KAFKA_ERROR_KAFKA_STORAGE_ERROR,
    [RC_UNKNOWN_PARTITION] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
    [RC_OFFSET_OUT_OF_RANGE] = KAFKA_ERROR_OFFSET_OUT_OF_RANGE,
    [RC_BATCH_TOO_LARGE] = KAFKA_ERROR_MESSAGE_TOO_LARGE,
    [RC_BATCH_CORRUPT] = KAFKA_ERROR_CORRUPT_MESSAGE,
    [RC_BATCH_INVALID] = KAFKA_ERROR_INVALID_RECORD,
    [RC_BATCH_TIMESTAMP] = KAFKA_ERROR_INVALID_TIMESTAMP,
    [RC_SEQUENCE_OUT_OF_ORDER] = KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER,
    [RC_SEQUENCE_DUPLICATE] = KAFKA_ERROR_NONE, /* success, with the first offset */
    [RC_PRODUCER_EPOCH_STALE] = KAFKA_ERROR_INVALID_PRODUCER_EPOCH,
    [RC_TXN_STATE] = KAFKA_ERROR_INVALID_TXN_STATE,
    [RC_COORDINATOR_FENCED] = KAFKA_ERROR_TRANSACTION_COORDINATOR_FENCED,
    [RC_LEADER_EPOCH_FENCED] = KAFKA_ERROR_FENCED_LEADER_EPOCH,
    [RC_LEADER_EPOCH_UNKNOWN] = KAFKA_ERROR_UNKNOWN_LEADER_EPOCH,
};

/* In requests of `api_key` below version `first`, `error` is said as `older`; NO_VERSION: in all of
 * them. Source: the version notes of the Kafka 4.3 and 3.9.1 message definitions. A consumer of the
 * Java client stops with an exception on codes it does not expect in a Fetch, so a moment's
 * shortage is said there as "ask the leader again". */
#define NO_VERSION INT16_MAX

struct error_version {
    int16_t api_key;
    int16_t error;
    int16_t first;
    int16_t older;
};

static const struct error_version error_versions[] = {
    {KAFKA_TXN_OFFSET_COMMIT,
     KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS,
     2,
     KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE},
    {KAFKA_PRODUCE, KAFKA_ERROR_KAFKA_STORAGE_ERROR, 4, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER},
    {KAFKA_FETCH, KAFKA_ERROR_REQUEST_TIMED_OUT, NO_VERSION, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER},
    {KAFKA_FETCH, KAFKA_ERROR_KAFKA_STORAGE_ERROR, 6, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER},
    {KAFKA_LIST_OFFSETS, KAFKA_ERROR_OFFSET_NOT_AVAILABLE, 5, KAFKA_ERROR_LEADER_NOT_AVAILABLE},
    {KAFKA_INIT_PRODUCER_ID, KAFKA_ERROR_PRODUCER_FENCED, 4, KAFKA_ERROR_INVALID_PRODUCER_EPOCH},
    {KAFKA_ADD_PARTITIONS_TO_TXN,
     KAFKA_ERROR_PRODUCER_FENCED,
     2,
     KAFKA_ERROR_INVALID_PRODUCER_EPOCH},
    {KAFKA_ADD_PARTITIONS_TO_TXN,
     KAFKA_ERROR_TRANSACTION_ABORTABLE,
     5,
     KAFKA_ERROR_INVALID_TXN_STATE},
    {KAFKA_ADD_OFFSETS_TO_TXN, KAFKA_ERROR_PRODUCER_FENCED, 2, KAFKA_ERROR_INVALID_PRODUCER_EPOCH},
    {KAFKA_END_TXN, KAFKA_ERROR_PRODUCER_FENCED, 2, KAFKA_ERROR_INVALID_PRODUCER_EPOCH},
    {KAFKA_CREATE_TOPICS, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED, 6, KAFKA_ERROR_REQUEST_TIMED_OUT},
    {KAFKA_DELETE_TOPICS, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED, 5, KAFKA_ERROR_REQUEST_TIMED_OUT},
    {KAFKA_CREATE_PARTITIONS,
     KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED,
     3,
     KAFKA_ERROR_REQUEST_TIMED_OUT},
};

int16_t
kafka_error_for_version(int16_t error, int16_t api_key, int16_t version)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(error_versions); i++) {
        const struct error_version *row = &error_versions[i];
        if (row->api_key == api_key && row->error == error && version < row->first)
            return row->older;
    }
    return error;
}

int16_t
kafka_error_from_rc(enum rc rc, int16_t api_key, int16_t version)
{
    if ((unsigned)rc >= RC_COUNT)
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    return kafka_error_for_version(error_of_rc[rc], api_key, version);
}

const char *
kafka_error_name(int16_t error)
{
    switch (error) {
#define KAFKA_ERROR(name, code) \
    case code:                  \
        return #name;
#include "net/kafka/kafka_error.def"
#undef KAFKA_ERROR
    default:
        return "UNLISTED";
    }
}
