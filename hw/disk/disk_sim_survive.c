/* What of a simulated file system outlives a power cut; the rules are in disk_sim_store.h. */
#include "hw/disk/disk_sim_store.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <stdlib.h>

static uint32_t
data_sectors(uint64_t position, uint64_t bytes)
{
    uint64_t first = position / SIM_SECTOR_BYTES;
    uint64_t end = (position + bytes + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
    return (uint32_t)(end - first);
}

static void
doubt_add(struct sim_doubt *doubts, uint32_t capacity, uint32_t *count, struct sim_doubt doubt)
{
    if (*count < capacity)
        doubts[*count] = doubt;
    ++*count;
}

uint32_t
sim_store_doubts(const struct sim_store *store, struct sim_doubt *doubts, uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->inode_count; i++) {
        const struct sim_inode *inode = &store->inodes[i];
        for (uint32_t c = 0; c < inode->change_count; c++) {
            const struct sim_change *change = &inode->changes[c];
            if (change->durable)
                continue;
            struct sim_doubt doubt = {.kind = SIM_DOUBT_CHANGE, .inode = i, .idx = c};
            if (change->kind == SIM_WRITE_END)
                doubt.sectors = data_sectors(change->position, change->bytes);
            doubt_add(doubts, capacity, &count, doubt);
        }
    }
    for (uint32_t i = 0; i < store->name_change_count; i++) {
        if (!store->name_changes[i].durable)
            doubt_add(
                doubts, capacity, &count, (struct sim_doubt){.kind = SIM_DOUBT_NAME, .idx = i});
    }
    for (uint32_t i = 0; i < store->flight_count; i++) {
        const struct sim_flight *flight = &store->flights[i];
        doubt_add(
            doubts,
            capacity,
            &count,
            (struct sim_doubt){.kind = SIM_DOUBT_FLIGHT,
                               .inode = flight->inode,
                               .idx = i,
                               .sectors = data_sectors(flight->position, flight->blob->count)});
    }
    return count;
}

static bool
sector_survives(const struct sim_doubt *doubt, uint32_t sector)
{
    switch (doubt->fate) {
    case SIM_LOST:
        return false;
    case SIM_KEPT:
        return true;
    case SIM_TORN_PREFIX:
        return sector < doubt->cut;
    case SIM_TORN_SUFFIX:
        return sector + doubt->cut >= doubt->sectors;
    case SIM_TORN_SCATTERED:
        return (hash_xxh3(&sector, sizeof(sector), doubt->cut) & 1) != 0;
    }
    return false;
}

/* Stores the sectors of a write that survive. */
static void
data_survive(struct sim_image *image,
             const struct sim_doubt *doubt,
             uint64_t position,
             const uint8_t *from,
             uint64_t count)
{
    if (doubt->fate == SIM_KEPT) {
        sim_image_write(image, from, count, position);
        return;
    }
    for (uint32_t sector = 0; count > 0; sector++) {
        uint64_t part = min_u64(count, SIM_SECTOR_BYTES - position % SIM_SECTOR_BYTES);
        if (sector_survives(doubt, sector))
            sim_image_write(image, from, part, position);
        position += part;
        from += part;
        count -= part;
    }
}

static void
change_survive(struct sim_image *image,
               const struct sim_change *change,
               const struct sim_doubt *doubt)
{
    if (change->kind == SIM_WRITE_END && doubt != NULL)
        data_survive(image, doubt, change->position, change->blob->bytes, change->bytes);
    else if (doubt == NULL || doubt->fate != SIM_LOST)
        sim_store__change_apply(image, change);
}

/* One file's bytes: the base, its changes in order, then what was in flight. doubts: those of all
 * files. */
static void
inode_survive(const struct sim_store *store,
              uint32_t inode_idx,
              const struct sim_doubt *doubts,
              uint32_t count,
              struct sim_image *ret_image)
{
    const struct sim_inode *inode = &store->inodes[inode_idx];
    uint32_t next = 0;
    sim_image_clone(&inode->base, ret_image);
    for (uint32_t c = 0; c < inode->change_count; c++) {
        const struct sim_doubt *doubt = NULL;
        if (!inode->changes[c].durable) {
            while (next < count && (doubts[next].kind != SIM_DOUBT_CHANGE ||
                                    doubts[next].inode != inode_idx || doubts[next].idx != c))
                next++;
            CHECK(next < count);
            doubt = &doubts[next];
        }
        change_survive(ret_image, &inode->changes[c], doubt);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_doubt *doubt = &doubts[i];
        if (doubt->kind != SIM_DOUBT_FLIGHT || doubt->inode != inode_idx || doubt->fate == SIM_LOST)
            continue;
        const struct sim_flight *flight = &store->flights[doubt->idx];
        uint64_t end = flight->position + flight->blob->count;
        data_survive(ret_image, doubt, flight->position, flight->blob->bytes, flight->blob->count);
        ret_image->bytes = max_u64(ret_image->bytes, end);
    }
    sim_image_cut(ret_image, ret_image->bytes);
}

static void
names_survive(const struct sim_store *store,
              const struct sim_doubt *doubts,
              uint32_t count,
              struct sim_names *ret_names)
{
    uint32_t next = 0;
    sim_store__names_clone(&store->base, ret_names);
    for (uint32_t i = 0; i < store->name_change_count; i++) {
        const struct sim_name_change *change = &store->name_changes[i];
        if (!change->durable) {
            while (next < count && (doubts[next].kind != SIM_DOUBT_NAME || doubts[next].idx != i))
                next++;
            CHECK(next < count);
            if (doubts[next].fate == SIM_LOST)
                continue;
        }
        sim_store__names_apply(ret_names, change);
    }
}

/* Numbers the files that can be reached from the root, parents before children: numbers[old] = new,
 * SIM_NO_INODE when lost. */
static void
number_reachable(const struct sim_store *store,
                 const struct sim_names *names,
                 uint32_t *numbers,
                 struct sim_store *ret_store)
{
    for (uint32_t i = 0; i < store->inode_count; i++)
        numbers[i] = SIM_NO_INODE;
    numbers[SIM_ROOT] = SIM_ROOT;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < names->count; i++) {
            const struct sim_name *entry = &names->entries[i];
            if (numbers[entry->dir] == SIM_NO_INODE || numbers[entry->inode] != SIM_NO_INODE)
                continue;
            numbers[entry->inode] = sim_store__add_inode(ret_store,
                                                         store->inodes[entry->inode].is_directory);
            moved = true;
        }
    }
}

void
sim_store_survive(const struct sim_store *store,
                  const struct sim_doubt *doubts,
                  uint32_t count,
                  struct sim_store *ret_store)
{
    struct sim_names names;
    uint32_t *numbers = calloc(store->inode_count, sizeof(uint32_t));
    CHECK(numbers != NULL);
    sim_store_init(ret_store);
    names_survive(store, doubts, count, &names);
    number_reachable(store, &names, numbers, ret_store);

    for (uint32_t i = 0; i < store->inode_count; i++) {
        if (i == SIM_ROOT || numbers[i] == SIM_NO_INODE)
            continue;
        struct sim_inode *inode = &ret_store->inodes[numbers[i]];
        inode_survive(store, i, doubts, count, &inode->base);
        sim_image_clone(&inode->base, &inode->live);
    }
    for (uint32_t i = 0; i < names.count; i++) {
        const struct sim_name *entry = &names.entries[i];
        if (numbers[entry->dir] != SIM_NO_INODE)
            sim_store__names_set(
                &ret_store->base, numbers[entry->dir], entry->name, numbers[entry->inode]);
    }
    sim_store__names_clone(&ret_store->base, &ret_store->live);
    free(names.entries);
    free(numbers);
}
