/* Goal: whatever members of a consumer group do, no partition is held by two, and when they are
 * left alone all partitions are held, evenly, also after restarts and with a rewritten log. Method:
 * model clients that behave as real ones do (they give up what they are told to, late; lose
 * answers; die, leave, come back), seeded. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENTS 6
#define TOPICS 3
#define PARTITIONS 8

/* As a client sees itself. */
struct client {
    char id[16];
    bool is_in;
    int32_t epoch;
    bool owned[TOPICS][PARTITIONS];
    bool wanted[TOPICS][PARTITIONS]; /* what it was told last */
    const char *names;
    bool is_unsure;   /* its last answer was lost */
    uint32_t seconds; /* since it last did all that it was told to */
};

struct world {
    struct fixture *fixture;
    struct client clients[CLIENTS];
    const char *assignor;
    bool is_mixed;
    uint64_t seed;
    uint32_t births;
};

static uint64_t
draw(struct world *world, uint64_t below)
{
    world->seed = world->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (world->seed >> 33) % below;
}

static void
print_owned(const struct client *client, char to[256])
{
    size_t at = 0;

    to[0] = '\0';
    for (int t = 0; t < TOPICS; t++) {
        bool any = false;
        for (int p = 0; p < PARTITIONS; p++) {
            if (!client->owned[t][p])
                continue;
            if (any)
                at += (size_t)snprintf(to + at, 256 - at, ",%d", p);
            else
                at += (size_t)snprintf(to + at, 256 - at, "%s%c:%d", at > 0 ? ";" : "", 'a' + t, p);
            any = true;
        }
    }
}

/* "a:0,1;b:2" */
static void
read_wanted(struct client *client, const char *from)
{
    int topic = 0;

    if (strcmp(from, "-") == 0)
        return;
    memset(client->wanted, 0, sizeof(client->wanted));
    for (; *from != '\0'; from++) {
        if (*from >= 'a' && *from < 'a' + TOPICS)
            topic = *from - 'a';
        else if (*from >= '0' && *from <= '9')
            client->wanted[topic][*from - '0'] = true;
    }
}

/* No partition has two owners, by what the clients themselves believe. */
static void
expect_single_owners(const struct world *world)
{
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++) {
            int owners = 0;
            for (int c = 0; c < CLIENTS; c++)
                owners += world->clients[c].is_in && world->clients[c].owned[t][p];
            cr_assert_leq(owners, 1, "%c-%d has %d owners", 'a' + t, p, owners);
        }
}

static void
client_drop(struct client *client)
{
    client->is_in = false;
    client->epoch = 0;
    memset(client->owned, 0, sizeof(client->owned));
    memset(client->wanted, 0, sizeof(client->wanted));
}

/* One heartbeat; the answer may get lost. */
static void
client_beat(struct world *world, struct client *client, bool is_lost)
{
    struct fixture *fixture = world->fixture;
    char owned[256];
    struct beat beat = {.group = "g", .member = client->id, .epoch = client->epoch, .owned = owned};

    print_owned(client, owned);
    if (!client->is_in) {
        snprintf(client->id, sizeof(client->id), "m%u", world->births++);
        beat.epoch = 0;
        owned[0] = '\0';
    }
    if (beat.epoch == 0 || is_lost) {
        beat.names = client->names;
        beat.assignor = world->assignor;
        beat.rebalance_ms = 20000;
    }
    fixture->next_token = 1;
    memset(fixture->answers, 0, 4 * sizeof(fixture->answers[0]));
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_beat(fixture, &beat));
    client->is_unsure = is_lost && client->is_in;
    if (client->is_unsure)
        return;
    if (answer->error != 0) {
        cr_assert(answer->error == KAFKA_ERROR_UNKNOWN_MEMBER_ID ||
                      answer->error == KAFKA_ERROR_FENCED_MEMBER_EPOCH,
                  "error %d",
                  answer->error);
        client_drop(client);
        return;
    }
    client->is_in = true;
    client->epoch = answer->generation;
    read_wanted(client, answer->assignment);
}

/* Gives up at once what it is told to, then takes what is new; nothing new while it does not know
 * what its last heartbeat was answered: what was promised and not confirmed may be taken back by
 * that answer, and KIP-848 has no further confirmation of it. */
static void
client_reconcile(struct client *client)
{
    for (int t = 0; t < TOPICS; t++)
        for (int p = 0; p < PARTITIONS; p++)
            client->owned[t][p] = client->wanted[t][p] &&
                                  (client->owned[t][p] || !client->is_unsure);
}

/* A while passes. Who would be put out for being late or silent speaks before: a client that was
 * put out without knowing it believes that it holds what others were given, which no broker can
 * help. */
static void
pass(struct world *world)
{
    for (int c = 0; c < CLIENTS; c++) {
        struct client *client = &world->clients[c];
        client->seconds += 5;
        if (client->seconds < 15)
            continue;
        for (int i = 0; i < 2 && client->is_in; i++) {
            client_beat(world, client, false);
            client_reconcile(client);
        }
        if (client->is_in)
            client_beat(world, client, false);
        client->seconds = 0;
    }
    fixture_pass(world->fixture, 5000);
}

static void
client_leave(struct world *world, struct client *client)
{
    struct fixture *fixture = world->fixture;
    struct beat beat = {.group = "g", .member = client->id, .epoch = -1};

    if (!client->is_in)
        return;
    fixture->next_token = 1;
    memset(fixture->answers, 0, 4 * sizeof(fixture->answers[0]));
    fixture_beat(fixture, &beat);
    client_drop(client);
}

/* A restart from the log; every second time from one that was written anew and cut off. */
static void
restart(struct world *world)
{
    struct fixture *old = world->fixture;
    uint32_t from = 0;
    uint64_t cursor = 0;

    if (draw(world, 2) == 0) {
        from = old->record_count;
        cr_assert(groups_rewrite(old->groups, &cursor, old->time));
        fixture_durable(old, RC_OK);
    }
    memmove(
        old->records, old->records + from, (old->record_count - from) * sizeof(old->records[0]));
    old->record_count -= from;
    world->fixture = fixture_restart(old);
    memcpy(world->fixture->records, old->records, old->record_count * sizeof(old->records[0]));
    world->fixture->record_count = old->record_count;
}

/* Clients that dislike nothing: everything is held, and by nobody twice. */
static void
settle(struct world *world)
{
    int load[CLIENTS] = {0};
    int in = 0;
    int most = 0;
    int least = 1000;

    for (int i = 0; i < 10; i++) { /* those that died are put out, the others speak */
        for (int c = 0; c < CLIENTS; c++)
            world->clients[c].seconds = 15;
        pass(world);
    }
    for (int round = 0; round < 12; round++)
        for (int c = 0; c < CLIENTS; c++) {
            if (!world->clients[c].is_in)
                continue;
            client_beat(world, &world->clients[c], false);
            if (world->clients[c].is_in)
                client_reconcile(&world->clients[c]);
            expect_single_owners(world);
        }
    for (int c = 0; c < CLIENTS; c++) {
        const struct client *client = &world->clients[c];
        if (!client->is_in)
            continue;
        in++;
        for (int t = 0; t < TOPICS; t++)
            for (int p = 0; p < PARTITIONS; p++)
                load[c] += client->owned[t][p];
        most = load[c] > most ? load[c] : most;
        least = load[c] < least ? load[c] : least;
    }
    for (int t = 0; t < TOPICS; t++) {
        bool wanted = false;
        for (int c = 0; c < CLIENTS; c++)
            wanted |= world->clients[c].is_in && strchr(world->clients[c].names, 'a' + t) != NULL;
        for (uint32_t p = 0; wanted && p < world->fixture->topics[t].partitions; p++) {
            int owners = 0;
            for (int c = 0; c < CLIENTS; c++)
                owners += world->clients[c].is_in && world->clients[c].owned[t][p];
            cr_assert_eq(owners, 1, "%c-%u has %d owners", 'a' + t, p, owners);
        }
    }
    cr_assert_eq(groups_count(world->fixture->groups, in > 0 ? GROUP_STABLE : GROUP_EMPTY), 1);
    if (in > 0 && world->assignor[0] == 'u' && !world->is_mixed)
        cr_assert_leq(most - least, 1, "uniform: from %d to %d", least, most);
}

static void
live(const char *assignor, bool is_mixed, uint64_t seed)
{
    struct world world = {
        .fixture = fixture_new(), .assignor = assignor, .is_mixed = is_mixed, .seed = seed};
    static const char *const names[] = {"a,b,c", "a", "b,c", "a,c"};

    printf("seed %llu\n", (unsigned long long)seed);
    for (int t = 0; t < TOPICS; t++)
        world.fixture->topics[t] = (struct fixture_topic){t == 0   ? "a"
                                                          : t == 1 ? "b"
                                                                   : "c",
                                                          (uint8_t)(t + 1),
                                                          5};
    world.fixture->topic_count = TOPICS;
    for (int c = 0; c < CLIENTS; c++)
        world.clients[c].names = names[is_mixed ? c % 4 : 0];
    for (int step = 0; step < 2500; step++) {
        struct client *client = &world.clients[draw(&world, CLIENTS)];
        uint64_t what = draw(&world, 100);
        if (what < 60)
            client_beat(&world, client, draw(&world, 10) == 0);
        else if (what < 85 && client->is_in)
            client_reconcile(client);
        else if (what < 88)
            client_leave(&world, client);
        else if (what < 90)
            client_drop(client); /* dies: its session has to end */
        else if (what < 93)
            pass(&world);
        else if (what < 94) {
            world.fixture->topics[draw(&world, TOPICS)].partitions = 3 + (uint32_t)draw(&world, 6);
            world.fixture->topics_version++;
        } else if (what == 94)
            restart(&world);
        expect_single_owners(&world);
        if (step % 250 == 249) {
            settle(&world);
        }
    }
}

Test(consumer_random, uniform_is_even_and_single_whatever_happens, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        live("uniform", false, seed);
}

Test(consumer_random, mixed_subscriptions_leave_nothing_without_a_member, .timeout = 60)
{
    for (uint64_t seed = 11; seed <= 14; seed++)
        live("uniform", true, seed);
}

Test(consumer_random, range_too, .timeout = 60)
{
    for (uint64_t seed = 21; seed <= 24; seed++)
        live("range", seed % 2 == 0, seed);
}
