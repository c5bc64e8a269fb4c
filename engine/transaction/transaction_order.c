/* Orders: what the partitions of a transaction must be told. A transaction with something to send
 * stands in a queue; each tick goes once through it. What finds no room goes to its end, so a
 * partition that takes nothing now does not hold up the others. */
#include "engine/transaction/transaction_inner.h"

void
order__queue(struct coordinator *coordinator, struct transaction *transaction)
{
    uint32_t idx = transaction__idx(coordinator, transaction);

    if (transaction->is_queued)
        return;
    transaction->is_queued = true;
    transaction->queue_next = SLAB_NONE;
    if (coordinator->queue_last == SLAB_NONE)
        coordinator->queue_first = idx;
    else
        transaction__at(coordinator, coordinator->queue_last)->queue_next = idx;
    coordinator->queue_last = idx;
    coordinator->queue_count++;
}

static struct transaction *
order_pop(struct coordinator *coordinator)
{
    struct transaction *transaction = transaction__at(coordinator, coordinator->queue_first);

    CHECK(transaction->is_queued);
    coordinator->queue_first = transaction->queue_next;
    if (coordinator->queue_first == SLAB_NONE)
        coordinator->queue_last = SLAB_NONE;
    coordinator->queue_count--;
    transaction->is_queued = false;
    return transaction;
}

uint32_t
order__due(struct coordinator *coordinator, struct transaction *transaction, bool only_unadmitted)
{
    uint32_t count = 0;

    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        struct transaction_partition *entry = partition__at(coordinator, idx);
        idx = entry->after;
        if (only_unadmitted && entry->is_admitted)
            continue;
        CHECK(entry->order == ORDER_NONE);
        entry->order = ORDER_DUE;
        count++;
    }
    return count;
}

void
order__retry(struct coordinator *coordinator, struct transaction *transaction)
{
    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        struct transaction_partition *entry = partition__at(coordinator, idx);
        if (entry->order == ORDER_LATER)
            entry->order = ORDER_DUE;
        idx = entry->after;
    }
    transaction->retry_ns = NO_DEADLINE;
    order__queue(coordinator, transaction);
}

/* ---- results */

static bool
order_is_gone(enum rc rc)
{
    return rc == RC_UNKNOWN_PARTITION || rc == RC_NOT_FOUND;
}

static int16_t
order_error(enum rc rc)
{
    return kafka_error_from_rc(rc, KAFKA_ADD_PARTITIONS_TO_TXN, KAFKA_VERSION_LAST);
}

/* Nothing more is owed by this partition. */
static void
order_done(struct transaction *transaction, struct transaction_partition *entry, enum rc rc)
{
    entry->order = ORDER_NONE;
    CHECK(transaction->orders_left > 0);
    transaction->orders_left--;
    if (transaction->step != STEP_ADMIT)
        return;
    entry->is_admitted = rc == RC_OK;
    if (rc != RC_OK && transaction->admit_error == KAFKA_ERROR_NONE)
        transaction->admit_error = order_error(rc);
}

/* What follows once no partition owes anything. */
static void
order_settle(struct coordinator *coordinator,
             struct transaction *transaction,
             struct transaction_time time)
{
    if (transaction->orders_left > 0)
        return;
    if (transaction->step == STEP_ADMIT)
        add__admitted(coordinator, transaction);
    else
        end__marked(coordinator, transaction, time);
}

void
coordinator_ordered(struct coordinator *coordinator,
                    uint32_t ticket,
                    enum rc rc,
                    struct transaction_time time)
{
    struct transaction_partition *entry = partition__at(coordinator, ticket);
    struct transaction *transaction = transaction__at(coordinator, entry->transaction);
    bool is_marker = transaction->step == STEP_MARK;

    CHECK(entry->order == ORDER_OUT);
    CHECK(coordinator->orders_out > 0);
    coordinator->orders_out--;
    if (is_marker && rc == RC_OK)
        coordinator->counters.markers++;
    /* A newer epoch stands in that partition: this transaction is over there. */
    if (is_marker && rc != RC_OK && !order_is_gone(rc) && rc != RC_PRODUCER_EPOCH_STALE) {
        coordinator->counters.orders_repeated++;
        entry->order = ORDER_LATER;
        park__refuse(coordinator, transaction);
        transaction->retry_ns = time.now_ns + TRANSACTION_RETRY_NS;
        coordinator__wake(coordinator, transaction->retry_ns);
        return;
    }
    order_done(transaction, entry, rc);
    order_settle(coordinator, transaction, time);
}

/* ---- sending */

/* True when nothing is left to be sent. */
static bool
order_send(struct coordinator *coordinator, struct transaction *transaction)
{
    const struct coordinator_hooks *hooks = &coordinator->config.hooks;
    bool all = true;

    for (uint32_t idx = transaction->partition_first; idx != SLAB_NONE;) {
        struct transaction_partition *entry = partition__at(coordinator, idx);
        const struct transaction_order order = {
            .kind = transaction->step == STEP_ADMIT ? TRANSACTION_ADMIT : TRANSACTION_MARKER,
            .ticket = idx,
            .topic = partition__topic(entry),
            .partition = entry->partition,
            .producer_id = transaction->producer.id,
            .producer_epoch = transaction->producer.epoch,
            .is_commit = transaction->state == TRANSACTION_PREPARE_COMMIT,
        };
        enum transaction_order_result result = TRANSACTION_ORDER_BUSY;
        idx = entry->after;
        if (entry->order != ORDER_DUE)
            continue;
        if (coordinator->orders_out < coordinator->config.limits.orders_max)
            result = hooks->order(hooks->ctx, &order);
        if (result == TRANSACTION_ORDER_SENT) {
            entry->order = ORDER_OUT;
            coordinator->orders_out++;
        } else if (result == TRANSACTION_ORDER_DONE) {
            order_done(transaction, entry, RC_OK);
        } else {
            all = false;
        }
    }
    return all;
}

static void
order_go_on(struct coordinator *coordinator,
            struct transaction *transaction,
            struct transaction_time time)
{
    if (transaction->step == STEP_ID) {
        init__ask_id(coordinator, transaction, time);
        return;
    }
    CHECK(transaction->step == STEP_ADMIT || transaction->step == STEP_MARK);
    if (!order_send(coordinator, transaction))
        order__queue(coordinator, transaction);
    order_settle(coordinator, transaction, time);
}

void
order__pump(struct coordinator *coordinator, struct transaction_time time)
{
    uint32_t count = min_u32(coordinator->queue_count, TRANSACTION_PUMP_MAX);

    for (uint32_t i = 0; i < count; i++)
        order_go_on(coordinator, order_pop(coordinator), time);
}
