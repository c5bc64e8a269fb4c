/* Goal: whatever is asked in whatever order, with losses and restarts, answers agree with a model
 * of a few lines, and the tables agree with the log. Method: seeded random requests over a few ids;
 * records are durable or lost at random, orders are answered at random; every so often the
 * coordinator is replaced by one that has only the log. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#define IDS 5
#define STEPS 4000

struct model {
    struct producer producer; /* that was told last */
    bool is_told;
};

static uint64_t random_state;

static uint32_t
draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % below;
}

static const char *const ids[IDS] = {"a", "b", "c", "d", "e"};
static const char *const lists[] = {"t3:0", "t3:1,t3:2", "u2:0,t3:0", "x1:0,u2:1"};

/* Brings everything to rest: nothing is lost from here on. */
static void
rest(struct fixture *fixture)
{
    for (int i = 0; i < 8; i++) {
        fixture_pass(fixture, 200);
        fixture_settle(fixture);
    }
}

static void
compare(const struct fixture *one, const struct fixture *other)
{
    for (int i = 0; i < IDS; i++) {
        struct transaction_view a = fixture_view(one, ids[i]);
        struct transaction_view b = fixture_view(other, ids[i]);
        cr_assert_eq(a.state, b.state, "%s: %d and %d", ids[i], a.state, b.state);
        if (a.state == TRANSACTION_STATES)
            continue;
        cr_assert_eq(a.producer_id, b.producer_id);
        cr_assert_eq(a.producer_epoch, b.producer_epoch);
        cr_assert_eq(a.partition_count, b.partition_count);
        cr_assert_eq(a.start_ms, b.start_ms);
    }
}

static void
one_request(struct fixture *fixture, struct model *models)
{
    uint32_t i = draw(IDS);
    struct model *model = &models[i];
    struct add add = {.id = ids[i], .producer = model->producer, .partitions = lists[draw(4)]};

    switch (draw(6)) {
    case 0: {
        uint64_t token = fixture_init(fixture, ids[i], 60000);
        fixture_settle(fixture);
        fixture_pass(fixture, 400); /* it may wait for an end, but not longer */
        const struct fixture_answer *answer = fixture_answer(fixture, token);
        if (answer->error != 0)
            break;
        if (model->is_told && answer->producer_id == model->producer.id)
            cr_assert_gt(answer->producer_epoch, model->producer.epoch, "never the same again");
        model->producer = (struct producer){answer->producer_id, answer->producer_epoch};
        model->is_told = true;
        break;
    }
    case 1:
    case 2:
        fixture_add(fixture, &add);
        break;
    case 3:
        fixture_add_offsets(fixture, ids[i], model->producer);
        break;
    default: {
        bool commit = draw(2) == 0;
        uint64_t token = fixture_end(fixture, ids[i], model->producer, commit);
        fixture_durable(fixture, draw(10) == 0 ? RC_NO_SPACE : RC_OK);
        const struct fixture_answer *answer = fixture_answer(fixture, token);
        enum transaction_state state = fixture_view(fixture, ids[i]).state;
        if (answer->error != 0)
            break;
        /* What was told is what stands, whatever comes after. */
        if (commit)
            cr_assert(state == TRANSACTION_PREPARE_COMMIT || state == TRANSACTION_COMPLETE_COMMIT);
        else
            cr_assert(state == TRANSACTION_PREPARE_ABORT || state == TRANSACTION_COMPLETE_ABORT);
    }
    }
}

/* Records that were lost are not in the log that a restart reads. */
static void
lose(struct fixture *fixture)
{
    fixture_durable(fixture, RC_NO_SPACE);
}

Test(transaction_random, agrees_with_its_log_and_with_what_it_told, .timeout = 120)
{
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    struct fixture *fixture = fixture_new();
    struct model models[IDS] = {0};

    random_state = seed * 2654435761u + 1;
    printf("seed %llu\n", (unsigned long long)seed);
    fixture->by_hand = true;
    for (int step = 0; step < STEPS; step++) {
        fixture->orders_busy = draw(8) == 0;
        fixture->log_full = draw(20) == 0;
        one_request(fixture, models);
        uint32_t what = draw(12);
        if (what == 0) {
            lose(fixture);
        } else if (what < 6) {
            fixture_durable(fixture, RC_OK);
        } else if (what < 9) {
            fixture_ordered(fixture, draw(4) == 0 ? RC_AGAIN : RC_OK);
        } else if (what == 9) {
            fixture_pass(fixture, draw(20000));
        }
        if (step % 200 != 199)
            continue;
        fixture->orders_busy = false;
        fixture->log_full = false;
        rest(fixture);
        /* The log as it would be without what was lost: written anew. */
        uint64_t cursor = 0;
        uint32_t first = fixture->record_count;
        cr_assert(coordinator_rewrite(fixture->coordinator, &cursor));
        uint32_t count = fixture->record_count - first;
        memmove(fixture->records, fixture->records + first, count * sizeof(fixture->records[0]));
        struct fixture *next = fixture_restart(fixture, count);
        compare(fixture, next);
        fixture_settle(next);
        next->by_hand = true;
        fixture = next;
    }
}
