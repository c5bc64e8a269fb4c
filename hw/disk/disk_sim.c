/* The virtual disk as struct disk: names, sizes and blocking transfers; see disk_sim.h. */
#include "hw/disk/disk_sim_inner.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <errno.h>
#include <stdlib.h>

/* ---- events, descriptors ---- */

void
disk_sim__happen(struct disk_sim *sim, const struct sim_event *event)
{
    static const char *const kinds[] = {
        [SIM_CREATE] = "disk_create",
        [SIM_UNLINK] = "disk_unlink",
        [SIM_RENAME] = "disk_rename",
        [SIM_WRITE_BEGIN] = "disk_write_begin",
        [SIM_WRITE_END] = "disk_write_end",
        [SIM_GROW] = "disk_grow",
        [SIM_TRUNCATE] = "disk_truncate",
        [SIM_SYNC] = "disk_sync",
        [SIM_SYNC_DIRECTORY] = "disk_sync_directory",
        [SIM_SYNC_ALL] = "disk_sync_all",
    };
    struct disk_sim_record *record = &sim->record;
    if (record->on) {
        if (record->count == record->capacity) {
            record->capacity = record->capacity == 0 ? 64 : record->capacity * 2;
            record->events = realloc(record->events, record->capacity * sizeof(*record->events));
            CHECK(record->events != NULL);
        }
        record->events[record->count] = *event;
        if (event->blob != NULL)
            sim_blob_share(event->blob);
        record->count++;
    }
    sim_trace_add(sim->trace, kinds[event->kind], event->inode, event->position, event->bytes);
    sim_store_apply(&sim->store, event);
}

struct disk_sim_file *
disk_sim__file(struct disk_sim *sim, int fd)
{
    if (fd < DISK_SIM_FD_FIRST || fd >= DISK_SIM_FD_FIRST + (int)DISK_SIM_DESCRIPTORS_MAX)
        return NULL;
    struct disk_sim_file *file = &sim->files[fd - DISK_SIM_FD_FIRST];
    return file->open ? file : NULL;
}

void
disk_sim__inode_closed(struct disk_sim *sim, uint32_t inode)
{
    CHECK(sim->store.inodes[inode].opens > 0);
    sim->store.inodes[inode].opens--;
    sim_store_forget(&sim->store, inode);
}

int
disk_sim__transfer_error(const struct disk_sim_file *file,
                         bool write,
                         const void *buffer,
                         uint64_t count,
                         uint64_t position)
{
    if ((file->flags & (write ? DISK_WRITE : DISK_READ)) == 0)
        return EBADF;
    if (position > SIM_IMAGE_BYTES_MAX || count > SIM_IMAGE_BYTES_MAX - position)
        return EFBIG;
    if ((file->flags & DISK_DIRECT) == 0)
        return 0;
    bool aligned = (uintptr_t)buffer % DISK_ALIGN_BYTES == 0 && count % DISK_ALIGN_BYTES == 0 &&
                   position % DISK_ALIGN_BYTES == 0;
    return aligned ? 0 : EINVAL;
}

/* ---- paths ---- */

struct place {
    uint32_t dir;
    char name[SIM_NAME_MAX]; /* last part; "" for the root itself */
};

/* Finds the directory of a path; every part but the last must be a directory. */
static enum rc
place_find(const struct disk_sim *sim, const char *path, struct place *ret_place)
{
    *ret_place = (struct place){.dir = SIM_ROOT};
    if (strlen(path) >= DISK_PATH_MAX)
        return RC_INVALID;
    while (*path != '\0') {
        size_t count = strcspn(path, "/");
        if (count == 0 || count >= SIM_NAME_MAX || (count == 2 && path[0] == '.' && path[1] == '.'))
            return RC_INVALID;
        bytes_copy(ret_place->name, SIM_NAME_MAX, path, count);
        ret_place->name[count] = '\0';
        path += count;
        if (*path == '\0')
            break;
        path++;
        if (*path == '\0')
            return RC_INVALID;
        uint32_t inode = sim_store_find(&sim->store, ret_place->dir, ret_place->name);
        if (inode == SIM_NO_INODE || !sim->store.inodes[inode].is_directory)
            return RC_NOT_FOUND;
        ret_place->dir = inode;
    }
    return RC_OK;
}

/* Finds an existing file or directory. */
static enum rc
inode_find(const struct disk_sim *sim,
           const char *path,
           struct place *ret_place,
           uint32_t *ret_inode)
{
    enum rc rc = place_find(sim, path, ret_place);
    if (rc != RC_OK)
        return rc;
    *ret_inode = ret_place->name[0] == '\0'
                     ? SIM_ROOT
                     : sim_store_find(&sim->store, ret_place->dir, ret_place->name);
    return *ret_inode == SIM_NO_INODE ? RC_NOT_FOUND : RC_OK;
}

enum rc
disk_sim__find(const struct disk_sim *sim, const char *path, uint32_t *ret_inode)
{
    struct place place;
    return inode_find(sim, path, &place, ret_inode);
}

static enum rc
directory_find(const struct disk_sim *sim, const char *path, uint32_t *ret_inode)
{
    enum rc rc = disk_sim__find(sim, path, ret_inode);
    if (rc == RC_OK && !sim->store.inodes[*ret_inode].is_directory)
        return RC_INVALID;
    return rc;
}

static bool
directory_is_empty(const struct disk_sim *sim, uint32_t dir)
{
    uint32_t at = sim_store_first(&sim->store, dir);
    return at == sim->store.live.count || sim->store.live.entries[at].dir != dir;
}

/* Judges an operation of any class but transfers; RC_OK when it may take place. */
static enum rc
judge(struct disk_sim *sim, enum disk_sim_class class, const char *name)
{
    struct disk_sim_verdict verdict = disk_sim__judge(sim, class, name);
    return verdict.error == 0 ? RC_OK : rc_from_errno(verdict.error);
}

static enum rc
create_at(struct disk_sim *sim, const struct place *place, bool is_directory)
{
    enum rc rc = judge(sim, DISK_SIM_NAME, place->name);
    if (rc != RC_OK)
        return rc;
    if (!disk_sim__has_space(sim, SIM_PAGE_BYTES))
        return RC_NO_SPACE;
    struct sim_event event = {
        .kind = SIM_CREATE,
        .dir = place->dir,
        .inode = sim->store.inode_count,
        .is_directory = is_directory,
    };
    bytes_copy(event.name, SIM_NAME_MAX, place->name, SIM_NAME_MAX);
    disk_sim__happen(sim, &event);
    return RC_OK;
}

/* ---- struct disk_ops ---- */

static enum rc
sim_open(struct disk *disk, const char *path, uint32_t flags, int *ret_fd)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct place place;
    uint32_t limit = sim->faults.descriptors_max == 0 ? DISK_SIM_DESCRIPTORS_MAX
                                                      : sim->faults.descriptors_max;
    uint32_t slot = 0;
    while (slot < DISK_SIM_DESCRIPTORS_MAX && sim->files[slot].open)
        slot++;
    enum rc rc = place_find(sim, path, &place);
    if (rc != RC_OK)
        return rc;
    if (place.name[0] == '\0')
        return RC_INVALID;
    if (slot >= limit)
        return RC_NO_DESCRIPTORS;
    uint32_t inode = sim_store_find(&sim->store, place.dir, place.name);
    if ((flags & DISK_CREATE) != 0) {
        rc = inode != SIM_NO_INODE ? RC_EXISTS : create_at(sim, &place, false);
        inode = sim->store.inode_count - 1;
    } else {
        rc = inode == SIM_NO_INODE ? RC_NOT_FOUND : judge(sim, DISK_SIM_OPEN, place.name);
    }
    if (rc != RC_OK)
        return rc;
    if (sim->store.inodes[inode].is_directory)
        return RC_INVALID;

    struct disk_sim_file *file = &sim->files[slot];
    *file = (struct disk_sim_file){.open = true, .flags = flags, .inode = inode};
    bytes_copy(file->name, SIM_NAME_MAX, place.name, SIM_NAME_MAX);
    sim->store.inodes[inode].opens++;
    *ret_fd = DISK_SIM_FD_FIRST + (int)slot;
    return RC_OK;
}

static void
sim_close(struct disk *disk, int fd)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    CHECK(file != NULL); /* closing twice closes somebody else's file one day */
    file->open = false;
    disk_sim__inode_closed(sim, file->inode);
}

static enum rc
sim_read(
    struct disk *disk, int fd, void *buffer, size_t count, uint64_t position, size_t *ret_count)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    int error = file == NULL ? EBADF
                             : disk_sim__transfer_error(file, false, buffer, count, position);
    if (error != 0)
        return rc_from_errno(error);
    struct disk_sim_verdict verdict = disk_sim__judge(sim, DISK_SIM_READ, file->name);
    if (verdict.error != 0)
        return rc_from_errno(verdict.error);

    const struct sim_image *image = &sim->store.inodes[file->inode].live;
    size_t taken = 0;
    if (position < image->bytes)
        taken = (size_t)min_u64(count, image->bytes - position);
    sim_image_read(image, buffer, taken, position);
    if (verdict.flip && taken > 0) {
        uint64_t bit = sim_rng_below(&sim->rng, taken * 8);
        uint8_t *at = (uint8_t *)buffer + bit / 8;
        *at = (uint8_t)(*at ^ (1u << (bit % 8)));
    }
    *ret_count = taken;
    return RC_OK;
}

static enum rc
sim_write(struct disk *disk, int fd, const void *buffer, size_t count, uint64_t position)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    int error = file == NULL ? EBADF
                             : disk_sim__transfer_error(file, true, buffer, count, position);
    if (error != 0)
        return rc_from_errno(error);
    if (count == 0)
        return RC_OK;
    struct disk_sim_verdict verdict = disk_sim__judge(sim, DISK_SIM_WRITE, file->name);
    if (!disk_sim__has_space(sim, disk_sim__growth(sim, file->inode, position + count)))
        verdict.error = ENOSPC;
    if (verdict.error == 0 && verdict.lost)
        return RC_OK;

    struct sim_event event = {
        .kind = SIM_WRITE_BEGIN,
        .op = sim->write_next++,
        .inode = file->inode,
        .position = disk_sim__place(sim, file->inode, position, verdict.misdirect),
        .dsync = (file->flags & DISK_DSYNC) != 0,
        .blob = sim_blob_create(buffer, count),
    };
    disk_sim__happen(sim, &event);
    sim_blob_release(event.blob);
    event.blob = NULL;
    event.kind = SIM_WRITE_END;
    event.bytes = count;
    event.failed = verdict.error != 0;
    if (verdict.error == ENOSPC)
        event.bytes = 0;
    else if (verdict.error != 0)
        event.bytes = round_down(sim_rng_below(&sim->rng, count + 1), SIM_SECTOR_BYTES);
    disk_sim__happen(sim, &event);
    return verdict.error == 0 ? RC_OK : rc_from_errno(verdict.error);
}

static enum rc
sim_resize(struct disk *disk, int fd, uint64_t bytes, enum sim_event_kind kind)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    if (file == NULL || (file->flags & DISK_WRITE) == 0 || bytes > SIM_IMAGE_BYTES_MAX)
        return RC_INVALID;
    enum rc rc = judge(sim, kind == SIM_GROW ? DISK_SIM_SIZE : DISK_SIM_CUT, file->name);
    if (rc != RC_OK)
        return rc;
    if (!disk_sim__has_space(sim, disk_sim__growth(sim, file->inode, bytes)))
        return RC_NO_SPACE;
    if (kind == SIM_GROW && bytes <= sim->store.inodes[file->inode].live.bytes)
        return RC_OK;
    struct sim_event event = {.kind = kind, .inode = file->inode, .bytes = bytes};
    disk_sim__happen(sim, &event);
    return RC_OK;
}

static enum rc
sim_allocate(struct disk *disk, int fd, uint64_t position, uint64_t count)
{
    if (position > SIM_IMAGE_BYTES_MAX || count > SIM_IMAGE_BYTES_MAX)
        return RC_INVALID;
    return sim_resize(disk, fd, position + count, SIM_GROW);
}

static enum rc
sim_truncate(struct disk *disk, int fd, uint64_t size)
{
    return sim_resize(disk, fd, size, SIM_TRUNCATE);
}

static enum rc
sim_sync(struct disk *disk, int fd)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    if (file == NULL)
        return RC_INVALID;
    enum rc rc = judge(sim, DISK_SIM_SYNC, file->name);
    struct sim_event event = {
        .kind = SIM_SYNC,
        .inode = file->inode,
        .position = sim->store.seq,
        .failed = rc != RC_OK,
    };
    disk_sim__happen(sim, &event);
    return rc;
}

static enum rc
sim_sync_all(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    enum rc rc = judge(sim, DISK_SIM_SYNC, "");
    struct sim_event event = {
        .kind = SIM_SYNC_ALL,
        .position = sim->store.seq,
        .failed = rc != RC_OK,
    };
    disk_sim__happen(sim, &event);
    return rc;
}

static enum rc
sim_sync_directory(struct disk *disk, const char *path)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint32_t inode;
    enum rc rc = directory_find(sim, path, &inode);
    if (rc != RC_OK)
        return rc;
    rc = judge(sim, DISK_SIM_SYNC, path);
    struct sim_event event = {
        .kind = SIM_SYNC_DIRECTORY,
        .inode = inode,
        .failed = rc != RC_OK,
    };
    disk_sim__happen(sim, &event);
    return rc;
}

static enum rc
sim_size(struct disk *disk, int fd, uint64_t *ret_bytes)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct disk_sim_file *file = disk_sim__file(sim, fd);
    if (file == NULL)
        return RC_INVALID;
    *ret_bytes = sim->store.inodes[file->inode].live.bytes;
    return RC_OK;
}

static enum rc
sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct place source;
    struct place target;
    uint32_t inode;
    enum rc rc = inode_find(sim, from, &source, &inode);
    if (rc != RC_OK)
        return rc;
    rc = place_find(sim, to, &target);
    if (rc != RC_OK)
        return rc;
    if (inode == SIM_ROOT || target.name[0] == '\0')
        return RC_INVALID;
    uint32_t replaced = sim_store_find(&sim->store, target.dir, target.name);
    if (replaced == inode)
        return RC_OK;
    if (replaced != SIM_NO_INODE && sim->store.inodes[replaced].is_directory)
        return RC_EXISTS;
    rc = judge(sim, DISK_SIM_NAME, source.name);
    if (rc != RC_OK)
        return rc;
    struct sim_event event = {.kind = SIM_RENAME, .dir = source.dir, .dir_to = target.dir};
    bytes_copy(event.name, SIM_NAME_MAX, source.name, SIM_NAME_MAX);
    bytes_copy(event.name_to, SIM_NAME_MAX, target.name, SIM_NAME_MAX);
    disk_sim__happen(sim, &event);
    return RC_OK;
}

static enum rc
sim_remove(struct disk *disk, const char *path, bool is_directory)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct place place;
    uint32_t inode;
    enum rc rc = inode_find(sim, path, &place, &inode);
    if (rc != RC_OK)
        return rc;
    if (inode == SIM_ROOT || sim->store.inodes[inode].is_directory != is_directory)
        return RC_INVALID;
    if (is_directory && !directory_is_empty(sim, inode))
        return RC_EXISTS;
    rc = judge(sim, DISK_SIM_NAME, place.name);
    if (rc != RC_OK)
        return rc;
    struct sim_event event = {.kind = SIM_UNLINK, .dir = place.dir, .inode = inode};
    bytes_copy(event.name, SIM_NAME_MAX, place.name, SIM_NAME_MAX);
    disk_sim__happen(sim, &event);
    return RC_OK;
}

static enum rc
sim_unlink(struct disk *disk, const char *path)
{
    return sim_remove(disk, path, false);
}

static enum rc
sim_remove_directory(struct disk *disk, const char *path)
{
    return sim_remove(disk, path, true);
}

static enum rc
sim_make_directory(struct disk *disk, const char *path)
{
    struct disk_sim *sim = disk_sim_of(disk);
    struct place place;
    enum rc rc = place_find(sim, path, &place);
    if (rc != RC_OK)
        return rc;
    if (place.name[0] == '\0' || sim_store_find(&sim->store, place.dir, place.name) != SIM_NO_INODE)
        return RC_EXISTS;
    return create_at(sim, &place, true);
}

static enum rc
sim_list(struct disk *disk,
         const char *path,
         struct disk_entry *entries,
         size_t capacity,
         size_t *ret_count)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint32_t dir;
    enum rc rc = directory_find(sim, path, &dir);
    if (rc != RC_OK)
        return rc;
    size_t count = 0;
    const struct sim_names *names = &sim->store.live;
    for (uint32_t i = sim_store_first(&sim->store, dir); i < names->count; i++) {
        const struct sim_name *entry = &names->entries[i];
        if (entry->dir != dir)
            break;
        if (count < capacity) {
            const struct sim_inode *inode = &sim->store.inodes[entry->inode];
            entries[count] = (struct disk_entry){
                .is_directory = inode->is_directory,
                .bytes = inode->live.bytes,
            };
            bytes_copy(entries[count].name, DISK_PATH_MAX, entry->name, SIM_NAME_MAX);
        }
        count++;
    }
    *ret_count = count;
    return RC_OK;
}

static enum rc
sim_facts(struct disk *disk, struct disk_facts *ret_facts)
{
    struct disk_sim *sim = disk_sim_of(disk);
    uint64_t total = sim->faults.space_bytes == 0 ? 1024 * GIB : sim->faults.space_bytes;
    uint64_t used = sim_store_used_bytes(&sim->store);
    *ret_facts = (struct disk_facts){
        .filesystem = "sim",
        .write_cache = "write back",
        .block_bytes = SIM_SECTOR_BYTES,
        .direct = true,
        .free_bytes = used < total ? total - used : 0,
        .total_bytes = total,
    };
    return RC_OK;
}

static void
sim_fini(struct disk *disk)
{
    struct disk_sim *sim = disk_sim_of(disk);
    disk_sim__record_fini(&sim->record);
    sim_store_fini(&sim->store);
    free(sim);
}

const struct disk_ops disk_sim__ops = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .sync = sim_sync,
    .sync_all = sim_sync_all,
    .size = sim_size,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .make_directory = sim_make_directory,
    .remove_directory = sim_remove_directory,
    .sync_directory = sim_sync_directory,
    .list = sim_list,
    .facts = sim_facts,
    .fini = sim_fini,
};
