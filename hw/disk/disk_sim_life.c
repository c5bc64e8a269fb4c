/* Birth, crash and inspection of the virtual disk; see disk_sim.h. */
#include "hw/disk/disk_sim_inner.h"

#include "engine/base/check.h"

#include <stdlib.h>

void
disk_sim__record_fini(struct disk_sim_record *record)
{
    for (uint32_t i = 0; i < record->count; i++)
        sim_blob_release(record->events[i].blob);
    free(record->events);
    if (record->on)
        sim_store_fini(&record->start);
    *record = (struct disk_sim_record){0};
}

struct disk *
disk_sim__from_store(const struct disk_sim_config *config, struct sim_store *store)
{
    struct disk_sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim != NULL);
    sim->disk.ops = &disk_sim__ops;
    sim->trace = config->trace;
    sim->store = *store;
    sim_rng_seed(&sim->rng, config->seed, 0x6469736b);
    disk_sim__device_init(sim);
    return &sim->disk;
}

enum rc
disk_sim_create(const struct disk_sim_config *config, struct disk **ret_disk)
{
    struct sim_store store;
    sim_store_init(&store);
    *ret_disk = disk_sim__from_store(config, &store);
    return RC_OK;
}

struct disk *
disk_sim_clone(struct disk *disk, const struct disk_sim_config *config)
{
    struct sim_store store;
    sim_store_clone(&disk_sim_of(disk)->store, &store);
    for (uint32_t i = 0; i < store.inode_count; i++)
        store.inodes[i].opens = 0;
    struct disk *clone = disk_sim__from_store(config, &store);
    disk_sim_of(clone)->write_next = disk_sim_of(disk)->write_next;
    return clone;
}

void
disk_sim_close_all(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    for (uint32_t i = 0; i < DISK_SIM_DESCRIPTORS_MAX; i++) {
        if (sim->files[i].open)
            disk_close(disk, DISK_SIM_FD_FIRST + (int)i);
    }
}

static enum sim_fate
crash_fate(struct sim_rng *rng, uint32_t mood, uint32_t sectors)
{
    if (mood == 0)
        return SIM_LOST;
    if (mood == 1)
        return SIM_KEPT;
    uint64_t draw = sim_rng_below(rng, sectors > 1 ? 6 : 2);
    if (draw < 2)
        return draw == 0 ? SIM_LOST : SIM_KEPT;
    return draw == 2 ? SIM_TORN_SUFFIX : draw == 3 ? SIM_TORN_SCATTERED : SIM_TORN_PREFIX;
}

void
disk_sim_crash(struct disk *disk, struct sim_rng *rng)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint32_t count = sim_store_doubts(&sim->store, NULL, 0);
    struct sim_doubt *doubts = calloc(count + 1, sizeof(*doubts));
    CHECK(doubts != NULL);
    CHECK(sim_store_doubts(&sim->store, doubts, count) == count);
    uint32_t mood = (uint32_t)sim_rng_below(rng, 8); /* 0: all lost, 1: all kept, else mixed */
    for (uint32_t i = 0; i < count; i++) {
        doubts[i].fate = crash_fate(rng, mood, doubts[i].sectors);
        doubts[i].cut = doubts[i].fate == SIM_TORN_SCATTERED ? sim_rng_next(rng)
                        : doubts[i].sectors > 1 ? sim_rng_between(rng, 1, doubts[i].sectors - 1)
                                                : 0;
        sim_trace_add(sim->trace, "disk_crash", i, (uint64_t)doubts[i].fate, doubts[i].cut);
    }
    struct sim_store after;
    sim_store_survive(&sim->store, doubts, count, &after);
    free(doubts);
    disk_sim__record_fini(&sim->record);
    sim_store_fini(&sim->store);
    sim->store = after;
    sim->epoch++;
    for (uint32_t i = 0; i < DISK_SIM_DESCRIPTORS_MAX; i++)
        sim->files[i].open = false;
}

/* ---- for tests ---- */

bool
disk_sim_flip_bit(struct disk *disk, const char *path, uint64_t position, uint32_t bit)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint32_t inode;
    uint8_t byte;
    if (disk_sim__find(sim, path, &inode) != RC_OK ||
        position >= sim->store.inodes[inode].live.bytes)
        return false;
    sim_image_read(&sim->store.inodes[inode].live, &byte, 1, position);
    byte = (uint8_t)(byte ^ (1u << (bit & 7)));
    struct sim_event event = {
        .kind = SIM_WRITE_BEGIN,
        .op = sim->write_next++,
        .inode = inode,
        .position = position,
        .dsync = true,
        .blob = sim_blob_create(&byte, 1),
    };
    disk_sim__happen(sim, &event);
    sim_blob_release(event.blob);
    event.blob = NULL;
    event.kind = SIM_WRITE_END;
    event.bytes = 1;
    disk_sim__happen(sim, &event);
    return true;
}

uint64_t
disk_sim_hash(struct disk *disk)
{
    return sim_store_hash(&disk_sim_of(disk)->store);
}

uint32_t
disk_sim_doubts(struct disk *disk)
{
    return sim_store_doubts(&disk_sim_of(disk)->store, NULL, 0);
}

uint64_t
disk_sim_used_bytes(struct disk *disk)
{
    return sim_store_used_bytes(&disk_sim_of(disk)->store);
}

uint32_t
disk_sim_open_descriptors(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint32_t count = 0;
    for (uint32_t i = 0; i < DISK_SIM_DESCRIPTORS_MAX; i++)
        count += sim->files[i].open;
    return count;
}

void
disk_sim_trace_start(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    disk_sim__record_fini(&sim->record);
    sim_store_clone(&sim->store, &sim->record.start);
    sim->record.on = true;
}

void
disk_sim_trace_stop(struct disk *disk)
{
    disk_sim__record_fini(&disk_sim_of(disk)->record);
}

uint64_t
disk_sim_trace_count(struct disk *disk)
{
    return disk_sim_of(disk)->record.count;
}
