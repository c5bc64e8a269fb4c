#include "log/append/transaction.h"

#include "engine/base/check.h"

static uint64_t
transactions_aborted_at(uint32_t capacity)
{
    return round_up(2 * (uint64_t)capacity * sizeof(struct transaction), 64);
}

uint64_t
transactions_footprint(uint32_t capacity, uint32_t aborted_capacity)
{
    return transactions_aborted_at(capacity) +
           (uint64_t)aborted_capacity * sizeof(struct transaction_aborted);
}

void
transactions_init(struct transactions *transactions,
                  void *memory,
                  uint32_t capacity,
                  uint32_t aborted_capacity)
{
    *transactions = (struct transactions){
        .table = memory,
        .aborted = (struct transaction_aborted *)(void *)((uint8_t *)memory +
                                                          transactions_aborted_at(capacity)),
        .capacity = capacity,
        .aborted_capacity = aborted_capacity,
        .free = TRANSACTION_NONE,
        .aborted_free = TRANSACTION_NONE,
        .first = TRANSACTION_NONE,
        .last = TRANSACTION_NONE,
    };
}

void
partition_transactions_init(struct partition_transactions *of)
{
    *of = (struct partition_transactions){
        .first_offset = TRANSACTION_NO_OFFSET,
        .oldest = TRANSACTION_NONE,
        .newest = TRANSACTION_NONE,
        .ending_first = TRANSACTION_NONE,
        .ending_last = TRANSACTION_NONE,
        .aborted_oldest = TRANSACTION_NONE,
        .aborted_newest = TRANSACTION_NONE,
    };
}

uint32_t
transaction_add(struct transactions *transactions, uint32_t producer, int16_t epoch)
{
    uint32_t at = transactions->free;

    if (at != TRANSACTION_NONE)
        transactions->free = transactions->table[at].newer;
    else
        at = transactions->used++;
    CHECK(at < 2 * transactions->capacity);
    transactions->table[at] = (struct transaction){
        .first_offset = TRANSACTION_NO_OFFSET,
        .marker_offset = TRANSACTION_NO_OFFSET,
        .producer = producer,
        .newer = TRANSACTION_NONE,
        .older = TRANSACTION_NONE,
        .next_ending = TRANSACTION_NONE,
        .later = TRANSACTION_NONE,
        .earlier = TRANSACTION_NONE,
        .epoch = epoch,
        .state = TRANSACTION_ADMITTED,
    };
    transactions->live++;
    return at;
}

/* ---- the list of open ones of the tile ---- */

static void
transaction_clock_in(struct transactions *transactions, uint32_t at, uint64_t now_ns)
{
    struct transaction *transaction = &transactions->table[at];

    transaction->since_ns = now_ns;
    transaction->earlier = transactions->last;
    transaction->later = TRANSACTION_NONE;
    if (transactions->last == TRANSACTION_NONE)
        transactions->first = at;
    else
        transactions->table[transactions->last].later = at;
    transactions->last = at;
    transactions->open++;
}

static void
transaction_clock_out(struct transactions *transactions, uint32_t at)
{
    struct transaction *transaction = &transactions->table[at];

    if (transaction->earlier == TRANSACTION_NONE)
        transactions->first = transaction->later;
    else
        transactions->table[transaction->earlier].later = transaction->later;
    if (transaction->later == TRANSACTION_NONE)
        transactions->last = transaction->earlier;
    else
        transactions->table[transaction->later].earlier = transaction->earlier;
    transactions->open--;
}

/* ---- the partition's list by first offset ---- */

/* Puts it behind `older` (TRANSACTION_NONE: in front of all). */
static void
transaction_link(struct transactions *transactions,
                 struct partition_transactions *of,
                 uint32_t at,
                 uint32_t older)
{
    struct transaction *transaction = &transactions->table[at];

    transaction->older = older;
    transaction->newer = older == TRANSACTION_NONE ? of->oldest : transactions->table[older].newer;
    if (older == TRANSACTION_NONE)
        of->oldest = at;
    else
        transactions->table[older].newer = at;
    if (transaction->newer == TRANSACTION_NONE)
        of->newest = at;
    else
        transactions->table[transaction->newer].older = at;
    of->first_offset = transactions->table[of->oldest].first_offset;
}

static void
transaction_unlink(struct transactions *transactions,
                   struct partition_transactions *of,
                   uint32_t at)
{
    struct transaction *transaction = &transactions->table[at];

    if (transaction->older == TRANSACTION_NONE)
        of->oldest = transaction->newer;
    else
        transactions->table[transaction->older].newer = transaction->newer;
    if (transaction->newer == TRANSACTION_NONE)
        of->newest = transaction->older;
    else
        transactions->table[transaction->newer].older = transaction->older;
    of->first_offset = of->oldest == TRANSACTION_NONE
                           ? TRANSACTION_NO_OFFSET
                           : transactions->table[of->oldest].first_offset;
}

void
transaction_open(struct transactions *transactions,
                 struct partition_transactions *of,
                 uint32_t at,
                 uint64_t first_offset,
                 uint64_t now_ns)
{
    struct transaction *transaction = &transactions->table[at];

    CHECK(transaction->state == TRANSACTION_ADMITTED);
    CHECK(of->newest == TRANSACTION_NONE ||
          transactions->table[of->newest].first_offset < first_offset);
    transaction->state = TRANSACTION_OPEN;
    transaction->first_offset = first_offset;
    transaction_link(transactions, of, at, of->newest);
    transaction_clock_in(transactions, at, now_ns);
}

void
transaction_restore(struct transactions *transactions,
                    struct partition_transactions *of,
                    uint32_t at,
                    uint64_t first_offset,
                    uint64_t now_ns)
{
    struct transaction *transaction = &transactions->table[at];
    uint32_t older = of->newest;

    CHECK(transaction->state == TRANSACTION_ADMITTED);
    while (older != TRANSACTION_NONE && transactions->table[older].first_offset > first_offset)
        older = transactions->table[older].older;
    transaction->state = TRANSACTION_OPEN;
    transaction->first_offset = first_offset;
    transaction_link(transactions, of, at, older);
    transaction_clock_in(transactions, at, now_ns);
}

void
transaction_end(struct transactions *transactions,
                struct partition_transactions *of,
                uint32_t at,
                const struct aborted_entry *aborted_or_null,
                uint64_t marker_offset)
{
    struct transaction *transaction = &transactions->table[at];

    CHECK(transaction->state == TRANSACTION_OPEN);
    transaction_clock_out(transactions, at);
    transaction->state = TRANSACTION_ENDING;
    transaction->marker_offset = marker_offset;
    transaction->next_ending = TRANSACTION_NONE;
    if (of->ending_last == TRANSACTION_NONE)
        of->ending_first = at;
    else
        transactions->table[of->ending_last].next_ending = at;
    of->ending_last = at;
    if (aborted_or_null != NULL) {
        bool added = transaction_aborted_add(transactions, of, aborted_or_null);
        CHECK(added); /* its place was kept since it began */
    }
}

uint32_t
transaction_ended(const struct transactions *transactions,
                  const struct partition_transactions *of,
                  uint64_t durable_offset)
{
    uint32_t at = of->ending_first;

    if (at == TRANSACTION_NONE || transactions->table[at].marker_offset >= durable_offset)
        return TRANSACTION_NONE;
    return at;
}

void
transaction_remove(struct transactions *transactions,
                   struct partition_transactions *of,
                   uint32_t at)
{
    struct transaction *transaction = &transactions->table[at];

    switch ((enum transaction_state)transaction->state) {
    case TRANSACTION_FREE:
        CHECK(!"a transaction that is gone already");
        break;
    case TRANSACTION_ADMITTED:
        break;
    case TRANSACTION_OPEN:
        transaction_clock_out(transactions, at);
        transaction_unlink(transactions, of, at);
        break;
    case TRANSACTION_ENDING:
        CHECK(of->ending_first == at);
        of->ending_first = transaction->next_ending;
        if (of->ending_first == TRANSACTION_NONE)
            of->ending_last = TRANSACTION_NONE;
        transaction_unlink(transactions, of, at);
        break;
    }
    transaction->state = TRANSACTION_FREE;
    transaction->newer = transactions->free;
    transactions->free = at;
    transactions->live--;
}

uint64_t
transaction_first_beside(const struct transactions *transactions,
                         const struct partition_transactions *of,
                         uint32_t at)
{
    uint32_t oldest = of->oldest;

    /* What is ending is decided: only open ones hold readers back for ever. */
    while (oldest != TRANSACTION_NONE &&
           (oldest == at || transactions->table[oldest].state != TRANSACTION_OPEN))
        oldest = transactions->table[oldest].newer;
    return oldest == TRANSACTION_NONE ? TRANSACTION_NO_OFFSET
                                      : transactions->table[oldest].first_offset;
}

/* ---- aborted ones ---- */

/* Puts an entry behind `older` (TRANSACTION_NONE: in front of all). */
static bool
transaction_aborted_put(struct transactions *transactions,
                        struct partition_transactions *of,
                        const struct aborted_entry *entry,
                        uint32_t older)
{
    uint32_t at = transactions->aborted_free;

    if (at != TRANSACTION_NONE)
        transactions->aborted_free = transactions->aborted[at].newer;
    else if (transactions->aborted_used < transactions->aborted_capacity)
        at = transactions->aborted_used++;
    else
        return false;
    uint32_t newer = older == TRANSACTION_NONE ? of->aborted_oldest
                                               : transactions->aborted[older].newer;
    transactions->aborted[at] = (struct transaction_aborted){
        .entry = *entry, .newer = newer, .older = older};
    if (older == TRANSACTION_NONE)
        of->aborted_oldest = at;
    else
        transactions->aborted[older].newer = at;
    if (newer == TRANSACTION_NONE)
        of->aborted_newest = at;
    else
        transactions->aborted[newer].older = at;
    of->aborted_count++;
    of->aborted_active++;
    transactions->aborted_live++;
    return true;
}

bool
transaction_aborted_add(struct transactions *transactions,
                        struct partition_transactions *of,
                        const struct aborted_entry *entry)
{
    CHECK(of->aborted_newest == TRANSACTION_NONE ||
          transactions->aborted[of->aborted_newest].entry.last_offset < entry->last_offset);
    return transaction_aborted_put(transactions, of, entry, of->aborted_newest);
}

bool
transaction_aborted_restore(struct transactions *transactions,
                            struct partition_transactions *of,
                            const struct aborted_entry *entry)
{
    uint32_t older = of->aborted_newest;

    while (older != TRANSACTION_NONE &&
           transactions->aborted[older].entry.last_offset > entry->last_offset)
        older = transactions->aborted[older].older;
    if (older != TRANSACTION_NONE &&
        transactions->aborted[older].entry.last_offset == entry->last_offset)
        return true;
    return transaction_aborted_put(transactions, of, entry, older);
}

void
transaction_aborted_free(struct transactions *transactions,
                         struct partition_transactions *of,
                         uint32_t at)
{
    struct transaction_aborted *aborted = &transactions->aborted[at];

    if (aborted->older == TRANSACTION_NONE)
        of->aborted_oldest = aborted->newer;
    else
        transactions->aborted[aborted->older].newer = aborted->newer;
    if (aborted->newer == TRANSACTION_NONE)
        of->aborted_newest = aborted->older;
    else
        transactions->aborted[aborted->newer].older = aborted->older;
    aborted->newer = transactions->aborted_free;
    transactions->aborted_free = at;
    of->aborted_count--;
    transactions->aborted_live--;
}

void
transaction_aborted_pop(struct transactions *transactions, struct partition_transactions *of)
{
    uint32_t at = of->aborted_oldest;

    of->aborted_from = max_u64(of->aborted_from, transactions->aborted[at].entry.last_offset + 1);
    transaction_aborted_free(transactions, of, at);
}

void
transaction_aborted_cut(struct transactions *transactions,
                        struct partition_transactions *of,
                        uint64_t offset)
{
    while (of->aborted_newest != TRANSACTION_NONE &&
           transactions->aborted[of->aborted_newest].entry.last_offset >= offset)
        transaction_aborted_free(transactions, of, of->aborted_newest);
}
