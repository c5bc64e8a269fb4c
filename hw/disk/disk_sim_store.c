/* Files, names and their changes in a simulated file system; see the header. */
#include "hw/disk/disk_sim_store.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <stdlib.h>

struct sim_blob *
sim_blob_create(const void *buffer, uint64_t count)
{
    struct sim_blob *blob = malloc(sizeof(*blob) + count);
    CHECK(blob != NULL);
    blob->refs = 1;
    blob->count = count;
    if (buffer != NULL)
        bytes_copy(blob->bytes, count, buffer, count);
    return blob;
}

struct sim_blob *
sim_blob_share(struct sim_blob *blob)
{
    blob->refs++;
    return blob;
}

void
sim_blob_release(struct sim_blob *blob)
{
    if (blob != NULL && --blob->refs == 0)
        free(blob);
}

/* Room for one more item in a list; returns the (moved) list. */
static void *
list_grow(void *list, uint32_t count, uint32_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    void *grown = realloc(list, *capacity * item_bytes);
    CHECK(grown != NULL);
    return grown;
}

static void *
list_copy(const void *list, uint32_t count, size_t item_bytes)
{
    if (count == 0)
        return NULL;
    void *copy = malloc(count * item_bytes);
    CHECK(copy != NULL);
    bytes_copy(copy, count * item_bytes, list, count * item_bytes);
    return copy;
}

/* ---- names ---- */

static int
name_compare(const struct sim_name *entry, uint32_t dir, const char *name)
{
    if (entry->dir != dir)
        return entry->dir < dir ? -1 : 1;
    return strcmp(entry->name, name);
}

/* Index of the first entry that is not before (dir, name). */
static uint32_t
names_lower_bound(const struct sim_names *names, uint32_t dir, const char *name)
{
    uint32_t low = 0;
    uint32_t high = names->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (name_compare(&names->entries[middle], dir, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t
names_find(const struct sim_names *names, uint32_t dir, const char *name)
{
    uint32_t at = names_lower_bound(names, dir, name);
    if (at < names->count && name_compare(&names->entries[at], dir, name) == 0)
        return at;
    return UINT32_MAX;
}

/* Replaces an entry of the same name. */
void
sim_store__names_set(struct sim_names *names, uint32_t dir, const char *name, uint32_t inode)
{
    uint32_t at = names_lower_bound(names, dir, name);
    if (at == names->count || name_compare(&names->entries[at], dir, name) != 0) {
        names->entries = list_grow(
            names->entries, names->count, &names->capacity, sizeof(struct sim_name));
        memmove(&names->entries[at + 1],
                &names->entries[at],
                (names->count - at) * sizeof(struct sim_name));
        names->count++;
        names->entries[at] = (struct sim_name){.dir = dir};
        bytes_copy(names->entries[at].name, SIM_NAME_MAX, name, strlen(name) + 1);
    }
    names->entries[at].inode = inode;
}

/* Removes the entry if it is there and names this file. */
static void
names_remove(struct sim_names *names, uint32_t dir, const char *name, uint32_t inode)
{
    uint32_t at = names_find(names, dir, name);
    if (at == UINT32_MAX || names->entries[at].inode != inode)
        return;
    memmove(&names->entries[at],
            &names->entries[at + 1],
            (names->count - at - 1) * sizeof(struct sim_name));
    names->count--;
}

void
sim_store__names_apply(struct sim_names *names, const struct sim_name_change *change)
{
    switch (change->kind) {
    case SIM_CREATE:
        sim_store__names_set(names, change->dir, change->name, change->inode);
        return;
    case SIM_UNLINK:
        names_remove(names, change->dir, change->name, change->inode);
        return;
    default:
        CHECK(change->kind == SIM_RENAME);
        names_remove(names, change->dir, change->name, change->inode);
        sim_store__names_set(names, change->dir_to, change->name_to, change->inode);
        return;
    }
}

void
sim_store__names_clone(const struct sim_names *names, struct sim_names *ret_clone)
{
    ret_clone->entries = list_copy(names->entries, names->count, sizeof(struct sim_name));
    ret_clone->count = names->count;
    ret_clone->capacity = names->count;
}

/* ---- changes of one file ---- */

void
sim_store__change_apply(struct sim_image *image, const struct sim_change *change)
{
    switch (change->kind) {
    case SIM_WRITE_END:
        sim_image_write(image, change->blob->bytes, change->bytes, change->position);
        return;
    case SIM_GROW:
        image->bytes = max_u64(image->bytes, change->bytes);
        return;
    default:
        CHECK(change->kind == SIM_TRUNCATE);
        if (change->bytes < image->bytes)
            sim_image_cut(image, change->bytes);
        image->bytes = change->bytes;
        return;
    }
}

/* Moves the leading durable changes into the base image. */
static void
inode_fold(struct sim_inode *inode)
{
    uint32_t folded = 0;
    while (folded < inode->change_count && inode->changes[folded].durable) {
        sim_store__change_apply(&inode->base, &inode->changes[folded]);
        sim_blob_release(inode->changes[folded].blob);
        folded++;
    }
    inode->change_count -= folded;
    if (folded > 0 && inode->change_count > 0)
        memmove(inode->changes,
                inode->changes + folded,
                inode->change_count * sizeof(struct sim_change));
}

/* Applies a change to the live view and remembers it; takes the reference in change->blob. */
static void
inode_change(struct sim_store *store, uint32_t inode_idx, struct sim_change change)
{
    struct sim_inode *inode = &store->inodes[inode_idx];
    change.seq = ++store->seq;
    sim_store__change_apply(&inode->live, &change);
    inode->changes = list_grow(
        inode->changes, inode->change_count, &inode->change_capacity, sizeof(struct sim_change));
    inode->changes[inode->change_count++] = change;
}

static void
inode_sync(struct sim_inode *inode, uint64_t seq, bool failed)
{
    for (uint32_t i = 0; i < inode->change_count; i++) {
        struct sim_change *change = &inode->changes[i];
        if (change->seq > seq || change->durable || change->forsaken)
            continue;
        change->durable = !failed;
        change->forsaken = failed;
    }
    inode_fold(inode);
}

static void
inode_release(struct sim_inode *inode)
{
    for (uint32_t i = 0; i < inode->change_count; i++)
        sim_blob_release(inode->changes[i].blob);
    free(inode->changes);
    inode->changes = NULL;
    inode->change_count = 0;
    inode->change_capacity = 0;
    sim_image_fini(&inode->live);
    sim_image_fini(&inode->base);
}

uint32_t
sim_store__add_inode(struct sim_store *store, bool is_directory)
{
    store->inodes = list_grow(
        store->inodes, store->inode_count, &store->inode_capacity, sizeof(struct sim_inode));
    store->inodes[store->inode_count] = (struct sim_inode){.is_directory = is_directory};
    return store->inode_count++;
}

/* ---- names of the store ---- */

static bool
store_inode_is_named(const struct sim_store *store, uint32_t inode)
{
    for (uint32_t i = 0; i < store->live.count; i++) {
        if (store->live.entries[i].inode == inode)
            return true;
    }
    for (uint32_t i = 0; i < store->base.count; i++) {
        if (store->base.entries[i].inode == inode)
            return true;
    }
    for (uint32_t i = 0; i < store->name_change_count; i++) {
        if (store->name_changes[i].inode == inode)
            return true;
    }
    return false;
}

void
sim_store_forget(struct sim_store *store, uint32_t inode_idx)
{
    struct sim_inode *inode = &store->inodes[inode_idx];
    if (inode->gone || inode->opens > 0 || store_inode_is_named(store, inode_idx))
        return;
    for (uint32_t i = 0; i < store->flight_count; i++) {
        if (store->flights[i].inode == inode_idx)
            return;
    }
    inode_release(inode);
    inode->gone = true;
}

/* Moves the leading durable name changes into the base names; files that lost their last name by it
 * are forgotten. */
static void
store_fold_names(struct sim_store *store)
{
    uint32_t folded = 0;
    while (folded < store->name_change_count && store->name_changes[folded].durable)
        folded++;
    if (folded == 0)
        return;
    uint32_t *unnamed = calloc(folded, sizeof(uint32_t));
    CHECK(unnamed != NULL);
    for (uint32_t i = 0; i < folded; i++) {
        const struct sim_name_change *change = &store->name_changes[i];
        unnamed[i] = SIM_ROOT;
        if (change->kind == SIM_UNLINK)
            unnamed[i] = change->inode;
        if (change->kind == SIM_RENAME) {
            uint32_t at = names_find(&store->base, change->dir_to, change->name_to);
            if (at != UINT32_MAX)
                unnamed[i] = store->base.entries[at].inode;
        }
        sim_store__names_apply(&store->base, change);
    }
    store->name_change_count -= folded;
    memmove(store->name_changes,
            store->name_changes + folded,
            store->name_change_count * sizeof(struct sim_name_change));
    for (uint32_t i = 0; i < folded; i++) {
        if (unnamed[i] != SIM_ROOT)
            sim_store_forget(store, unnamed[i]);
    }
    free(unnamed);
}

static void
store_sync_names(struct sim_store *store, uint32_t dir, bool failed)
{
    for (uint32_t i = 0; i < store->name_change_count; i++) {
        struct sim_name_change *change = &store->name_changes[i];
        uint32_t home = change->kind == SIM_RENAME ? change->dir_to : change->dir;
        if ((dir != SIM_NO_INODE && home != dir) || change->durable || change->forsaken)
            continue;
        change->durable = !failed;
        change->forsaken = failed;
    }
    store_fold_names(store);
}

static void
store_change_name(struct sim_store *store, const struct sim_event *event, uint32_t inode)
{
    struct sim_name_change change = {
        .kind = event->kind,
        .dir = event->dir,
        .dir_to = event->dir_to,
        .inode = inode,
    };
    bytes_copy(change.name, SIM_NAME_MAX, event->name, SIM_NAME_MAX);
    bytes_copy(change.name_to, SIM_NAME_MAX, event->name_to, SIM_NAME_MAX);
    sim_store__names_apply(&store->live, &change);
    store->name_changes = list_grow(store->name_changes,
                                    store->name_change_count,
                                    &store->name_change_capacity,
                                    sizeof(change));
    store->name_changes[store->name_change_count++] = change;
}

/* ---- writes ---- */

static void
store_write_begin(struct sim_store *store, const struct sim_event *event)
{
    store->flights = list_grow(
        store->flights, store->flight_count, &store->flight_capacity, sizeof(struct sim_flight));
    store->flights[store->flight_count++] = (struct sim_flight){
        .op = event->op,
        .inode = event->inode,
        .dsync = event->dsync,
        .position = event->position,
        .blob = sim_blob_share(event->blob),
    };
}

/* O_DSYNC covers the write's own bytes and what of the size is needed to read them. */
static void
inode_sync_size(struct sim_inode *inode)
{
    for (uint32_t i = 0; i < inode->change_count; i++) {
        struct sim_change *change = &inode->changes[i];
        if (change->kind != SIM_WRITE_END && !change->forsaken)
            change->durable = true;
    }
}

static void
store_write_end(struct sim_store *store, const struct sim_event *event)
{
    uint32_t idx = 0;
    while (idx < store->flight_count && store->flights[idx].op != event->op)
        idx++;
    CHECK(idx < store->flight_count);
    struct sim_flight flight = store->flights[idx];
    memmove(&store->flights[idx],
            &store->flights[idx + 1],
            (store->flight_count - idx - 1) * sizeof(struct sim_flight));
    store->flight_count--;

    struct sim_inode *inode = &store->inodes[flight.inode];
    bool durable = flight.dsync && !event->failed;
    CHECK(event->bytes <= flight.blob->count);
    if (event->bytes > 0) {
        if (flight.position + event->bytes > inode->live.bytes)
            inode_change(
                store,
                flight.inode,
                (struct sim_change){.kind = SIM_GROW, .bytes = flight.position + event->bytes});
        inode_change(store,
                     flight.inode,
                     (struct sim_change){.kind = SIM_WRITE_END,
                                         .durable = durable,
                                         .position = flight.position,
                                         .bytes = event->bytes,
                                         .blob = sim_blob_share(flight.blob)});
        if (durable)
            inode_sync_size(inode);
        inode_fold(inode);
    }
    sim_blob_release(flight.blob);
}

static void
store_sync_all(struct sim_store *store, const struct sim_event *event)
{
    for (uint32_t i = 0; i < store->inode_count; i++)
        inode_sync(&store->inodes[i], event->position, event->failed);
    store_sync_names(store, SIM_NO_INODE, event->failed);
}

void
sim_store_apply(struct sim_store *store, const struct sim_event *event)
{
    uint32_t inode = event->inode;
    switch (event->kind) {
    case SIM_CREATE:
        CHECK(sim_store_find(store, event->dir, event->name) == SIM_NO_INODE);
        CHECK(sim_store__add_inode(store, event->is_directory) == inode);
        store_change_name(store, event, inode);
        return;
    case SIM_UNLINK:
    case SIM_RENAME:
        inode = sim_store_find(store, event->dir, event->name);
        CHECK(inode != SIM_NO_INODE);
        store_change_name(store, event, inode);
        return;
    case SIM_WRITE_BEGIN:
        store_write_begin(store, event);
        return;
    case SIM_WRITE_END:
        store_write_end(store, event);
        return;
    case SIM_GROW:
    case SIM_TRUNCATE:
        inode_change(store, inode, (struct sim_change){.kind = event->kind, .bytes = event->bytes});
        return;
    case SIM_SYNC:
        inode_sync(&store->inodes[inode], event->position, event->failed);
        return;
    case SIM_SYNC_DIRECTORY:
        store_sync_names(store, inode, event->failed);
        return;
    case SIM_SYNC_ALL:
        store_sync_all(store, event);
        return;
    }
    CHECK(!"unknown event");
}

/* ---- life ---- */

void
sim_store_init(struct sim_store *store)
{
    *store = (struct sim_store){0};
    CHECK(sim_store__add_inode(store, true) == SIM_ROOT);
}

void
sim_store_fini(struct sim_store *store)
{
    for (uint32_t i = 0; i < store->inode_count; i++)
        inode_release(&store->inodes[i]);
    for (uint32_t i = 0; i < store->flight_count; i++)
        sim_blob_release(store->flights[i].blob);
    free(store->inodes);
    free(store->live.entries);
    free(store->base.entries);
    free(store->name_changes);
    free(store->flights);
    *store = (struct sim_store){0};
}

void
sim_store_clone(const struct sim_store *store, struct sim_store *ret_clone)
{
    *ret_clone = (struct sim_store){
        .seq = store->seq,
        .inode_count = store->inode_count,
        .inode_capacity = store->inode_count,
        .name_change_count = store->name_change_count,
        .name_change_capacity = store->name_change_count,
        .flight_count = store->flight_count,
        .flight_capacity = store->flight_count,
    };
    ret_clone->inodes = list_copy(store->inodes, store->inode_count, sizeof(struct sim_inode));
    for (uint32_t i = 0; i < store->inode_count; i++) {
        const struct sim_inode *from = &store->inodes[i];
        struct sim_inode *to = &ret_clone->inodes[i];
        sim_image_clone(&from->live, &to->live);
        sim_image_clone(&from->base, &to->base);
        to->changes = list_copy(from->changes, from->change_count, sizeof(struct sim_change));
        to->change_capacity = from->change_count;
        for (uint32_t c = 0; c < to->change_count; c++) {
            if (to->changes[c].blob != NULL)
                sim_blob_share(to->changes[c].blob);
        }
    }
    sim_store__names_clone(&store->live, &ret_clone->live);
    sim_store__names_clone(&store->base, &ret_clone->base);
    ret_clone->name_changes = list_copy(
        store->name_changes, store->name_change_count, sizeof(struct sim_name_change));
    ret_clone->flights = list_copy(store->flights, store->flight_count, sizeof(struct sim_flight));
    for (uint32_t i = 0; i < store->flight_count; i++)
        sim_blob_share(ret_clone->flights[i].blob);
}

/* ---- questions ---- */

uint32_t
sim_store_find(const struct sim_store *store, uint32_t dir, const char *name)
{
    uint32_t at = names_find(&store->live, dir, name);
    return at == UINT32_MAX ? SIM_NO_INODE : store->live.entries[at].inode;
}

uint32_t
sim_store_first(const struct sim_store *store, uint32_t dir)
{
    return names_lower_bound(&store->live, dir, "");
}

const struct sim_flight *
sim_store_flight(const struct sim_store *store, uint64_t op)
{
    for (uint32_t i = 0; i < store->flight_count; i++) {
        if (store->flights[i].op == op)
            return &store->flights[i];
    }
    return NULL;
}

uint64_t
sim_store_used_bytes(const struct sim_store *store)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < store->live.count; i++) {
        const struct sim_inode *inode = &store->inodes[store->live.entries[i].inode];
        used += SIM_PAGE_BYTES + round_up(inode->live.bytes, SIM_PAGE_BYTES);
    }
    return used;
}

/* The hash is a sum over names, each with its directory's own, so file numbers and their order do
 * not matter. Directories are at most a few levels deep: parents are settled in rounds. */
uint64_t
sim_store_hash(const struct sim_store *store)
{
    uint64_t *paths = calloc(store->inode_count, sizeof(uint64_t)); /* 0: not settled */
    CHECK(paths != NULL);
    paths[SIM_ROOT] = 1;
    uint64_t sum = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < store->live.count; i++) {
            const struct sim_name *entry = &store->live.entries[i];
            if (paths[entry->dir] == 0 || paths[entry->inode] != 0)
                continue;
            uint64_t path = hash_xxh3(entry->name, strlen(entry->name), paths[entry->dir]) | 1;
            paths[entry->inode] = path;
            sum += sim_image_hash(&store->inodes[entry->inode].live, path);
            moved = true;
        }
    }
    free(paths);
    return sum;
}
