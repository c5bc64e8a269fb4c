/* Goal: accounts keep every limit exactly over time, whatever the size of requests, and no number
 * of invented client ids escapes or uses up more than the table. Method: virtual time; limits
 * reached by equal and by random steps, compared with limit times time.
 */
#include "hw/clock/clock.h"
#include "net/gate/quota_table.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct bytes
text(const char *at)
{
    return (struct bytes){(const uint8_t *)at, strlen(at)};
}

static struct quota_table *
table_new(uint32_t clients_max, uint32_t share)
{
    const struct quota_table_config config = {
        .entities_max = 8, .clients_max = clients_max, .share = share, .seed = 3};
    struct quota_table *table = kept(calloc(1, sizeof(*table)));
    size_t bytes = round_up(quota_table_footprint(&config), 64);
    void *memory = kept(aligned_alloc(64, bytes));

    memset(memory, 0xee, bytes);
    quota_table_init(table, memory, &config);
    return table;
}

static void
limit(struct quota_table *table, const char *name, enum quota_kind kind, double value)
{
    struct quota_snapshot snapshot = {.burst_ns = NS_PER_S, .pause_max_ns = 11 * NS_PER_S};

    snapshot.entity.is_default = name == NULL;
    if (name != NULL) {
        snapshot.entity.name_count = (uint8_t)strlen(name);
        memcpy(snapshot.entity.name, name, snapshot.entity.name_count);
    }
    snapshot.entity.set = (uint8_t)(value > 0 ? 1u << kind : 0u);
    snapshot.entity.limits[kind] = value;
    cr_assert_eq(quota_table_apply(table, &snapshot), RC_OK);
}

Test(quota_table, knows_nobody_before_there_is_a_limit, .timeout = 10)
{
    struct quota_table *table = table_new(4, 1);

    cr_assert(!quota_table_is_used(table));
    cr_assert_eq(quota_table_client(table, text("a"), 1).idx, QUOTA_NONE);
    limit(table, "b", QUOTA_PRODUCE, 100);
    cr_assert(quota_table_is_used(table));
    cr_assert_eq(quota_table_client(table, text("a"), 1).idx, QUOTA_NONE);
    cr_assert_eq(table->touched, 0u, "who has no limit takes no place");
    cr_assert_eq(quota_table_charge(table, QUOTA_CLIENT_NONE, QUOTA_PRODUCE, 1000, 1), 0u);
    cr_assert_eq(quota_table_most(table, QUOTA_CLIENT_NONE, QUOTA_FETCH), UINT64_MAX);
}

Test(quota_table, gives_the_burst_and_then_exactly_the_limit, .timeout = 10)
{
    struct quota_table *table = table_new(4, 1);
    struct clock clock;
    uint64_t now = 5 * NS_PER_S;
    uint64_t begun = now;
    uint64_t bytes = 0;

    clock_init_sim(&clock, 17, 0);
    limit(table, "a", QUOTA_PRODUCE, 1000000);
    struct quota_client client = quota_table_client(table, text("a"), now);
    cr_assert_eq(quota_table_charge(table, client, QUOTA_PRODUCE, 1000000, now), 0u);
    cr_assert_eq(quota_table_charge(table, client, QUOTA_FETCH, 1u << 30, now), 0u);
    while (now < begun + 20 * NS_PER_S) {
        uint64_t amount = 1 + clock_random_below(&clock, 200000);
        bytes += amount;
        now += quota_table_charge(table, client, QUOTA_PRODUCE, amount, now);
    }
    double rate = (double)bytes / ((double)(now - begun) / (double)NS_PER_S);
    cr_assert(rate > 999900 && rate < 1000100, "seed 17: %f bytes per second", rate);
    cr_assert_eq(quota_table_charge(table, client, QUOTA_PRODUCE, 0, now + 60 * NS_PER_S), 0u);
    cr_assert_gt(quota_table_charge(table, client, QUOTA_PRODUCE, 1000001, now + 60 * NS_PER_S),
                 0u,
                 "one burst");
}

Test(quota_table, divides_a_limit_by_the_gates, .timeout = 10)
{
    struct quota_table *table = table_new(4, 4);

    limit(table, NULL, QUOTA_PRODUCE, 4000);
    struct quota_client client = quota_table_client(table, text("a"), NS_PER_S);
    cr_assert_eq(quota_table_charge(table, client, QUOTA_PRODUCE, 1000, NS_PER_S), 0u);
    uint64_t pause = quota_table_charge(table, client, QUOTA_PRODUCE, 1000, NS_PER_S);
    cr_assert(pause >= NS_PER_S && pause <= NS_PER_S + 1, "%llu", (unsigned long long)pause);
    cr_assert_eq(quota_table_most(table, client, QUOTA_PRODUCE), 1000u);
}

Test(quota_table, bounds_a_pause_for_core_time_by_the_windows, .timeout = 10)
{
    struct quota_table *table = table_new(4, 1);

    limit(table, "a", QUOTA_REQUEST, 50);
    struct quota_client client = quota_table_client(table, text("a"), NS_PER_S);
    cr_assert_eq(quota_table_charge(table, client, QUOTA_REQUEST, NS_PER_S / 2, NS_PER_S), 0u);
    uint64_t pause = quota_table_charge(table, client, QUOTA_REQUEST, NS_PER_S, NS_PER_S);
    cr_assert(pause >= 2 * NS_PER_S && pause <= 2 * NS_PER_S + 1,
              "half a core takes twice as long");
    pause = quota_table_charge(table, client, QUOTA_REQUEST, 100 * NS_PER_S, NS_PER_S);
    cr_assert_eq(pause, 11 * NS_PER_S);
}

Test(quota_table, keeps_a_debt_when_a_limit_changes_and_drops_it_with_the_limit, .timeout = 10)
{
    struct quota_table *table = table_new(4, 1);

    limit(table, "a", QUOTA_PRODUCE, 1000);
    struct quota_client client = quota_table_client(table, text("a"), NS_PER_S);
    (void)quota_table_charge(table, client, QUOTA_PRODUCE, 3000, NS_PER_S);
    limit(table, "a", QUOTA_PRODUCE, 2000);
    client = quota_table_client(table, text("a"), NS_PER_S);
    uint64_t pause = quota_table_charge(table, client, QUOTA_PRODUCE, 0, NS_PER_S);
    cr_assert(pause >= NS_PER_S && pause <= NS_PER_S + 1, "2,000 bytes owed at 2,000 per second");
    limit(table, "a", QUOTA_PRODUCE, 0);
    cr_assert_eq(quota_table_client(table, text("a"), NS_PER_S).idx, QUOTA_NONE);
    cr_assert_lt(quota_table_charge(table, client, QUOTA_PRODUCE, 0, NS_PER_S + 10), pause);
}

Test(quota_table, makes_room_by_who_owes_nothing_and_else_shares_one_account, .timeout = 10)
{
    struct quota_table *table = table_new(2, 1);
    uint64_t now = NS_PER_S;

    limit(table, NULL, QUOTA_PRODUCE, 1000);
    struct quota_client a = quota_table_client(table, text("a"), now);
    struct quota_client b = quota_table_client(table, text("b"), now);
    (void)quota_table_charge(table, a, QUOTA_PRODUCE, 1500, now);
    (void)quota_table_charge(table, b, QUOTA_PRODUCE, 500, now);
    struct quota_client c = quota_table_client(table, text("c"), now);
    struct quota_client d = quota_table_client(table, text("d"), now);
    cr_assert_eq(c.idx, d.idx, "no place: they share");
    cr_assert_eq(table->shared_count, 2u);
    (void)quota_table_charge(table, c, QUOTA_PRODUCE, 1000, now);
    cr_assert_gt(quota_table_charge(table, d, QUOTA_PRODUCE, 1000, now), 0u);
    now += 2 * NS_PER_S; /* all accounts are full again */
    struct quota_client e = quota_table_client(table, text("e"), now);
    cr_assert_neq(e.idx, c.idx);
    cr_assert_null(quota_table_slot(table, a), "the one unused for longest made room");
    cr_assert_eq(quota_table_charge(table, a, QUOTA_PRODUCE, 1u << 30, now), 0u);
    cr_assert_not_null(quota_table_slot(table, b));
    quota_table_slot(table, b)->muted = 1;
    quota_table_slot(table, e)->muted = 1;
    cr_assert_eq(quota_table_client(table, text("f"), now + 10 * NS_PER_S).idx,
                 c.idx,
                 "who pauses keeps its place");
}

Test(quota_table, tells_a_crowd_of_names_apart_and_stays_bounded, .timeout = 20)
{
    struct quota_table *table = table_new(64, 1);
    char name[32];
    uint64_t now = NS_PER_S;
    uint64_t paused = 0;

    limit(table, NULL, QUOTA_PRODUCE, 1000);
    for (uint32_t i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "name-%u", i);
        struct quota_client client = quota_table_client(table, text(name), now);
        paused += quota_table_charge(table, client, QUOTA_PRODUCE, 900, now) > 0 ? 1 : 0;
    }
    cr_assert_leq(table->touched, 64u);
    cr_assert_geq(paused, 100000u - 64u - 2u, "inventing names buys nothing");
}
