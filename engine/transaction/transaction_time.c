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
time__expired(struct transactions *transactions, struct transaction *transaction, enum rc rc)
{
    if (rc == RC_OK) {
        transactions->counters.ids_expired++;
        transaction__remove(transactions, transaction);
        return;
    }
    transaction__move(transactions, transaction, (enum transaction_state)transaction->next_state);
}

static void
time_expire(struct transactions *transactions,
            struct transaction *transaction,
            struct transaction_time time)
{
    int64_t expiration_ms = transactions->config.limits.expiration_ms;
    enum transaction_state state = (enum transaction_state)transaction->state;

    if (expiration_ms < 0 || state_is_open(state) || transaction->step != STEP_NONE ||
        time.wall_ms - transaction->update_ms < expiration_ms)
        return;
    if (!transaction__store_gone(transactions, transaction))
        return; /* looked at again by the next round */
    transaction->next_state = (uint8_t)state;
    transaction__move(transactions, transaction, TRANSACTION_DEAD);
}

/* ---- one id */

static void
time_look(struct transactions *transactions,
          struct transaction *transaction,
          struct transaction_time time)
{
    const struct transaction_decision decision = {.state = TRANSACTION_PREPARE_ABORT,
                                                  .cause = CAUSE_EXPIRED};

    if (transaction->retry_ns <= time.now_ns)
        order__retry(transactions, transaction);
    if (transaction->deadline_ns <= time.now_ns && transaction->state == TRANSACTION_ONGOING &&
        transaction->step == STEP_NONE && !end__decide(transactions, transaction, decision, time))
        transactions->counters.orders_repeated++; /* no room for the record: the next look */
    /* What is due and cannot be done now is looked at again after a tick. */
    transactions__wake(transactions,
                       max_u64(min_u64(transaction->deadline_ns, transaction->retry_ns),
                               time.now_ns + TRANSACTION_TICK_NS));
    if (state_is_open((enum transaction_state)transaction->state) && transaction->start_ms >= 0) {
        transactions->oldest_ms = transaction->start_ms < transactions->oldest_ms
                                      ? transaction->start_ms
                                      : transactions->oldest_ms;
        transactions__wake(transactions, time.now_ns + TRANSACTION_LOOK_NS);
    }
}

void
transactions_tick(struct transactions *transactions, struct transaction_time time)
{
    bool expires = transactions->expiry_ns <= time.now_ns;

    if (transactions->deadline_ns <= time.now_ns) {
        transactions->deadline_ns = NO_DEADLINE;
        transactions->oldest_ms = INT64_MAX;
        if (expires)
            transactions->expiry_ns = time.now_ns + TRANSACTION_EXPIRY_NS;
        for (uint32_t i = 0; i < transactions->ids_touched; i++) {
            struct transaction *transaction = transaction__at(transactions, i);
            if (!transaction->is_used)
                continue;
            time_look(transactions, transaction, time);
            if (expires)
                time_expire(transactions, transaction, time);
        }
        if (transactions->ids.used > 0)
            transactions__wake(transactions, transactions->expiry_ns);
    }
    order__pump(transactions, time);
}

uint64_t
transactions_deadline(const struct transactions *transactions)
{
    return transactions->deadline_ns;
}
