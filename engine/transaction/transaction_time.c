/* What time brings: transactions that last too long are aborted, refused markers go out again, ids
 * that nobody uses are forgotten. */
#include "engine/transaction/transaction_inner.h"

static bool
state_is_open(enum transaction_state state)
{
    return state != TRANSACTION_EMPTY && state != TRANSACTION_COMPLETE_COMMIT &&
           state != TRANSACTION_COMPLETE_ABORT && state != TRANSACTION_DEAD;
}

/* ---- expiry of ids */

void
time__expired(struct coordinator *coordinator, struct transaction *transaction, enum rc rc)
{
    if (rc == RC_OK) {
        coordinator->counters.ids_expired++;
        transaction__remove(coordinator, transaction);
        return;
    }
    transaction__move(coordinator, transaction, (enum transaction_state)transaction->next_state);
}

static void
time_expire(struct coordinator *coordinator,
            struct transaction *transaction,
            struct transaction_time time)
{
    int64_t expiration_ms = coordinator->config.limits.expiration_ms;
    enum transaction_state state = (enum transaction_state)transaction->state;

    if (expiration_ms < 0 || state_is_open(state) || transaction->step != STEP_NONE ||
        time.wall_ms - transaction->update_ms < expiration_ms)
        return;
    if (!transaction__store_gone(coordinator, transaction))
        return; /* looked at again by the next round */
    transaction->next_state = (uint8_t)state;
    transaction__move(coordinator, transaction, TRANSACTION_DEAD);
}

/* ---- one id */

static void
time_look(struct coordinator *coordinator,
          struct transaction *transaction,
          struct transaction_time time)
{
    const struct transaction_decision decision = {.state = TRANSACTION_PREPARE_ABORT,
                                                  .cause = CAUSE_EXPIRED};

    if (transaction->parked.api != 0 && transaction->parked.until_ns <= time.now_ns)
        park__refuse(coordinator, transaction);
    if (transaction->parked.api != 0)
        coordinator__wake(coordinator, transaction->parked.until_ns);
    if (transaction->retry_ns <= time.now_ns)
        order__retry(coordinator, transaction);
    if (transaction->deadline_ns <= time.now_ns && transaction->state == TRANSACTION_ONGOING &&
        transaction->step == STEP_NONE && !end__decide(coordinator, transaction, decision, time))
        coordinator->counters.orders_repeated++; /* no room for the record: the next look */
    /* What is due and cannot be done now is looked at again after a tick. */
    coordinator__wake(coordinator,
                      max_u64(min_u64(transaction->deadline_ns, transaction->retry_ns),
                              time.now_ns + TRANSACTION_TICK_NS));
    if (state_is_open((enum transaction_state)transaction->state) && transaction->start_ms >= 0) {
        coordinator->oldest_ms = transaction->start_ms < coordinator->oldest_ms
                                     ? transaction->start_ms
                                     : coordinator->oldest_ms;
        coordinator__wake(coordinator, time.now_ns + TRANSACTION_LOOK_NS);
    }
}

void
coordinator_tick(struct coordinator *coordinator, struct transaction_time time)
{
    bool expires = coordinator->expiry_ns <= time.now_ns;

    if (coordinator->deadline_ns <= time.now_ns) {
        coordinator->deadline_ns = NO_DEADLINE;
        coordinator->oldest_ms = INT64_MAX;
        if (expires)
            coordinator->expiry_ns = time.now_ns + TRANSACTION_EXPIRY_NS;
        for (uint32_t i = 0; i < coordinator->ids_touched; i++) {
            struct transaction *transaction = transaction__at(coordinator, i);
            if (!transaction->is_used)
                continue;
            time_look(coordinator, transaction, time);
            if (expires)
                time_expire(coordinator, transaction, time);
        }
        if (coordinator->ids.used > 0)
            coordinator__wake(coordinator, coordinator->expiry_ns);
    }
    order__pump(coordinator, time);
}

uint64_t
coordinator_deadline(const struct coordinator *coordinator)
{
    return coordinator->deadline_ns;
}
