/* The struct of the virtual disk, shared by disk_sim.c (struct disk), disk_sim_device.c (the ring's
 * side), disk_sim_fault.c and disk_sim_walk.c; nobody else includes this. */
#ifndef EAGRE_HW_DISK_DISK_SIM_INNER_H
#define EAGRE_HW_DISK_DISK_SIM_INNER_H

#include "hw/disk/disk_sim.h"
#include "hw/disk/disk_sim_store.h"

struct disk_sim_file {
    bool open;
    uint32_t flags; /* enum disk_open_flags */
    uint32_t inode;
    char name[SIM_NAME_MAX]; /* last part of the path it was opened by, for plans */
};

struct disk_sim_planned {
    struct disk_sim_plan plan;
    uint64_t seen;
    uint64_t hits;
};

struct disk_sim_record {
    bool on;
    struct sim_store start;
    struct sim_event *events; /* [count] */
    uint32_t count;
    uint32_t capacity;
};

struct disk_sim {
    struct disk disk; /* first */
    struct io_sim_device device;
    struct sim_store store;
    struct sim_rng rng;
    struct sim_trace *trace;
    struct disk_sim_faults faults;
    struct disk_sim_planned plans[DISK_SIM_PLANS_MAX];
    uint32_t plan_count;
    uint64_t operations[8]; /* by bit of enum disk_sim_class */
    uint64_t faults_struck;
    uint64_t write_next; /* number of the next write */
    uint64_t epoch;      /* counts power cuts: requests of an older epoch are void */
    struct disk_sim_file files[DISK_SIM_DESCRIPTORS_MAX];
    struct disk_sim_record record;
};

/* What the faults make of one operation. */
struct disk_sim_verdict {
    int error; /* errno, 0: none */
    bool is_short;
    bool stuck;
    bool slow;
    bool lost;
    bool misdirect;
    bool flip;
};

static inline struct disk_sim *
disk_sim_of(struct disk *disk)
{
    return (struct disk_sim *)disk;
}

/* Applies an event to the store, records and traces it. */
void disk_sim__happen(struct disk_sim *sim, const struct sim_event *event);
/* Counts the operation and asks plans, then chance. name: last part of the path. */
struct disk_sim_verdict
disk_sim__judge(struct disk_sim *sim, enum disk_sim_class class, const char *name);
/* The open file of a descriptor, or NULL. */
struct disk_sim_file *disk_sim__file(struct disk_sim *sim, int fd);
/* 0 or the errno with which the kernel refuses a transfer on this file. */
int disk_sim__transfer_error(const struct disk_sim_file *file,
                             bool write,
                             const void *buffer,
                             uint64_t count,
                             uint64_t position);
/* True when the live files may take that many bytes more. */
bool disk_sim__has_space(struct disk_sim *sim, uint64_t bytes);
/* By how many bytes a file's pages grow when its size becomes `bytes`. */
uint64_t disk_sim__growth(const struct disk_sim *sim, uint32_t inode, uint64_t bytes);
/* Where a write with that verdict goes in the file. */
uint64_t disk_sim__place(struct disk_sim *sim, uint32_t inode, uint64_t position, bool misdirect);
/* One holder of the file less: a descriptor or a request. */
void disk_sim__inode_closed(struct disk_sim *sim, uint32_t inode);
/* The existing file or directory of a path. */
enum rc disk_sim__find(const struct disk_sim *sim, const char *path, uint32_t *ret_inode);
void disk_sim__record_fini(struct disk_sim_record *record);
extern const struct disk_ops disk_sim__ops;
/* Attaches the ring's side. */
void disk_sim__device_init(struct disk_sim *sim);
struct disk *disk_sim__from_store(const struct disk_sim_config *config, struct sim_store *store);

#endif
