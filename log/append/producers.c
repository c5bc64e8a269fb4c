#include "log/append/producers.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

static uint32_t
producers_bucket_count(uint32_t capacity)
{
    uint32_t count = 16;

    while (count < capacity)
        count *= 2;
    return count;
}

uint64_t
producers_footprint(uint32_t capacity)
{
    return round_up((uint64_t)capacity * sizeof(struct producer), 64) +
           (uint64_t)producers_bucket_count(capacity) * sizeof(uint32_t);
}

void
producers_init(struct producers *producers, void *memory, uint32_t capacity, uint64_t seed)
{
    uint32_t bucket_count = producers_bucket_count(capacity);

    CHECK(capacity > 0);
    *producers = (struct producers){
        .table = memory,
        .buckets = (uint32_t *)(void *)((uint8_t *)memory +
                                        round_up((uint64_t)capacity * sizeof(struct producer), 64)),
        .capacity = capacity,
        .bucket_mask = bucket_count - 1,
        .free = PRODUCER_NONE,
        .newest = PRODUCER_NONE,
        .oldest = PRODUCER_NONE,
        .seed = seed,
    };
    for (uint32_t i = 0; i < bucket_count; i++)
        producers->buckets[i] = PRODUCER_NONE;
}

static uint32_t *
producers_bucket(const struct producers *producers, uint64_t incarnation, uint64_t producer_id)
{
    uint64_t key[2] = {incarnation, producer_id};
    uint64_t hash = hash_xxh3(key, sizeof(key), producers->seed);

    return &producers->buckets[hash & producers->bucket_mask];
}

uint32_t
producers_find(const struct producers *producers, uint64_t incarnation, uint64_t producer_id)
{
    uint32_t at = *producers_bucket(producers, incarnation, producer_id);

    while (at != PRODUCER_NONE) {
        const struct producer *producer = &producers->table[at];
        if (producer->producer_id == producer_id && producer->incarnation == incarnation)
            break;
        at = producer->chain;
    }
    return at;
}

static void
producers_list_remove(struct producers *producers, uint32_t at)
{
    struct producer *producer = &producers->table[at];

    if (producer->newer == PRODUCER_NONE)
        producers->newest = producer->older;
    else
        producers->table[producer->newer].older = producer->older;
    if (producer->older == PRODUCER_NONE)
        producers->oldest = producer->newer;
    else
        producers->table[producer->older].newer = producer->newer;
}

static void
producers_list_push(struct producers *producers, uint32_t at)
{
    struct producer *producer = &producers->table[at];

    producer->newer = PRODUCER_NONE;
    producer->older = producers->newest;
    if (producers->newest != PRODUCER_NONE)
        producers->table[producers->newest].newer = at;
    else
        producers->oldest = at;
    producers->newest = at;
}

static void
producers_remove(struct producers *producers, uint32_t at)
{
    struct producer *producer = &producers->table[at];
    uint32_t *link = producers_bucket(producers, producer->incarnation, producer->producer_id);

    while (*link != at) {
        CHECK(*link != PRODUCER_NONE);
        link = &producers->table[*link].chain;
    }
    *link = producer->chain;
    CHECK(producer->transaction == PRODUCER_NONE);
    producers_list_remove(producers, at);
    producer->chain = producers->free;
    producer->incarnation = 0;
    producers->free = at;
    producers->live--;
}

bool
producers_has_room(const struct producers *producers, uint64_t now_ns)
{
    if (producers->free != PRODUCER_NONE || producers->count < producers->capacity)
        return true;
    if (producers->oldest == PRODUCER_NONE)
        return false; /* all have transactions */
    return now_ns >= producers->table[producers->oldest].used_ns + PRODUCERS_AGE_MIN_NS;
}

static uint32_t
producers_add(struct producers *producers, uint64_t incarnation, uint64_t producer_id)
{
    uint32_t at = producers->free;

    if (at != PRODUCER_NONE) {
        producers->free = producers->table[at].chain;
    } else if (producers->count < producers->capacity) {
        at = producers->count++;
    } else {
        producers_remove(producers, producers->oldest);
        at = producers->free;
        producers->free = producers->table[at].chain;
    }
    producers->live++;
    uint32_t *bucket = producers_bucket(producers, incarnation, producer_id);
    producers->table[at] = (struct producer){
        .producer_id = producer_id,
        .incarnation = incarnation,
        .chain = *bucket,
        .transaction = PRODUCER_NONE,
        .coordinator_epoch = -1,
    };
    *bucket = at;
    producers_list_push(producers, at);
    return at;
}

static int32_t
producers_sequence_after(int32_t sequence)
{
    return sequence == INT32_MAX ? 0 : sequence + 1;
}

enum rc
producers_check(const struct producers *producers,
                const struct producer_claim *claim,
                uint64_t now_ns,
                uint32_t *ret_producer,
                uint64_t *ret_base_offset)
{
    uint32_t at = producers_find(producers, claim->incarnation, claim->producer_id);

    *ret_producer = at;
    if (at == PRODUCER_NONE)
        return producers_has_room(producers, now_ns) ? RC_OK : RC_LIMIT;

    const struct producer *producer = &producers->table[at];
    if (claim->epoch < producer->epoch)
        return RC_PRODUCER_EPOCH_STALE;
    if (claim->epoch > producer->epoch)
        return claim->first_sequence == 0 ? RC_OK : RC_SEQUENCE_OUT_OF_ORDER;
    for (uint32_t i = 0; i < producer->batch_count; i++) {
        const struct producer_batch *batch = &producer->batches[i];
        if (batch->first_sequence == claim->first_sequence &&
            batch->last_sequence == claim->last_sequence) {
            *ret_base_offset = batch->base_offset;
            return RC_SEQUENCE_DUPLICATE;
        }
    }
    int32_t due = producer->batch_count > 0
                      ? producers_sequence_after(producer->batches[0].last_sequence)
                      : producer->batches[0].first_sequence; /* producers_await() */
    return claim->first_sequence == due || due < 0 ? RC_OK : RC_SEQUENCE_OUT_OF_ORDER;
}

uint32_t
producers_take(struct producers *producers,
               uint64_t incarnation,
               uint64_t producer_id,
               int16_t epoch,
               uint64_t now_ns)
{
    uint32_t at = producers_find(producers, incarnation, producer_id);

    if (at != PRODUCER_NONE)
        return at;
    at = producers_add(producers, incarnation, producer_id);
    producers->table[at].epoch = epoch;
    producers->table[at].used_ns = now_ns;
    producers->table[at].batches[0].first_sequence = -1;
    return at;
}

void
producers_hold(struct producers *producers, uint32_t producer, uint32_t transaction)
{
    CHECK(producers->table[producer].transaction == PRODUCER_NONE);
    producers_list_remove(producers, producer);
    producers->table[producer].transaction = transaction;
}

void
producers_let_go(struct producers *producers, uint32_t producer, uint64_t now_ns)
{
    CHECK(producers->table[producer].transaction != PRODUCER_NONE);
    producers->table[producer].transaction = PRODUCER_NONE;
    producers->table[producer].used_ns = now_ns;
    producers_list_push(producers, producer);
}

void
producers_mark(struct producers *producers,
               uint32_t producer_idx,
               int16_t epoch,
               int32_t coordinator_epoch,
               uint64_t now_ns)
{
    struct producer *producer = &producers->table[producer_idx];

    producer->coordinator_epoch = coordinator_epoch;
    producer->used_ns = now_ns;
    if (epoch <= producer->epoch)
        return;
    producer->epoch = epoch;
    producer->batch_count = 0;
    producer->batches[0].first_sequence = 0;
}

uint32_t
producers_expire(struct producers *producers, uint64_t now_ns, uint64_t age_ns, uint32_t count)
{
    uint32_t expired = 0;

    for (uint32_t i = 0; i < count && i < producers->count; i++) {
        uint32_t at = producers->expire_next;
        producers->expire_next = at + 1 < producers->count ? at + 1 : 0;
        const struct producer *producer = &producers->table[at];
        if (producer->incarnation == 0 || producer->transaction != PRODUCER_NONE ||
            now_ns < producer->used_ns + age_ns)
            continue;
        producers_remove(producers, at);
        expired++;
    }
    return expired;
}

void
producers_await(struct producers *producers,
                uint32_t producer,
                const struct producer_claim *claim,
                uint64_t now_ns)
{
    /* Who has a state is held to it already. */
    if (producer != PRODUCER_NONE)
        return;
    uint32_t at = producers_add(producers, claim->incarnation, claim->producer_id);
    producers->table[at].epoch = claim->epoch;
    producers->table[at].used_ns = now_ns;
    producers->table[at].batches[0].first_sequence = claim->first_sequence;
}

void
producers_record(struct producers *producers,
                 uint32_t producer_idx,
                 const struct producer_claim *claim,
                 uint64_t base_offset,
                 uint64_t now_ns)
{
    uint32_t at = producer_idx;

    if (at == PRODUCER_NONE)
        at = producers_add(producers, claim->incarnation, claim->producer_id);
    struct producer *producer = &producers->table[at];
    if (claim->epoch != producer->epoch)
        producer->batch_count = 0;
    for (uint32_t i = PRODUCER_BATCHES - 1; i > 0; i--)
        producer->batches[i] = producer->batches[i - 1];
    producer->batches[0] = (struct producer_batch){
        .base_offset = base_offset,
        .first_sequence = claim->first_sequence,
        .last_sequence = claim->last_sequence,
    };
    if (producer->batch_count < PRODUCER_BATCHES)
        producer->batch_count++;
    producer->epoch = claim->epoch;
    producer->used_ns = now_ns;
    if (producers->newest != at && producer->transaction == PRODUCER_NONE) {
        producers_list_remove(producers, at);
        producers_list_push(producers, at);
    }
}

bool
producers_replay(struct producers *producers,
                 const struct producer_claim *claim,
                 uint64_t base_offset,
                 uint64_t now_ns)
{
    uint32_t at = producers_find(producers, claim->incarnation, claim->producer_id);

    if (at == PRODUCER_NONE) {
        if (!producers_has_room(producers, now_ns))
            return false;
    } else {
        const struct producer *producer = &producers->table[at];
        if (producer->batch_count > 0 && base_offset <= producer->batches[0].base_offset)
            return true;
    }
    producers_record(producers, at, claim, base_offset, now_ns);
    return true;
}

void
producers_forget(struct producers *producers, uint64_t incarnation)
{
    for (uint32_t at = producers->oldest; at != PRODUCER_NONE;) {
        uint32_t newer = producers->table[at].newer;
        if (producers->table[at].incarnation == incarnation)
            producers_remove(producers, at);
        at = newer;
    } /* those with a transaction were let go before */
}

void
producers_cut(struct producers *producers, uint32_t producer_idx, uint64_t offset)
{
    struct producer *producer = &producers->table[producer_idx];
    uint32_t gone = 0;

    while (gone < producer->batch_count && producer->batches[gone].base_offset >= offset)
        gone++;
    if (gone == 0)
        return;
    for (uint32_t i = gone; i < producer->batch_count; i++)
        producer->batches[i - gone] = producer->batches[i];
    producer->batch_count = (uint16_t)(producer->batch_count - gone);
    if (producer->batch_count > 0)
        return;
    if (offset == 0 || (producer->transaction == PRODUCER_NONE && producer->coordinator_epoch < 0))
        producers_remove(producers, producer_idx);
    else
        producer->batches[0].first_sequence = -1; /* its epoch and transaction are still true */
}
