/* The records of the transaction log, in the form of Kafka's own internal topic
 * `__transaction_state`, so that tools which read it find what they know:
 *
 *   key    i16 0, transactional id
 *   value  i16 0, i64 producer id, i16 epoch, i32 timeout in ms, i8 state,
 *          i32 count (-1: none) of {topic, i32 count of i32 partition},
 *          i64 time of the last change in ms, i64 time of the begin in ms or -1
 *
 * Texts are an i16 length and UTF-8, big endian all; a record without a value takes back what its
 * key names. Source: Kafka 3.9, TransactionLogKey/Value version 0. */
#include "engine/transaction/transaction_inner.h"

#define KEY_TRANSACTION 0
#define VALUE_TRANSACTION 0
#define NO_PARTITIONS UINT32_MAX /* -1 */

static void
record_text(struct writer *writer, struct bytes text)
{
    writer_u16_be(writer, (uint16_t)text.count);
    writer_bytes(writer, text.at, text.count);
}

static bool
state_has_partitions(enum transaction_state state)
{
    return state == TRANSACTION_ONGOING || state == TRANSACTION_PREPARE_COMMIT ||
           state == TRANSACTION_PREPARE_ABORT;
}

/* Partitions of one topic that stand side by side share its name. */
static void
record_partitions(const struct coordinator *coordinator,
                  const struct transaction *transaction,
                  struct writer *writer)
{
    uint8_t *topic_count_at = writer_take(writer, 4);
    uint32_t topic_count = 0;

    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        const struct transaction_partition *first = partition__at(coordinator, idx);
        const struct transaction_partition *entry = first;
        uint32_t count = 0;
        record_text(writer, partition__topic(first));
        uint8_t *count_at = writer_take(writer, 4);
        while (idx != SLAB_NONE && bytes__equal(partition__topic(entry), partition__topic(first))) {
            writer_u32_be(writer, entry->partition);
            count++;
            idx = entry->after;
            entry = idx == SLAB_NONE ? NULL : partition__at(coordinator, idx);
        }
        if (count_at != NULL)
            put_u32_be(count_at, count);
        topic_count++;
    }
    if (topic_count_at != NULL)
        put_u32_be(topic_count_at, topic_count);
}

static bool
record_append(struct coordinator *coordinator,
              const struct transaction *transaction,
              const struct transaction_value *value,
              uint64_t *ret_number)
{
    const struct coordinator_hooks *hooks = &coordinator->config.hooks;
    uint8_t key_memory[TRANSACTION_ID_BYTES_MAX + 4];
    struct writer key = writer_over(key_memory, sizeof(key_memory));
    struct writer writer = writer_over(coordinator->record, TRANSACTION_RECORD_BYTES_MAX);
    struct bytes body = {0};

    writer_u16_be(&key, KEY_TRANSACTION);
    record_text(&key, transaction__id(transaction));
    if (value != NULL) {
        writer_u16_be(&writer, VALUE_TRANSACTION);
        writer_u64_be(&writer, (uint64_t)value->producer.id);
        writer_u16_be(&writer, (uint16_t)value->producer.epoch);
        writer_u32_be(&writer, (uint32_t)value->producer.timeout_ms);
        writer_u8(&writer, (uint8_t)value->state);
        if (state_has_partitions(value->state))
            record_partitions(coordinator, transaction, &writer);
        else
            writer_u32_be(&writer, NO_PARTITIONS);
        writer_u64_be(&writer, (uint64_t)value->update_ms);
        writer_u64_be(&writer, (uint64_t)value->start_ms);
        body = (struct bytes){writer.begin, writer_count(&writer)};
    }
    /* coordinator_init() made sure that the largest record fits. */
    CHECK(!key.failed);
    CHECK(!writer.failed);
    return hooks->append(
        hooks->ctx, (struct bytes){key.begin, writer_count(&key)}, body, ret_number);
}

static void
wait_add(struct coordinator *coordinator, struct transaction *transaction, uint64_t number)
{
    uint32_t idx = transaction__idx(coordinator, transaction);

    transaction->wait_number = number;
    transaction->wait_next = SLAB_NONE;
    if (coordinator->wait_last == SLAB_NONE)
        coordinator->wait_first = idx;
    else
        transaction__at(coordinator, coordinator->wait_last)->wait_next = idx;
    coordinator->wait_last = idx;
}

bool
transaction__store(struct coordinator *coordinator,
                   struct transaction *transaction,
                   const struct transaction_value *value,
                   enum transaction_step step)
{
    uint64_t number;

    if (!record_append(coordinator, transaction, value, &number))
        return false;
    transaction->step = (uint8_t)step;
    wait_add(coordinator, transaction, number);
    return true;
}

bool
transaction__store_gone(struct coordinator *coordinator, struct transaction *transaction)
{
    uint64_t number;

    if (!record_append(coordinator, transaction, NULL, &number))
        return false;
    transaction->step = STEP_EXPIRE;
    wait_add(coordinator, transaction, number);
    return true;
}

/* ---- durable */

static void
step_stored(struct coordinator *coordinator,
            struct transaction *transaction,
            enum rc rc,
            struct transaction_time time)
{
    enum transaction_step step = (enum transaction_step)transaction->step;

    transaction->step = STEP_NONE;
    switch (step) {
    case STEP_INIT:
        init__stored(coordinator, transaction, rc);
        break;
    case STEP_ADD:
        add__stored(coordinator, transaction, rc, time);
        break;
    case STEP_PREPARE:
        end__prepared(coordinator, transaction, rc, time);
        break;
    case STEP_COMPLETE:
        end__completed(coordinator, transaction, rc, time);
        break;
    case STEP_EXPIRE:
        time__expired(coordinator, transaction, rc);
        break;
    case STEP_NONE:
    case STEP_ID:
    case STEP_ADMIT:
    case STEP_MARK:
        CHECK(false);
    }
}

void
coordinator_durable(struct coordinator *coordinator,
                    uint64_t number,
                    enum rc rc,
                    struct transaction_time time)
{
    while (coordinator->wait_first != SLAB_NONE) {
        struct transaction *transaction = transaction__at(coordinator, coordinator->wait_first);
        if (transaction->wait_number > number)
            return;
        coordinator->wait_first = transaction->wait_next;
        if (coordinator->wait_first == SLAB_NONE)
            coordinator->wait_last = SLAB_NONE;
        step_stored(coordinator, transaction, rc, time);
    }
}

/* ---- replay */

static struct bytes
replay_text(struct reader *reader)
{
    int16_t count = (int16_t)reader_u16_be(reader);

    if (count < 0)
        return (struct bytes){0};
    return (struct bytes){reader_take(reader, (size_t)count), (size_t)count};
}

static enum rc
replay_partitions(struct coordinator *coordinator,
                  struct transaction *transaction,
                  struct reader *value)
{
    uint32_t topic_count = reader_u32_be(value);

    if (topic_count == NO_PARTITIONS)
        return value->failed ? RC_CORRUPT : RC_OK;
    for (uint32_t t = 0; t < topic_count && !value->failed; t++) {
        struct bytes topic = replay_text(value);
        uint32_t count = reader_u32_be(value);
        if (topic.count == 0 || topic.count > TRANSACTION_TOPIC_BYTES_MAX)
            return RC_CORRUPT;
        for (uint32_t p = 0; p < count; p++) {
            uint32_t partition = reader_u32_be(value);
            if (value->failed)
                return RC_CORRUPT;
            if (transaction__partition(coordinator, transaction, topic, partition) != NULL)
                continue;
            if (transaction__partition_add(coordinator, transaction, topic, partition) == NULL)
                return RC_LIMIT;
        }
    }
    return value->failed ? RC_CORRUPT : RC_OK;
}

/* Puts an id into the state of a value. The log, not the table of moves, says what follows what:
 * a rewritten log begins anywhere. */
static enum rc
replay_value(struct coordinator *coordinator, struct transaction *transaction, struct reader *value)
{
    int64_t last_id = transaction->producer.id;

    transaction->producer.id = (int64_t)reader_u64_be(value);
    transaction->producer.epoch = (int16_t)reader_u16_be(value);
    transaction->producer.timeout_ms = (int32_t)reader_u32_be(value);
    if (last_id != transaction->producer.id)
        transaction->producer.last_id = last_id;
    uint8_t state = reader_u8(value);
    if (value->failed || state > TRANSACTION_COMPLETE_ABORT || transaction->producer.id < 0 ||
        transaction->producer.epoch < 0)
        return RC_CORRUPT;
    coordinator->state_counts[transaction->state]--;
    coordinator->state_counts[state]++;
    transaction->state = state;
    transaction__partitions_drop(coordinator, transaction, false);
    enum rc rc = replay_partitions(coordinator, transaction, value);
    transaction->update_ms = (int64_t)reader_u64_be(value);
    transaction->start_ms = (int64_t)reader_u64_be(value);
    if (rc == RC_OK && value->failed)
        rc = RC_CORRUPT;
    if (!state_has_partitions((enum transaction_state)state))
        transaction->start_ms = -1;
    return rc;
}

enum rc
coordinator_replay(struct coordinator *coordinator,
                   struct bytes key_bytes,
                   struct bytes value_bytes,
                   struct diag_trail *trail)
{
    struct reader key = reader_over(key_bytes.at, key_bytes.count);
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    uint16_t kind = reader_u16_be(&key);

    if (key.failed)
        return RC_CORRUPT;
    if (kind != KEY_TRANSACTION)
        return RC_OK;
    struct bytes id = replay_text(&key);
    if (key.failed || id.count == 0 || id.count > TRANSACTION_ID_BYTES_MAX)
        return RC_CORRUPT;
    struct transaction *transaction = transaction__find(coordinator, id);
    if (value_bytes.at == NULL) {
        if (transaction != NULL)
            transaction__remove(coordinator, transaction);
        return RC_OK;
    }
    if (reader_u16_be(&value) != VALUE_TRANSACTION)
        return value.failed ? RC_CORRUPT : RC_NEWER_FORMAT;
    if (transaction == NULL)
        transaction = transaction__add(coordinator, id);
    enum rc rc = transaction == NULL ? RC_LIMIT : replay_value(coordinator, transaction, &value);
    if (rc == RC_LIMIT)
        diag_trail_add(trail,
                       "more than transaction.ids_max, transaction.partitions_max or "
                       "transaction.size_max allow");
    return rc;
}

/* ---- after the replay */

static void
load_one(struct coordinator *coordinator,
         struct transaction *transaction,
         struct transaction_time time)
{
    int64_t left_ms = transaction->start_ms + transaction->producer.timeout_ms - time.wall_ms;

    switch (transaction->state) {
    case TRANSACTION_ONGOING:
        /* Wall time may have been set back meanwhile: never longer than the whole timeout. */
        if (left_ms > transaction->producer.timeout_ms)
            left_ms = transaction->producer.timeout_ms;
        transaction->deadline_ns = time.now_ns + (left_ms > 0 ? (uint64_t)left_ms * NS_PER_MS : 0);
        coordinator__wake(coordinator, transaction->deadline_ns);
        transaction->step = STEP_ADMIT;
        transaction->orders_left = order__due(coordinator, transaction, false);
        coordinator->settling++;
        order__queue(coordinator, transaction);
        break;
    case TRANSACTION_PREPARE_COMMIT:
    case TRANSACTION_PREPARE_ABORT:
        end__mark(coordinator, transaction);
        break;
    default:
        break;
    }
}

void
coordinator_loaded(struct coordinator *coordinator, struct transaction_time time)
{
    for (uint32_t i = 0; i < coordinator->ids_touched; i++) {
        struct transaction *transaction = transaction__at(coordinator, i);
        if (transaction->is_used)
            load_one(coordinator, transaction, time);
    }
    coordinator->expiry_ns = time.now_ns + TRANSACTION_EXPIRY_NS;
    coordinator__wake(coordinator, time.now_ns + TRANSACTION_LOOK_NS);
}

bool
coordinator_settled(const struct coordinator *coordinator)
{
    return coordinator->settling == 0;
}

/* ---- rewriting: what keeps the log short */

static bool
step_waits_for_record(enum transaction_step step)
{
    return step == STEP_INIT || step == STEP_ADD || step == STEP_PREPARE || step == STEP_COMPLETE ||
           step == STEP_EXPIRE;
}

bool
coordinator_rewrite(struct coordinator *coordinator, uint64_t *cursor)
{
    for (; *cursor < coordinator->ids_touched; (*cursor)++) {
        const struct transaction *transaction = transaction__at(coordinator, (uint32_t)*cursor);
        const struct transaction_value value = {
            .producer = transaction->producer,
            .state = (enum transaction_state)transaction->state,
            .start_ms = transaction->start_ms,
            .update_ms = transaction->update_ms,
        };
        uint64_t number;
        if (!transaction->is_used || transaction->producer.epoch < 0 ||
            step_waits_for_record((enum transaction_step)transaction->step))
            continue;
        if (!record_append(coordinator, transaction, &value, &number))
            return false;
    }
    return true;
}
