/* What a simulated file system knows: files as running programs see them, and what of it would
 * survive a power cut.
 *
 * Everything that happens is one struct sim_event, applied in order by sim_store_apply(); the store
 * of a recorded trace can therefore be built again, event by event, and cut anywhere. Per file the
 * store keeps two images: `live` (what a read gives) and `base` (what is durable for certain), and
 * between them the list of changes in order. A sync marks changes durable; a change is folded into
 * `base` once it and all before it are durable. Names work the same way: creates, renames and
 * unlinks are changes of directories, made durable by a sync of the directory. A write that was
 * submitted and has not ended is `in flight`.
 *
 *   event        kept or lost at a crash unless made durable by
 *   WRITE        each write alone, torn between sectors too     SYNC of the file, or its own end
 * when dsync GROW         each alone                                     SYNC of the file, or a
 * later dsync write TRUNCATE     each alone                                     SYNC of the file
 *   CREATE, RENAME, UNLINK   each alone                         SYNC_DIRECTORY of the (target)
 * directory all of them                                                 SYNC_ALL
 *
 * A failed sync forsakes the changes it should have covered: they stay visible, later syncs do not
 * cover them, and a crash keeps or loses each (what Linux file systems do after a failed flush: the
 * pages are marked clean).
 *
 * One thread. Allocates; a store is a test double. Limits: SIM_NAME_MAX, 32-bit file numbers. */
#ifndef EAGRE_HW_DISK_DISK_SIM_STORE_H
#define EAGRE_HW_DISK_DISK_SIM_STORE_H

#include "hw/disk/disk_sim_image.h"

#define SIM_SECTOR_BYTES 512u
#define SIM_NAME_MAX 80u /* with the NUL */
#define SIM_ROOT 0u      /* file number of the root directory */
#define SIM_NO_INODE UINT32_MAX

/* Written bytes, shared by the trace, the list of changes and requests under way. */
struct sim_blob {
    uint32_t refs;
    uint64_t count;
    uint8_t bytes[];
};
/* buffer NULL: the caller fills bytes. */
struct sim_blob *sim_blob_create(const void *buffer, uint64_t count);
struct sim_blob *sim_blob_share(struct sim_blob *blob);
void sim_blob_release(struct sim_blob *blob); /* NULL is allowed */

enum sim_event_kind {
    SIM_CREATE,      /* dir, name, inode (the next free number), is_directory */
    SIM_UNLINK,      /* dir, name; also of an empty directory */
    SIM_RENAME,      /* dir, name, dir_to, name_to */
    SIM_WRITE_BEGIN, /* op, inode, position, blob, dsync */
    SIM_WRITE_END,   /* op, bytes: how much took place, a prefix; failed: then nothing is durable by
                        it */
    SIM_GROW,        /* inode, bytes: the size is at least this from now on */
    SIM_TRUNCATE,    /* inode, bytes: the size is exactly this */
    SIM_SYNC,        /* inode, position: covers changes up to this sequence number; failed */
    SIM_SYNC_DIRECTORY, /* inode; failed */
    SIM_SYNC_ALL,       /* position as SIM_SYNC; failed */
};

struct sim_event {
    enum sim_event_kind kind;
    bool dsync;
    bool failed;
    bool is_directory;
    uint32_t inode;
    uint32_t dir;
    uint32_t dir_to;
    uint64_t op;
    uint64_t position;
    uint64_t bytes;
    struct sim_blob *blob; /* borrowed by sim_store_apply() */
    char name[SIM_NAME_MAX];
    char name_to[SIM_NAME_MAX];
};

struct sim_change {
    enum sim_event_kind kind; /* WRITE_END (data), GROW, TRUNCATE */
    bool durable;
    bool forsaken;
    uint64_t seq;
    uint64_t position; /* of data */
    uint64_t bytes;    /* of data, or the size */
    struct sim_blob *blob;
};

struct sim_inode {
    bool is_directory;
    bool gone; /* no name and no change can bring it back */
    struct sim_image live;
    struct sim_image base;
    struct sim_change *changes; /* [change_count], in order of their end */
    uint32_t change_count;
    uint32_t change_capacity;
    uint32_t opens; /* descriptors; kept by the owner of the store */
};

struct sim_name {
    uint32_t dir;
    uint32_t inode;
    char name[SIM_NAME_MAX];
};

struct sim_names {
    struct sim_name *entries; /* [count], ordered by (dir, name) */
    uint32_t count;
    uint32_t capacity;
};

struct sim_name_change {
    enum sim_event_kind kind; /* CREATE, UNLINK, RENAME */
    bool durable;
    bool forsaken;
    uint32_t dir;
    uint32_t dir_to;
    uint32_t inode;
    char name[SIM_NAME_MAX];
    char name_to[SIM_NAME_MAX];
};

struct sim_flight {
    uint64_t op;
    uint32_t inode;
    bool dsync;
    uint64_t position;
    struct sim_blob *blob;
};

struct sim_store {
    uint64_t seq;             /* changes so far */
    struct sim_inode *inodes; /* [inode_count]; numbers are not used twice */
    uint32_t inode_count;
    uint32_t inode_capacity;
    struct sim_names live;
    struct sim_names base;
    struct sim_name_change *name_changes; /* [name_change_count], in order */
    uint32_t name_change_count;
    uint32_t name_change_capacity;
    struct sim_flight *flights; /* [flight_count], in order of their begin */
    uint32_t flight_count;
    uint32_t flight_capacity;
};

/* An empty, durable root directory. */
void sim_store_init(struct sim_store *store);
void sim_store_fini(struct sim_store *store);
/* *ret_clone is overwritten without being freed; opens and flights are kept. */
void sim_store_clone(const struct sim_store *store, struct sim_store *ret_clone);
/* The event must be possible (names exist or not, numbers known): checked. */
void sim_store_apply(struct sim_store *store, const struct sim_event *event);

/* Frees the bytes of a file that has no name, no descriptor and no change that could bring it back;
 * else nothing. */
void sim_store_forget(struct sim_store *store, uint32_t inode);

/* The file of that name in a directory, or SIM_NO_INODE. */
uint32_t sim_store_find(const struct sim_store *store, uint32_t dir, const char *name);
/* Index of the first live entry of a directory; entries of one directory stand together, in name
 * order. */
uint32_t sim_store_first(const struct sim_store *store, uint32_t dir);
/* The write in flight with that number, or NULL. */
const struct sim_flight *sim_store_flight(const struct sim_store *store, uint64_t op);
/* Bytes that live files take: sizes in whole pages, plus one page per name. */
uint64_t sim_store_used_bytes(const struct sim_store *store);
/* Of every name, size and page of the live view; file numbers do not count. */
uint64_t sim_store_hash(const struct sim_store *store);

/* ---- what a power cut may leave ---- */

enum sim_fate { SIM_LOST, SIM_KEPT, SIM_TORN_PREFIX, SIM_TORN_SUFFIX, SIM_TORN_SCATTERED };

/* One thing whose fate a crash decides. */
struct sim_doubt {
    enum { SIM_DOUBT_CHANGE, SIM_DOUBT_NAME, SIM_DOUBT_FLIGHT } kind;
    uint32_t inode;     /* of a change */
    uint32_t idx;       /* in its list */
    uint32_t sectors;   /* of data, 0 for anything else; [2, ...) can be torn */
    enum sim_fate fate; /* in, for sim_store_survive() */
    uint64_t cut;       /* in: sectors kept of a torn prefix or suffix; seed of a scattered one */
};

/* Lists what is in doubt, in order of happening per list; returns how many there are; fills the
 * first `capacity`. */
uint32_t
sim_store_doubts(const struct sim_store *store, struct sim_doubt *doubts, uint32_t capacity);
/* Builds what a start after the crash would find when each doubt (all of them, in the order given
 * by sim_store_doubts()) has the fate written in it: durable, with nothing open or pending.
 * *ret_store is overwritten without being freed. */
void sim_store_survive(const struct sim_store *store,
                       const struct sim_doubt *doubts,
                       uint32_t count,
                       struct sim_store *ret_store);

/* ---- of this folder only ---- */

uint32_t sim_store__add_inode(struct sim_store *store, bool is_directory);
void sim_store__change_apply(struct sim_image *image, const struct sim_change *change);
void sim_store__names_apply(struct sim_names *names, const struct sim_name_change *change);
/* Replaces an entry of the same name. */
void sim_store__names_set(struct sim_names *names, uint32_t dir, const char *name, uint32_t inode);
void sim_store__names_clone(const struct sim_names *names, struct sim_names *ret_clone);

#endif
