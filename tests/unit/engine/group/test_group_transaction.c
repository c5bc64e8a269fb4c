/* Goal: offsets of a transaction are seen by nobody before its end, waited for by those who ask for
 * stable ones, and become committed all together or not at all, whenever the server stops. Method:
 * scripted requests, bad input first; random transactions over several groups, with restarts and
 * rewritten logs, compared with a model. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int16_t
commit_error(struct fixture *fixture, const struct txn_commit *commit)
{
    return fixture_answer(fixture, fixture_txn_commit(fixture, commit))->errors[0];
}

static int64_t
fetched(struct fixture *fixture, const char *group, const char *topic, int32_t partition)
{
    uint64_t token = fixture_fetch(fixture, group, topic, partition);
    return fixture_answer(fixture, token)->offsets[0];
}

static int16_t
stable_error(struct fixture *fixture, const char *group, const char *topic, int32_t partition)
{
    fixture->is_stable_only = true;
    uint64_t token = fixture_fetch(fixture, group, topic, partition);
    fixture->is_stable_only = false;
    return fixture_answer(fixture, token)->errors[0];
}

static struct txn_commit
plain(void)
{
    return (struct txn_commit){
        .producer = 7, .epoch = 1, .group = "g", .generation = -1, .topic = "t3", .offset = 5};
}

Test(group_transaction, refuses_strangers_and_what_does_not_exist, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct txn_commit commit = plain();
    int32_t generation;

    commit.generation = 3;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_ILLEGAL_GENERATION);
    commit = plain();
    commit.group = "";
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_INVALID_GROUP_ID);
    commit = plain();
    commit.producer = -1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    commit = plain();
    commit.partition = 3;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    commit.partition = -1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    commit = plain();
    commit.metadata = "seventeen letters";
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    fixture->transaction_error = KAFKA_ERROR_INVALID_TXN_STATE;
    commit = plain();
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_INVALID_TXN_STATE);
    fixture->transaction_error = 0;
    cr_expect_eq(groups_pending_offsets(fixture->groups), 0, "what was refused left nothing");

    const char *one = fixture_stable(fixture, "m", &generation);
    commit.group = "m";
    cr_expect_eq(commit_error(fixture, &commit), 0, "older producers name no member");
    commit.member = one;
    commit.generation = generation + 1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_ILLEGAL_GENERATION);
    commit.member = "other";
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    commit.member = one;
    commit.generation = generation;
    cr_expect_eq(commit_error(fixture, &commit), 0);
    commit.epoch = 0;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_INVALID_PRODUCER_EPOCH, "a zombie");
    commit.epoch = 2;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    commit.version = 1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
}

Test(group_transaction, shows_its_offsets_only_after_its_end, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct txn_commit commit = plain();

    fixture->auto_durable = false;
    uint64_t first = fixture_txn_commit(fixture, &commit);
    cr_expect(fixture_is_parked(fixture, first));
    cr_expect_eq(stable_error(fixture, "g", "t3", 0),
                 KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT,
                 "from the append on: a reader that went on from before would read twice");
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, first)->errors[0], 0);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
    cr_expect_eq(stable_error(fixture, "g", "t3", 1), 0, "other partitions do not wait");

    uint64_t end = fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fixture->ended_count, 0);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture->ended_token, end);
    cr_expect_eq(fixture->ended_rc, RC_OK);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
    cr_expect_eq(stable_error(fixture, "g", "t3", 0), 0);

    commit.offset = 9;
    fixture->auto_durable = true;
    cr_expect_eq(commit_error(fixture, &commit), 0);
    fixture_txn_end(fixture, 7, 2, false);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5, "an abort by a later epoch drops it");
    cr_expect_eq(groups_pending_offsets(fixture->groups), 0);
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fixture->ended_count, 3, "an end of nothing is answered at once");
    cr_expect_eq(fixture->ended_rc, RC_OK);
}

Test(group_transaction, changes_nothing_when_a_record_cannot_be_stored, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct txn_commit commit = plain();

    fixture->auto_durable = false;
    uint64_t lost = fixture_txn_commit(fixture, &commit);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, lost)->errors[0], KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(groups_pending_offsets(fixture->groups), 0);
    cr_expect_eq(stable_error(fixture, "g", "t3", 0), 0);

    fixture->auto_durable = true;
    cr_assert_eq(commit_error(fixture, &commit), 0);
    fixture->log_full = true;
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fixture->ended_rc, RC_AGAIN);
    commit.partition = 1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    fixture->log_full = false;
    fixture->auto_durable = false;
    fixture_txn_end(fixture, 7, 1, true);
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fixture->ended_rc, RC_AGAIN, "one end at a time");
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture->ended_rc, RC_NO_SPACE);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
    fixture->auto_durable = true;
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
}

Test(group_transaction, loses_against_a_later_plain_commit, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct txn_commit commit = plain();
    struct commit later = {.group = "g", .generation = -1, .topic = "t3", .offset = 50};

    cr_assert_eq(commit_error(fixture, &commit), 0);
    fixture_commit(fixture, &later);
    uint64_t cursor = 0;
    cr_assert(groups_rewrite(fixture->groups, &cursor, fixture->time));
    fixture = fixture_restart(fixture);
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 50);
}

Test(group_transaction, keeps_its_group_from_deletion_and_expiry, .timeout = 10)
{
    struct groups_limits limits = fixture_limits();

    limits.offsets_max = 2;
    limits.transactions_max = 1;
    struct fixture *fixture = fixture_with(&limits);
    struct txn_commit commit = plain();
    cr_assert_eq(commit_error(fixture, &commit), 0);
    commit.producer = 8;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, "limit");
    commit.producer = 7;
    commit.partition = 1;
    cr_assert_eq(commit_error(fixture, &commit), 0);
    commit.partition = 2;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, "limit");
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "g"))->errors[0],
                 KAFKA_ERROR_NON_EMPTY_GROUP);
    fixture_pass(fixture, 200000);
    cr_expect_eq(groups_pending_offsets(fixture->groups), 2);
    fixture_txn_end(fixture, 7, 1, true);
    cr_expect_eq(fetched(fixture, "g", "t3", 1), 5, "the limit never keeps an end from its places");
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "g"))->errors[0], 0);
    cr_expect_eq(groups_memory_used(fixture->groups), 0, "nothing is left of it");
}

/* ---- random work */

#define PRODUCERS 3
#define PLACES 16 /* group g0..g3, topic a4, partition 0..3 */

struct model_place {
    int64_t committed; /* -1: none */
    int64_t pending[PRODUCERS];
    bool is_later[PRODUCERS]; /* a plain commit came after the pending one */
};

static void
model_end(struct model_place *places, int producer, bool is_commit)
{
    for (int i = 0; i < PLACES; i++) {
        struct model_place *place = &places[i];
        if (is_commit && place->pending[producer] >= 0 && !place->is_later[producer])
            place->committed = place->pending[producer];
        place->pending[producer] = -1;
        place->is_later[producer] = false;
    }
}

static void
expect_model(struct fixture *fixture, const struct model_place *model)
{
    for (int i = 0; i < PLACES; i++) {
        char group[8];
        bool is_pending = false;
        snprintf(group, sizeof(group), "g%d", i / 4);
        for (int producer = 0; producer < PRODUCERS; producer++)
            is_pending |= model[i].pending[producer] >= 0;
        fixture->next_token = 2000;
        memset(&fixture->answers[2000], 0, 4 * sizeof(fixture->answers[0]));
        cr_assert_eq(fetched(fixture, group, "a4", i % 4), model[i].committed, "place %d", i);
        cr_assert_eq(stable_error(fixture, group, "a4", i % 4),
                     is_pending ? KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT : 0);
    }
}

static uint64_t
draw(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % below;
}

/* The log of a coordinator whose beginning was cut off where the rewriting began. */
static struct fixture *
restart_rewritten(struct fixture *fixture, uint64_t *seed)
{
    uint32_t from = fixture->record_count;
    bool is_ending = draw(seed, 2) == 0;
    uint64_t cursor = 0;

    /* An end that is under way while the log is rewritten. */
    fixture->auto_durable = false;
    fixture->ended_rc = RC_OK;
    if (is_ending)
        fixture_txn_end(fixture, 1, 0, true);
    cr_assert(groups_rewrite(fixture->groups, &cursor, fixture->time));
    fixture_durable(fixture, RC_OK);
    fixture->auto_durable = true;
    struct fixture *next = fixture_with(&fixture->config.limits);
    struct diag_trail trail = {0};
    next->time = fixture->time;
    for (uint32_t i = from; i < fixture->record_count; i++) {
        const struct fixture_record *record = &fixture->records[i];
        cr_assert_eq(groups_replay(next->groups, record->key, record->value, &trail), RC_OK);
        next->records[next->record_count++] = *record;
    }
    groups_loaded(next->groups, next->time);
    next->ended_count = is_ending;
    return next;
}

Test(group_transaction, equals_the_model_after_restarts_and_rewriting, .timeout = 60)
{
    struct fixture *fixture = fixture_new();
    struct model_place model[PLACES];
    uint64_t seed = 20261122;

    for (int i = 0; i < PLACES; i++)
        model[i] = (struct model_place){.committed = -1, .pending = {-1, -1, -1}};
    printf("seed %llu\n", (unsigned long long)seed);
    for (int step = 0; step < 4000; step++) {
        int producer = (int)draw(&seed, PRODUCERS), place = (int)draw(&seed, PLACES);
        char group[8];
        snprintf(group, sizeof(group), "g%d", place / 4);
        fixture->next_token = 1;
        memset(fixture->answers, 0, 8 * sizeof(fixture->answers[0]));
        uint64_t what = draw(&seed, 8);
        if (what < 5) {
            struct txn_commit commit = {.producer = producer,
                                        .group = group,
                                        .generation = -1,
                                        .topic = "a4",
                                        .partition = place % 4,
                                        .offset = step};
            /* Two open transactions on one partition: the later end wins unless it is older. */
            bool is_taken = false;
            for (int other = 0; other < PRODUCERS; other++)
                is_taken |= other != producer && model[place].pending[other] >= 0;
            if (is_taken)
                continue;
            cr_assert_eq(commit_error(fixture, &commit), 0);
            model[place].pending[producer] = step;
            model[place].is_later[producer] = false;
        } else if (what < 7) {
            bool is_commit = draw(&seed, 3) > 0;
            fixture_txn_end(fixture, producer, 0, is_commit);
            model_end(model, producer, is_commit);
        } else {
            struct commit commit = {.group = group,
                                    .generation = -1,
                                    .topic = "a4",
                                    .partition = place % 4,
                                    .offset = step};
            fixture_commit(fixture, &commit);
            model[place].committed = step;
            for (int other = 0; other < PRODUCERS; other++)
                model[place].is_later[other] = model[place].pending[other] >= 0;
        }
        if (step % 50 == 49) {
            fixture = fixture_restart(fixture);
            fixture = restart_rewritten(fixture, &seed);
            if (fixture->ended_count > 0)
                model_end(model, 1, true);
            expect_model(fixture, model);
        }
    }
}

Test(group_rewrite, leaves_out_what_a_record_under_way_will_change, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct commit commit = {.group = "g", .generation = -1, .topic = "t3", .offset = 5};
    uint64_t cursor = 0;

    fixture_commit(fixture, &commit);
    fixture->auto_durable = false;
    commit.offset = 9;
    fixture_commit(fixture, &commit);
    cr_assert(groups_rewrite(fixture->groups, &cursor, fixture->time));
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fetched(fixture_restart(fixture), "g", "t3", 0), 9, "5 must not come back");
}
