/* Goal: the store is a pure function of its records, refuses what contradicts its state without a
 * trace, and stays in its limits. Method: bad input first; golden bytes of METADATA.md; then seeded
 * random histories against a plain model, replayed into a second store with another hash seed and
 * compared by everything that callers can see. */
#include "engine/topic/topic_name.h"
#include "engine/topic/topic_store.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the running test took; given back by give_back(), also when the test fails. */
static void *taken[128];
static uint32_t taken_count;

static void *
take(size_t bytes)
{
    void *memory = aligned_alloc(64, round_up(bytes, 64));

    cr_assert(memory != NULL && taken_count < ARRAY_COUNT(taken));
    taken[taken_count++] = memory;
    return memory;
}

static void
give_back(void)
{
    while (taken_count > 0)
        free(taken[--taken_count]);
}

TestSuite(topic_store, .fini = give_back);

static struct topic_store *
new_store(uint32_t topics_max, uint32_t partitions_max, uint64_t seed)
{
    struct topic_store_config config = {topics_max, partitions_max, 8, seed};
    struct topic_store *store = take(sizeof(*store));
    size_t bytes = topic_store_footprint(&config);
    void *memory = take(bytes);

    memset(memory, 0xa5, bytes); /* init must not rely on zeroed memory */
    topic_store_init(store, memory, &config);
    return store;
}

static struct bytes
text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static struct topic_record
created(const char *name, uint8_t id, uint32_t count, uint64_t incarnation)
{
    struct topic_record record = {.kind = TOPIC_RECORD_CREATED,
                                  .partition_count = count,
                                  .first_incarnation = incarnation,
                                  .name_count = (uint8_t)strlen(name)};

    memset(record.id, id, sizeof(record.id));
    memcpy(record.name, name, strlen(name));
    return record;
}

static struct topic_record
about(enum topic_record_kind kind, uint8_t id)
{
    struct topic_record record = {.kind = kind};

    memset(record.id, id, sizeof(record.id));
    return record;
}

static enum rc
apply(struct topic_store *store, const struct topic_record *record)
{
    uint8_t bytes[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));

    topic_record_encode(record, &writer);
    cr_assert_not(writer.failed);
    return topic_store_apply(store, (struct bytes){bytes, writer_count(&writer)}, NULL);
}

Test(topic_record, refuses_every_cut_and_every_unknown_kind, .timeout = 10)
{
    struct topic_record record = created("orders", 1, 3, 2);
    uint8_t bytes[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct topic_record out;
    struct diag_trail trail;

    diag_trail_clear(&trail);
    cr_assert_eq(topic_config_set(&record.config, text("retention.ms"), text("5"), &trail), RC_OK);
    topic_record_encode(&record, &writer);
    for (size_t count = 0; count < writer_count(&writer); count++)
        cr_assert_eq(topic_record_decode((struct bytes){bytes, count}, &out, NULL),
                     RC_CORRUPT,
                     "%zu",
                     count);
    bytes[writer_count(&writer)] = 0;
    cr_assert_eq(topic_record_decode((struct bytes){bytes, writer_count(&writer) + 1}, &out, NULL),
                 RC_CORRUPT);
    bytes[1] = 1;
    cr_assert_eq(topic_record_decode((struct bytes){bytes, writer_count(&writer)}, &out, &trail),
                 RC_NEWER_FORMAT);
    bytes[1] = 0;
    bytes[0] = 99;
    cr_assert_eq(topic_record_decode((struct bytes){bytes, writer_count(&writer)}, &out, NULL),
                 RC_NEWER_FORMAT);
    cr_assert_eq(topic_record_decode((struct bytes){NULL, 0}, &out, NULL), RC_CORRUPT);
}

Test(topic_record, writes_the_bytes_of_the_document, .timeout = 10)
{
    static const uint8_t golden[] = {
        0x02, 0x00, 0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11, 12,  13,
        14,   15,   1,    0,    0,    0,    0,    0,    0,    0,    2,    0x61, 0x62, 0,  0,   0,
        0,    3,    0,    0,    0,    7,    0,    0,    0,    0,    0,    0,    0,    1,  0,   12,
        0x72, 0x65, 0x74, 0x65, 0x6e, 0x74, 0x69, 0x6f, 0x6e, 0x2e, 0x6d, 0x73, 1,    0,  0x35};
    struct topic_record record = created("ab", 0, 3, 7);
    struct topic_record back;
    uint8_t bytes[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));

    for (uint8_t i = 0; i < 16; i++)
        record.id[i] = i;
    record.wall_ms = 1;
    cr_assert_eq(topic_config_set(&record.config, text("retention.ms"), text("5"), NULL), RC_OK);
    topic_record_encode(&record, &writer);
    cr_assert_eq(writer_count(&writer), sizeof(golden));
    cr_assert_eq(memcmp(bytes, golden, sizeof(golden)), 0);
    cr_assert_eq(topic_record_decode((struct bytes){golden, sizeof(golden)}, &back, NULL), RC_OK);
    cr_assert_eq(back.partition_count, 3u);
    cr_assert_eq(back.first_incarnation, 7u);
    cr_assert_eq(back.config.values[TOPIC_CONFIG_RETENTION_MS], 5);
}

Test(topic_store, refuses_records_that_contradict_its_state, .timeout = 10)
{
    struct topic_store *store = new_store(3, 8, 1);
    struct topic_record record = created("a.b", 1, 2, 2);

    cr_assert_eq(apply(store, &record), RC_OK);
    record = created("a.b", 2, 1, 4);
    cr_assert_eq(apply(store, &record), RC_EXISTS);
    record = created("a_b", 2, 1, 4);
    cr_assert_eq(apply(store, &record), RC_EXISTS);
    record = created("c", 1, 1, 4);
    cr_assert_eq(apply(store, &record), RC_EXISTS, "same id");
    record = created("c", 2, 1, 3);
    cr_assert_eq(apply(store, &record), RC_INVALID, "incarnation used before");
    record = created("c", 2, 0, 4);
    cr_assert_eq(apply(store, &record), RC_INVALID, "no partitions");
    record = created("c", 0, 1, 4);
    cr_assert_eq(apply(store, &record), RC_INVALID, "zero id");
    record = created("c/d", 2, 1, 4);
    cr_assert_eq(apply(store, &record), RC_INVALID, "bad name");
    record = created("c", 2, 1, UINT64_MAX);
    cr_assert_eq(apply(store, &record), RC_INVALID, "incarnations wrap");
    record = created("c", 2, 7, 4);
    cr_assert_eq(apply(store, &record), RC_LIMIT);
    record = about(TOPIC_RECORD_DELETED, 9);
    cr_assert_eq(apply(store, &record), RC_NOT_FOUND);
    record = about(TOPIC_RECORD_PARTITIONS, 1);
    record.first_partition = 1;
    record.partition_count = 1;
    record.first_incarnation = 4;
    cr_assert_eq(apply(store, &record), RC_INVALID, "does not follow");
    cr_assert_eq(store->applied_count, 1u);
    cr_assert_eq(store->partition_count, 2u);
    cr_assert_eq(store->next_incarnation, 4u);
}

Test(topic_store, stops_at_its_limits_and_reuses_what_was_given_back, .timeout = 10)
{
    struct topic_store *store = new_store(2, 3, 1);
    struct topic_record record = created("a", 1, 1, 2);
    struct diag_trail trail;

    cr_assert_eq(apply(store, &record), RC_OK);
    record = created("b", 2, 1, 3);
    cr_assert_eq(apply(store, &record), RC_OK);
    record = created("c", 3, 1, 4);
    diag_trail_clear(&trail);
    cr_assert_eq(topic_store_check(store, &record, &trail), RC_LIMIT);
    cr_assert_not_null(strstr(trail.text, "topics_max"));
    for (uint64_t round = 0; round < 20; round++) {
        struct topic_record gone = about(TOPIC_RECORD_DELETED, 1);
        cr_assert_eq(apply(store, &gone), RC_OK);
        struct topic_record again = created("a", 1, 2, 4 + round * 2);
        cr_assert_eq(apply(store, &again), RC_OK);
    }
    cr_assert_eq(store->partition_count, 3u);
    cr_assert_eq(store->next_incarnation, 44u);
}

Test(topic_store, never_gives_a_producer_id_twice, .timeout = 10)
{
    struct topic_store *store = new_store(2, 3, 1);
    struct topic_record record = {.kind = TOPIC_RECORD_PRODUCERS,
                                  .first_producer = TOPIC_PRODUCER_FIRST,
                                  .producer_count = 1000};

    cr_assert_eq(apply(store, &record), RC_OK);
    cr_assert_eq(store->next_producer, TOPIC_PRODUCER_FIRST + 1000);
    cr_assert_eq(apply(store, &record), RC_INVALID);
    record.first_producer = store->next_producer;
    record.producer_count = 0;
    cr_assert_eq(apply(store, &record), RC_INVALID);
    record.first_producer = INT64_MAX;
    record.producer_count = 1;
    cr_assert_eq(apply(store, &record), RC_INVALID);
    record = about(TOPIC_RECORD_CLUSTER, 7);
    cr_assert_eq(apply(store, &record), RC_OK);
    cr_assert_eq(apply(store, &record), RC_EXISTS);
}

/* ---- random histories */

#define MODEL_TOPICS 24u
struct model_topic {
    bool live;
    uint32_t count;
    uint64_t incarnations[64];
    int64_t retention;
};

struct history {
    uint8_t *bytes; /* records, each behind its u32 length */
    size_t count;
    uint64_t random;
};

static uint64_t
next_random(struct history *history)
{
    history->random = history->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return history->random >> 33;
}

static void
keep(struct history *history, const struct topic_record *record)
{
    struct writer writer = writer_over(history->bytes + history->count + 4, TOPIC_RECORD_BYTES_MAX);

    topic_record_encode(record, &writer);
    cr_assert_not(writer.failed);
    put_u32_le(history->bytes + history->count, (uint32_t)writer_count(&writer));
    history->count += 4 + writer_count(&writer);
}

static void
name_of(uint32_t i, char *name)
{
    snprintf(name, 32, "t%u%cx", i, i % 2 == 0 ? '.' : '_');
}

static void
same_as_model(struct topic_store *store, const struct model_topic *model)
{
    uint32_t live = 0;
    char name[32];

    for (uint32_t i = 0; i < MODEL_TOPICS; i++) {
        uint8_t id[16];
        memset(id, (int)i + 1, sizeof(id));
        name_of(i, name);
        const struct topic *topic = topic_store_find(store, text(name));
        cr_assert_eq(topic != NULL, model[i].live);
        cr_assert_eq(topic_store_find_id(store, id), topic);
        if (topic == NULL)
            continue;
        live++;
        cr_assert_eq(topic->partition_count, model[i].count);
        cr_assert_eq(topic_config_number(&topic->config, NULL, TOPIC_CONFIG_RETENTION_MS),
                     model[i].retention);
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            uint32_t place = topic_store_partition(store, topic, p);
            cr_assert_neq(place, TOPIC_NONE);
            cr_assert_eq(store->partitions[place].incarnation, model[i].incarnations[p]);
        }
        cr_assert_eq(topic_store_partition(store, topic, topic->partition_count), TOPIC_NONE);
    }
    cr_assert_eq(store->topic_count, live);
    for (const struct topic *t = topic_store_next(store, 0); t;
         t = topic_store_next(store, t->idx + 1))
        live--;
    cr_assert_eq(live, 0u, "iteration sees each live topic once");
}

static void
random_step(struct topic_store *store, struct model_topic *model, struct history *history)
{
    uint32_t i = (uint32_t)(next_random(history) % MODEL_TOPICS);
    struct topic_record record = about(TOPIC_RECORD_DELETED, (uint8_t)(i + 1));
    uint32_t added = 1 + (uint32_t)(next_random(history) % 5);
    uint32_t first = model[i].live ? model[i].count : 0;
    uint64_t incarnation = store->next_incarnation + next_random(history) % 3;
    char name[32];

    name_of(i, name);
    if (!model[i].live) {
        record = created(name, (uint8_t)(i + 1), added, incarnation);
        model[i] = (struct model_topic){.live = true, .retention = 604800000};
    } else if (next_random(history) % 3 == 0) {
        record.kind = TOPIC_RECORD_CONFIG;
        model[i].retention = (int64_t)(next_random(history) % 1000);
        record.config.set = UINT64_C(1) << TOPIC_CONFIG_RETENTION_MS;
        record.config.values[TOPIC_CONFIG_RETENTION_MS] = model[i].retention;
        added = 0;
    } else if (next_random(history) % 2 == 0 && first + added <= 64) {
        record.kind = TOPIC_RECORD_PARTITIONS;
        record.first_partition = first;
        record.partition_count = added;
        record.first_incarnation = incarnation;
    } else {
        model[i] = (struct model_topic){0};
        added = 0;
    }
    for (uint32_t p = 0; p < added; p++)
        model[i].incarnations[first + p] = incarnation + p;
    model[i].count += added;
    cr_assert_eq(apply(store, &record), RC_OK);
    keep(history, &record);
}

Test(topic_store, replay_gives_the_same_state_as_the_history, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct topic_store *store = new_store(MODEL_TOPICS, 2000, seed);
        struct topic_store *replayed = new_store(MODEL_TOPICS, 2000, seed * 77);
        static struct model_topic model[MODEL_TOPICS];
        struct history history = {.bytes = malloc(600 * (size_t)TOPIC_RECORD_BYTES_MAX),
                                  .random = seed};
        memset(model, 0, sizeof(model));
        for (uint32_t step = 0; step < 600; step++) {
            random_step(store, model, &history);
            if (step % 50 == 0)
                same_as_model(store, model);
        }
        for (size_t at = 0; at < history.count;) {
            uint32_t count = get_u32_le(history.bytes + at);
            struct bytes value = {history.bytes + at + 4, count};
            cr_assert_eq(topic_store_apply(replayed, value, NULL), RC_OK, "seed %zu", (size_t)seed);
            at += 4 + count;
        }
        same_as_model(store, model);
        same_as_model(replayed, model);
        cr_assert_eq(store->next_incarnation, replayed->next_incarnation);
        free(history.bytes);
    }
}

/* ---- limits of client ids */

static struct topic_record
limits_of(const char *client_id, uint8_t set, double limit)
{
    struct topic_record record = {.kind = TOPIC_RECORD_QUOTA};

    record.quota.is_default = client_id == NULL;
    record.quota.set = set;
    if (client_id != NULL) {
        record.quota.name_count = (uint8_t)strlen(client_id);
        memcpy(record.quota.name, client_id, strlen(client_id));
    }
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++)
        record.quota.limits[kind] = limit;
    return record;
}

Test(topic_store, refuses_limits_that_are_none_and_one_entity_too_many, .timeout = 10)
{
    struct topic_store *store = new_store(4, 8, 1);
    const double bad[] = {0, -1, (double)NAN, (double)INFINITY, 1e19};
    char name[8];

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct topic_record record = limits_of("a", 1, bad[i]);
        cr_assert_eq(apply(store, &record), RC_INVALID, "%zu", i);
    }
    for (uint32_t i = 0; i < 8; i++) { /* quota_entities_max of new_store() */
        snprintf(name, sizeof(name), "c%u", i);
        struct topic_record record = limits_of(name, 1, 5);
        cr_assert_eq(apply(store, &record), RC_OK);
    }
    struct topic_record record = limits_of("more", 1, 5);
    cr_assert_eq(apply(store, &record), RC_LIMIT);
    cr_assert_eq(store->quotas.count, 8u);
    record = limits_of("c3", 0, 0);
    cr_assert_eq(apply(store, &record), RC_OK);
    cr_assert_null(quota_entities_find(&store->quotas, text("c3")));
}

Test(topic_record, keeps_limits_to_the_bit_and_refuses_every_cut, .timeout = 10)
{
    static const uint8_t golden[] = {7, 0,    0,    2, 0x61, 0x62, 5, 0, 0, 0,    0,   0,
                                     0, 0xf8, 0x3f, 0, 0,    0,    0, 0, 0, 0xf8, 0x3f};
    struct topic_record record = limits_of("ab", 1u << QUOTA_PRODUCE | 1u << QUOTA_REQUEST, 1.5);
    struct topic_record back;
    uint8_t bytes[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));

    topic_record_encode(&record, &writer);
    cr_assert_eq(writer_count(&writer), sizeof(golden));
    cr_assert_eq(memcmp(bytes, golden, sizeof(golden)), 0);
    cr_assert_eq(topic_record_decode((struct bytes){golden, sizeof(golden)}, &back, NULL), RC_OK);
    cr_assert_eq(back.quota.set, 5u);
    cr_assert_eq(back.quota.limits[QUOTA_REQUEST], 1.5);
    for (size_t count = 2; count < sizeof(golden); count++)
        cr_assert_eq(topic_record_decode((struct bytes){golden, count}, &back, NULL), RC_CORRUPT);
    bytes[6] = 9; /* a kind of limit that a newer release has */
    cr_assert_eq(topic_record_decode((struct bytes){bytes, sizeof(golden)}, &back, NULL),
                 RC_NEWER_FORMAT);
    bytes[2] = 2;
    cr_assert_eq(topic_record_decode((struct bytes){bytes, sizeof(golden)}, &back, NULL),
                 RC_CORRUPT);
}

/* ---- settings of the broker */

Test(topic_record, keeps_settings_of_the_broker_and_refuses_every_cut, .timeout = 10)
{
    struct topic_store *store = new_store(4, 8, 1);
    struct topic_record record = {.kind = TOPIC_RECORD_BROKER, .broker_id = 1};
    struct topic_record back;
    uint8_t bytes[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));

    cr_assert_eq(broker_config_set(&record.broker, text("log.retention.ms"), text("5"), NULL),
                 RC_OK);
    cr_assert_eq(broker_config_set(&record.broker, text("quota.window.num"), text("7"), NULL),
                 RC_OK);
    cr_assert_eq(broker_config_set(&record.broker, text("retention.ms"), text("5"), NULL),
                 RC_UNSUPPORTED);
    cr_assert_eq(broker_config_set(&record.broker, text("quota.window.num"), text("0"), NULL),
                 RC_INVALID);
    topic_record_encode(&record, &writer);
    size_t count = writer_count(&writer);
    cr_assert_eq(memcmp(bytes,
                        "\x08\x00\x01\x00\x00\x00\x02\x00\x10log.retention.ms\x01\x00"
                        "5",
                        28),
                 0);
    cr_assert_eq(topic_record_decode((struct bytes){bytes, count}, &back, NULL), RC_OK);
    cr_assert_eq(memcmp(&back.broker, &record.broker, sizeof(back.broker)), 0);
    for (size_t cut = 2; cut < count; cut++)
        cr_assert_eq(topic_record_decode((struct bytes){bytes, cut}, &back, NULL), RC_CORRUPT);
    cr_assert_eq(apply(store, &record), RC_OK);
    cr_assert_eq(store->broker_id, 1u);
    cr_assert_eq(store->broker.numbers[BROKER_CONFIG_QUOTA_WINDOW_NUM], 7);
    cr_assert_eq(store->brokers.topics.set, 0u);
    record.broker_id = TOPIC_RECORD_ALL_BROKERS;
    cr_assert_eq(apply(store, &record), RC_OK);
    cr_assert_eq(store->brokers.topics.values[TOPIC_CONFIG_RETENTION_MS], 5);
    bytes[9] = 'x'; /* a key of a newer release */
    cr_assert_eq(topic_record_decode((struct bytes){bytes, count}, &back, NULL), RC_NEWER_FORMAT);
}

Test(broker_config, has_every_key_once_and_each_keeps_its_text, .timeout = 10)
{
    char value[TOPIC_CONFIG_TEXT_MAX];
    uint32_t named = 0;

    for (uint32_t i = 0; i < BROKER_CONFIG_COUNT; i++) {
        struct broker_config_row row = broker_config_row(i);
        struct broker_config config = {0};
        if (row.key == NULL)
            continue;
        named++;
        cr_assert_eq(broker_config_find(text(row.key)), i, "%s", row.key);
        cr_assert_gt(strlen(row.sentence), 10u);
        size_t count = i < TOPIC_CONFIG_COUNT
                           ? topic_config_text(NULL, (enum topic_config_key)i, value)
                           : topic_config_format_number(row.max, value);
        cr_assert_eq(broker_config_set(
                         &config, text(row.key), (struct bytes){(uint8_t *)value, count}, NULL),
                     RC_OK,
                     "%s",
                     row.key);
        cr_assert(broker_config_has(&config, i));
        char again[TOPIC_CONFIG_TEXT_MAX];
        cr_assert_eq(broker_config_text(&config, i, again), count);
        cr_assert_str_eq(again, value);
        cr_assert_eq(broker_config_set(&config, text(row.key), (struct bytes){NULL, 0}, NULL),
                     RC_OK);
        cr_assert_eq(memcmp(&config, &(struct broker_config){0}, sizeof(config)), 0);
    }
    cr_assert_gt(named, 30u);
}
