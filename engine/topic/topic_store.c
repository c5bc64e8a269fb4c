/* Three chained hash tables over two arrays. Chains hold places, not pointers, so the state is the
 * same wherever the memory lies. Every change is first checked as a whole, then made: a refused
 * record leaves no trace. */
#include "engine/topic/topic_store.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/topic/topic_name.h"

#define TABLE_ALIGN 64u
#define QUOTAS_PRESET 1024u

static uint32_t
bucket_count(uint32_t entries)
{
    uint32_t count = 16;

    while (count < entries && count < (1u << 30))
        count *= 2;
    return count;
}

static uint32_t
quotas_max(const struct topic_store_config *config)
{
    return config->quota_entities_max == 0 ? QUOTAS_PRESET : config->quota_entities_max;
}

struct layout {
    size_t topics;
    size_t partitions;
    size_t by_name;
    size_t by_id;
    size_t by_partition;
    size_t quotas;
    size_t bytes;
};

static struct layout
layout_of(const struct topic_store_config *config)
{
    struct layout layout;
    size_t at = 0;

    layout.topics = at;
    at += round_up(sizeof(struct topic) * config->topics_max, TABLE_ALIGN);
    layout.partitions = at;
    at += round_up(sizeof(struct topic_partition) * config->partitions_max, TABLE_ALIGN);
    layout.by_name = at;
    at += sizeof(uint32_t) * bucket_count(config->topics_max);
    layout.by_id = at;
    at += sizeof(uint32_t) * bucket_count(config->topics_max);
    layout.by_partition = at;
    at += sizeof(uint32_t) * bucket_count(config->partitions_max);
    at = round_up(at, TABLE_ALIGN);
    layout.quotas = at;
    at += quota_entities_footprint(quotas_max(config));
    layout.bytes = at;
    return layout;
}

size_t
topic_store_footprint(const struct topic_store_config *config)
{
    return layout_of(config).bytes;
}

void
topic_store_init(struct topic_store *store, void *memory, const struct topic_store_config *config)
{
    struct layout layout = layout_of(config);
    uint8_t *base = memory;

    CHECK(config->topics_max > 0 && config->topics_max < TOPIC_NONE);
    CHECK(config->partitions_max > 0 && config->partitions_max < TOPIC_NONE);
    *store = (struct topic_store){
        .config = *config,
        .topics = (struct topic *)(void *)(base + layout.topics),
        .partitions = (struct topic_partition *)(void *)(base + layout.partitions),
        .by_name = (uint32_t *)(void *)(base + layout.by_name),
        .by_id = (uint32_t *)(void *)(base + layout.by_id),
        .by_partition = (uint32_t *)(void *)(base + layout.by_partition),
        .topic_buckets = bucket_count(config->topics_max),
        .partition_buckets = bucket_count(config->partitions_max),
        .topic_free = TOPIC_NONE,
        .partition_free = TOPIC_NONE,
        .next_incarnation = TOPIC_METADATA_INCARNATION + 1,
        .next_producer = TOPIC_PRODUCER_FIRST,
        .broker_id = TOPIC_RECORD_ALL_BROKERS,
    };
    quota_entities_init(
        &store->quotas, base + layout.quotas, quotas_max(config), config->hash_seed);
    memset(store->by_name, 0xff, sizeof(uint32_t) * store->topic_buckets);
    memset(store->by_id, 0xff, sizeof(uint32_t) * store->topic_buckets);
    memset(store->by_partition, 0xff, sizeof(uint32_t) * store->partition_buckets);
}

/* ---- indexes */

static uint32_t *
name_bucket(const struct topic_store *store, struct bytes name)
{
    uint64_t hash = topic_name_hash(name, store->config.hash_seed);

    return &store->by_name[hash & (store->topic_buckets - 1)];
}

static uint32_t *
id_bucket(const struct topic_store *store, const uint8_t *id)
{
    return &store->by_id[hash_xxh3(id, 16, store->config.hash_seed) & (store->topic_buckets - 1)];
}

static uint32_t *
partition_bucket(const struct topic_store *store, uint32_t topic_idx, uint32_t partition)
{
    uint32_t key[2] = {topic_idx, partition};
    uint64_t hash = hash_xxh3(key, sizeof(key), store->config.hash_seed);

    return &store->by_partition[hash & (store->partition_buckets - 1)];
}

static struct bytes
topic_name(const struct topic *topic)
{
    return (struct bytes){(const uint8_t *)topic->name, topic->name_count};
}

const struct topic *
topic_store_find_colliding(const struct topic_store *store, struct bytes name)
{
    if (name.at == NULL || name.count == 0 || name.count > TOPIC_NAME_MAX)
        return NULL;
    for (uint32_t i = *name_bucket(store, name); i != TOPIC_NONE;
         i = store->topics[i].next_by_name) {
        if (topic_name_collides(topic_name(&store->topics[i]), name))
            return &store->topics[i];
    }
    return NULL;
}

const struct topic *
topic_store_find(const struct topic_store *store, struct bytes name)
{
    /* Two live topics never collide, so the one that collides is the only candidate. */
    const struct topic *topic = topic_store_find_colliding(store, name);

    return topic != NULL && memcmp(topic->name, name.at, name.count) == 0 ? topic : NULL;
}

const struct topic *
topic_store_find_id(const struct topic_store *store, const uint8_t *id)
{
    for (uint32_t i = *id_bucket(store, id); i != TOPIC_NONE; i = store->topics[i].next_by_id) {
        if (memcmp(store->topics[i].id, id, 16) == 0)
            return &store->topics[i];
    }
    return NULL;
}

const struct topic *
topic_store_next(const struct topic_store *store, uint32_t from)
{
    for (uint32_t i = from; i < store->topics_touched; i++) {
        if (store->topics[i].live)
            return &store->topics[i];
    }
    return NULL;
}

uint32_t
topic_store_partition(const struct topic_store *store,
                      const struct topic *topic,
                      uint32_t partition)
{
    uint32_t i = *partition_bucket(store, topic->idx, partition);

    while (i != TOPIC_NONE && (store->partitions[i].topic_idx != topic->idx ||
                               store->partitions[i].partition != partition))
        i = store->partitions[i].next;
    return i;
}

/* ---- checks */

static enum rc
refuse(enum rc rc, struct diag_trail *trail, const char *why)
{
    diag_trail_add(trail, "%s", why);
    return rc;
}

static enum rc
check_partitions(const struct topic_store *store,
                 const struct topic_record *record,
                 struct diag_trail *trail)
{
    uint64_t incarnation_end;

    if (record->partition_count == 0)
        return refuse(RC_INVALID, trail, "no partitions");
    if (record->partition_count > store->config.partitions_max - store->partition_count)
        return refuse(RC_LIMIT, trail, "partitions_max is reached");
    if (record->first_incarnation < store->next_incarnation ||
        __builtin_add_overflow(
            record->first_incarnation, (uint64_t)record->partition_count, &incarnation_end))
        return refuse(RC_INVALID, trail, "incarnations were used before");
    return RC_OK;
}

static enum rc
check_created(const struct topic_store *store,
              const struct topic_record *record,
              struct diag_trail *trail)
{
    static const uint8_t no_id[16];
    struct bytes name = {(const uint8_t *)record->name, record->name_count};

    if (!topic_name_is_valid(name))
        return refuse(RC_INVALID, trail, "topic name is not allowed");
    if (memcmp(record->id, no_id, sizeof(no_id)) == 0 || record->first_partition != 0)
        return refuse(RC_INVALID, trail, "topic id or first partition is not allowed");
    if (topic_store_find_colliding(store, name) != NULL ||
        topic_store_find_id(store, record->id) != NULL)
        return refuse(RC_EXISTS, trail, "topic name or id is in use");
    if (store->topic_count == store->config.topics_max)
        return refuse(RC_LIMIT, trail, "topics_max is reached");
    return check_partitions(store, record, trail);
}

static enum rc
check_quota(const struct topic_store *store,
            const struct quota_entity *quota,
            struct diag_trail *trail)
{
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        bool is_set = (quota->set >> kind & 1) != 0;
        /* Written so that a number that is none is refused, too. */
        if (is_set && !(quota->limits[kind] > 0 && quota->limits[kind] <= (double)INT64_MAX))
            return refuse(RC_INVALID, trail, "a limit is not a positive number");
    }
    if (quota_entities_check(&store->quotas, quota) != RC_OK)
        return refuse(RC_LIMIT, trail, "quota.entities_max is reached");
    return RC_OK;
}

enum rc
topic_store_check(const struct topic_store *store,
                  const struct topic_record *record,
                  struct diag_trail *trail)
{
    const struct topic *topic;

    switch (record->kind) {
    case TOPIC_RECORD_CLUSTER:
        return store->has_cluster ? refuse(RC_EXISTS, trail, "cluster id is set") : RC_OK;
    case TOPIC_RECORD_PRODUCERS:
        if (record->producer_count == 0 || record->first_producer < store->next_producer ||
            record->first_producer > (uint64_t)INT64_MAX - record->producer_count)
            return refuse(RC_INVALID, trail, "producer ids were used before");
        return RC_OK;
    case TOPIC_RECORD_CREATED:
        return check_created(store, record, trail);
    case TOPIC_RECORD_QUOTA:
        return check_quota(store, &record->quota, trail);
    case TOPIC_RECORD_BROKER:
        return RC_OK;
    case TOPIC_RECORD_DELETED:
    case TOPIC_RECORD_CONFIG:
    case TOPIC_RECORD_PARTITIONS:
        break;
    }
    topic = topic_store_find_id(store, record->id);
    if (topic == NULL)
        return refuse(RC_NOT_FOUND, trail, "no topic of that id");
    if (record->kind != TOPIC_RECORD_PARTITIONS)
        return RC_OK;
    if (record->first_partition != topic->partition_count)
        return refuse(RC_INVALID, trail, "partitions do not follow the last one");
    return check_partitions(store, record, trail);
}

/* ---- changes */

/* Places given back come first; the rest of an array is not touched before it is needed, so an idle
 * broker does not pay for its limits in memory. The checks have made sure that there is room. */
static uint32_t
take_topic(struct topic_store *store)
{
    uint32_t idx = store->topic_free;

    if (idx != TOPIC_NONE) {
        store->topic_free = store->topics[idx].next_by_name;
        return idx;
    }
    CHECK(store->topics_touched < store->config.topics_max);
    return store->topics_touched++;
}

static uint32_t
take_partition(struct topic_store *store)
{
    uint32_t place = store->partition_free;

    if (place != TOPIC_NONE) {
        store->partition_free = store->partitions[place].next;
        return place;
    }
    CHECK(store->partitions_touched < store->config.partitions_max);
    return store->partitions_touched++;
}

static void
add_partitions(struct topic_store *store, struct topic *topic, const struct topic_record *record)
{
    for (uint32_t i = 0; i < record->partition_count; i++) {
        uint32_t place = take_partition(store);
        struct topic_partition *partition = &store->partitions[place];
        uint32_t *bucket = partition_bucket(store, topic->idx, record->first_partition + i);
        *partition = (struct topic_partition){
            .incarnation = record->first_incarnation + i,
            .topic_idx = topic->idx,
            .partition = record->first_partition + i,
            .next = *bucket,
        };
        *bucket = place;
    }
    topic->partition_count += record->partition_count;
    store->partition_count += record->partition_count;
    store->next_incarnation = record->first_incarnation + record->partition_count;
}

static void
remove_partition(struct topic_store *store, const struct topic *topic, uint32_t partition)
{
    uint32_t *link = partition_bucket(store, topic->idx, partition);
    uint32_t place = topic_store_partition(store, topic, partition);

    CHECK(place != TOPIC_NONE);
    while (*link != place)
        link = &store->partitions[*link].next;
    *link = store->partitions[place].next;
    store->partitions[place].incarnation = 0;
    store->partitions[place].next = store->partition_free;
    store->partition_free = place;
    store->partition_count--;
}

static void
create_topic(struct topic_store *store, const struct topic_record *record)
{
    uint32_t idx = take_topic(store);
    struct topic *topic = &store->topics[idx];
    struct bytes name = {(const uint8_t *)record->name, record->name_count};
    uint32_t *by_name = name_bucket(store, name);
    uint32_t *by_id = id_bucket(store, record->id);

    *topic = (struct topic){
        .idx = idx,
        .created_ms = record->wall_ms,
        .name_count = record->name_count,
        .config = record->config,
        .live = true,
        .next_by_name = *by_name,
        .next_by_id = *by_id,
    };
    bytes_copy(topic->id, sizeof(topic->id), record->id, sizeof(record->id));
    bytes_copy(topic->name, sizeof(topic->name) - 1, record->name, record->name_count);
    *by_name = idx;
    *by_id = idx;
    store->topic_count++;
    add_partitions(store, topic, record);
}

static void
delete_topic(struct topic_store *store, struct topic *topic)
{
    uint32_t *by_name = name_bucket(store, topic_name(topic));
    uint32_t *by_id = id_bucket(store, topic->id);

    for (uint32_t i = 0; i < topic->partition_count; i++)
        remove_partition(store, topic, i);
    while (*by_name != topic->idx)
        by_name = &store->topics[*by_name].next_by_name;
    *by_name = topic->next_by_name;
    while (*by_id != topic->idx)
        by_id = &store->topics[*by_id].next_by_id;
    *by_id = topic->next_by_id;
    topic->live = false;
    topic->next_by_name = store->topic_free;
    store->topic_free = topic->idx;
    store->topic_count--;
}

/* Settings of one broker are kept, of the one that was named last: there is one. */
static void
set_broker(struct topic_store *store, const struct topic_record *record)
{
    if (record->broker_id == TOPIC_RECORD_ALL_BROKERS) {
        store->brokers = record->broker;
        return;
    }
    store->broker_id = record->broker_id;
    store->broker = record->broker;
}

static void
change(struct topic_store *store, const struct topic_record *record)
{
    const struct topic *found = NULL;
    struct topic *topic = NULL;

    if (record->kind == TOPIC_RECORD_DELETED || record->kind == TOPIC_RECORD_CONFIG ||
        record->kind == TOPIC_RECORD_PARTITIONS) {
        found = topic_store_find_id(store, record->id);
        CHECK(found != NULL);
        topic = &store->topics[found->idx];
    }
    switch (record->kind) {
    case TOPIC_RECORD_CLUSTER:
        bytes_copy(store->cluster_id, sizeof(store->cluster_id), record->id, sizeof(record->id));
        store->has_cluster = true;
        break;
    case TOPIC_RECORD_PRODUCERS:
        store->next_producer = record->first_producer + record->producer_count;
        break;
    case TOPIC_RECORD_CREATED:
        create_topic(store, record);
        break;
    case TOPIC_RECORD_QUOTA:
        CHECK(quota_entities_apply(&store->quotas, &record->quota) == RC_OK);
        break;
    case TOPIC_RECORD_BROKER:
        set_broker(store, record);
        break;
    case TOPIC_RECORD_DELETED:
        delete_topic(store, topic);
        break;
    case TOPIC_RECORD_CONFIG:
        topic->config = record->config;
        break;
    case TOPIC_RECORD_PARTITIONS:
        add_partitions(store, topic, record);
        break;
    }
    store->applied_count++;
}

enum rc
topic_store_apply(struct topic_store *store, struct bytes value, struct diag_trail *trail)
{
    struct topic_record record;
    enum rc rc = topic_record_decode(value, &record, trail);

    if (rc == RC_OK)
        rc = topic_store_check(store, &record, trail);
    if (rc == RC_OK)
        change(store, &record);
    return rc;
}
