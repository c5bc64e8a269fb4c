/* See quota_table.h. Levels are doubles: at 1e9 bytes per second they are exact to a millionth of a
 * byte, and a limit of 0.01 % of a core is as good as one of 1,600 %. */
#include "net/gate/quota_table.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#define WINDOW_SECONDS 1u /* until control tells */
#define WINDOW_COUNT 11u

static uint32_t
bucket_count(uint32_t clients_max)
{
    uint32_t count = 16;

    while (count < clients_max)
        count *= 2;
    return count;
}

size_t
quota_table_footprint(const struct quota_table_config *config)
{
    return round_up(quota_entities_footprint(config->entities_max), 64) +
           round_up(sizeof(struct quota_slot) * ((uint64_t)config->clients_max + 1), 64) +
           round_up(sizeof(uint32_t) * (uint64_t)bucket_count(config->clients_max), 64);
}

void
quota_table_init(struct quota_table *table, void *memory, const struct quota_table_config *config)
{
    uint8_t *at = memory;

    CHECK(config->clients_max > 0);
    CHECK(config->clients_max <= 1u << 20);
    CHECK(config->share > 0);
    *table = (struct quota_table){
        .clients_max = config->clients_max,
        .bucket_count = bucket_count(config->clients_max),
        .newest = QUOTA_NONE,
        .oldest = QUOTA_NONE,
        .share = config->share,
        .burst_ns = WINDOW_SECONDS * NS_PER_S,
        .pause_max_ns = WINDOW_COUNT * WINDOW_SECONDS * NS_PER_S,
    };
    quota_entities_init(&table->entities, at, config->entities_max, config->seed);
    at += round_up(quota_entities_footprint(config->entities_max), 64);
    table->slots = (struct quota_slot *)(void *)at;
    at += round_up(sizeof(struct quota_slot) * ((uint64_t)config->clients_max + 1), 64);
    table->buckets = (uint32_t *)(void *)at;
    memset(table->buckets, 0xff, sizeof(uint32_t) * table->bucket_count);
    table->slots[table->clients_max] = (struct quota_slot){.next = QUOTA_NONE};
}

enum rc
quota_table_apply(struct quota_table *table, const struct quota_snapshot *snapshot)
{
    table->burst_ns = snapshot->burst_ns;
    table->pause_max_ns = snapshot->pause_max_ns;
    table->entities.version++; /* accounts are as large as the burst is long */
    return quota_entities_apply(&table->entities, &snapshot->entity);
}

/* ---- accounts */

static double
capacity(const struct quota_table *table, const struct quota_account *account)
{
    return account->limit * (double)table->burst_ns / (double)NS_PER_S;
}

static void
refill(const struct quota_table *table, struct quota_account *account, uint64_t now_ns)
{
    double full = capacity(table, account);

    if (now_ns > account->at_ns)
        account->level += account->limit * (double)(now_ns - account->at_ns) / (double)NS_PER_S;
    if (account->level > full)
        account->level = full;
    account->at_ns = max_u64(account->at_ns, now_ns);
}

/* Takes over limits that changed: debts stay, but are paid at the new speed; a new account is full.
 */
static void
take_limits(struct quota_table *table,
            struct quota_slot *slot,
            const struct quota_entity *own,
            uint64_t now_ns)
{
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        struct quota_account *account = &slot->accounts[kind];
        double limit = quota_entities_limit(&table->entities, own, (enum quota_kind)kind);
        if (kind == QUOTA_REQUEST)
            limit *= (double)NS_PER_S / 100;
        limit /= table->share;
        bool is_new = account->limit <= 0 || limit <= 0;
        if (!is_new)
            refill(table, account, now_ns);
        account->limit = limit;
        account->at_ns = now_ns;
        if (is_new)
            account->level = capacity(table, account);
    }
    slot->version = table->entities.version;
}

/* True when forgetting it changes nothing: nobody pauses for it and every account is full. */
static bool
is_idle(const struct quota_table *table, struct quota_slot *slot, uint64_t now_ns)
{
    bool idle = slot->muted == 0;

    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        refill(table, &slot->accounts[kind], now_ns);
        idle = idle && slot->accounts[kind].level >= capacity(table, &slot->accounts[kind]);
    }
    return idle;
}

/* ---- places */

static void
unlink_slot(struct quota_table *table, uint32_t idx)
{
    struct quota_slot *slot = &table->slots[idx];

    if (slot->newer == QUOTA_NONE)
        table->newest = slot->older;
    else
        table->slots[slot->newer].older = slot->older;
    if (slot->older == QUOTA_NONE)
        table->oldest = slot->newer;
    else
        table->slots[slot->older].newer = slot->newer;
}

static void
link_newest(struct quota_table *table, uint32_t idx)
{
    struct quota_slot *slot = &table->slots[idx];

    slot->newer = QUOTA_NONE;
    slot->older = table->newest;
    if (table->newest == QUOTA_NONE)
        table->oldest = idx;
    else
        table->slots[table->newest].newer = idx;
    table->newest = idx;
}

static void
leave_bucket(struct quota_table *table, uint32_t idx)
{
    uint32_t *link = &table->buckets[table->slots[idx].hash & (table->bucket_count - 1)];

    while (*link != idx)
        link = &table->slots[*link].next;
    *link = table->slots[idx].next;
}

/* A place for one more client; QUOTA_NONE: every one is in use. */
static uint32_t
take_place(struct quota_table *table, uint64_t now_ns)
{
    if (table->touched < table->clients_max)
        return table->touched++;
    uint32_t idx = table->oldest;
    if (!is_idle(table, &table->slots[idx], now_ns))
        return QUOTA_NONE;
    unlink_slot(table, idx);
    leave_bucket(table, idx);
    return idx;
}

static uint32_t
add_client(struct quota_table *table, uint64_t hash, uint64_t now_ns)
{
    uint32_t idx = take_place(table, now_ns);
    uint32_t *first = &table->buckets[hash & (table->bucket_count - 1)];

    if (idx == QUOTA_NONE)
        return idx;
    table->slots[idx] = (struct quota_slot){
        .hash = hash,
        .serial = ++table->serial,
        .next = *first,
    };
    *first = idx;
    link_newest(table, idx);
    return idx;
}

static uint32_t
find_client(const struct quota_table *table, uint64_t hash)
{
    uint32_t idx = table->buckets[hash & (table->bucket_count - 1)];

    while (idx != QUOTA_NONE && table->slots[idx].hash != hash)
        idx = table->slots[idx].next;
    return idx;
}

struct quota_client
quota_table_client(struct quota_table *table, struct bytes client_id, uint64_t now_ns)
{
    struct bytes id = {client_id.at == NULL ? (const uint8_t *)"" : client_id.at, client_id.count};
    const struct quota_entity *own = quota_entities_find(&table->entities, id);

    if (own == NULL && table->entities.fallback.set == 0)
        return QUOTA_CLIENT_NONE;
    uint64_t hash = hash_xxh3(id.at, id.count, table->entities.seed);
    uint32_t idx = find_client(table, hash);
    if (idx == QUOTA_NONE) {
        idx = add_client(table, hash, now_ns);
    } else if (idx != table->newest) {
        unlink_slot(table, idx);
        link_newest(table, idx);
    }
    if (idx == QUOTA_NONE) {
        idx = table->clients_max; /* the shared one */
        own = NULL;
        table->shared_count++;
    }
    struct quota_slot *slot = &table->slots[idx];
    if (slot->version != table->entities.version)
        take_limits(table, slot, own, now_ns);
    return (struct quota_client){.idx = idx, .serial = slot->serial};
}

struct quota_slot *
quota_table_slot(struct quota_table *table, struct quota_client client)
{
    if (client.idx == QUOTA_NONE)
        return NULL;
    struct quota_slot *slot = &table->slots[client.idx];
    return slot->serial == client.serial ? slot : NULL;
}

/* ---- use */

uint64_t
quota_table_charge(struct quota_table *table,
                   struct quota_client client,
                   enum quota_kind kind,
                   uint64_t amount,
                   uint64_t now_ns)
{
    struct quota_slot *slot = quota_table_slot(table, client);
    uint64_t most = kind == QUOTA_REQUEST ? table->pause_max_ns : QUOTA_PAUSE_MAX_NS;

    if (slot == NULL || slot->accounts[kind].limit <= 0)
        return 0;
    struct quota_account *account = &slot->accounts[kind];
    refill(table, account, now_ns);
    account->level -= (double)amount;
    if (account->level >= 0)
        return 0;
    double pause = -account->level / account->limit * (double)NS_PER_S;
    if (pause >= (double)most)
        return most;
    uint64_t whole = (uint64_t)pause;
    return (double)whole < pause || whole == 0 ? whole + 1 : whole;
}

uint64_t
quota_table_most(struct quota_table *table, struct quota_client client, enum quota_kind kind)
{
    const struct quota_slot *slot = quota_table_slot(table, client);

    if (slot == NULL || slot->accounts[kind].limit <= 0)
        return UINT64_MAX;
    double most = capacity(table, &slot->accounts[kind]);
    return most >= (double)INT64_MAX ? UINT64_MAX : max_u64((uint64_t)most, 1);
}
