/* A virtual disk: the sim body of struct disk, and the device of the sim ring for its descriptors.
 *
 * Sectors of 512 bytes. What survives a crash is decided per change by the rules of
 * disk_sim_store.h; faults come by probability (struct disk_sim_faults) or at the N-th operation of
 * some kind (struct disk_sim_plan). Calls through struct disk take no virtual time; requests
 * through the ring take what the latency fields say. Direct descriptors demand DISK_ALIGN_BYTES for
 * position, length and buffer, like the kernel. A buffer that changes while its write is under way
 * stops the program: that is a bug of ours.
 *
 *   disk_sim_create(&config, &disk); io_sim_attach(io, disk_sim_device(disk)); ... disk_fini(disk);
 *
 * Crash: disk_sim_crash() turns the disk into one that a machine might find after a power cut; all
 * descriptors are gone. For enumeration record a trace (disk_sim_trace_start), then walk it
 * (disk_sim_walk.h).
 *
 * One thread. Allocates, as every double does. Limits: DISK_SIM_DESCRIPTORS_MAX,
 * DISK_SIM_PLANS_MAX, SIM_NAME_MAX per name. */
#ifndef EAGRE_HW_DISK_DISK_SIM_H
#define EAGRE_HW_DISK_DISK_SIM_H

#include "hw/disk/disk.h"
#include "hw/io/io_sim.h"

#define DISK_SIM_FD_FIRST 1000
#define DISK_SIM_DESCRIPTORS_MAX 2048u
#define DISK_SIM_PLANS_MAX 8u

struct disk_sim_config {
    uint64_t seed;
    struct sim_trace *trace; /* borrowed; may be NULL */
};

/* Chances in a million per operation, 0: never. All zero is a perfect, fast disk. */
struct disk_sim_faults {
    uint32_t read_error_ppm;  /* EIO */
    uint32_t write_error_ppm; /* EIO; a prefix of the sectors is stored */
    uint32_t sync_error_ppm;  /* EIO; what it should have covered is forsaken */
    uint32_t name_error_ppm;  /* EIO of create, rename, unlink, directories, sizes */
    uint32_t short_ppm;       /* ring requests end with fewer bytes */
    uint32_t stuck_ppm;       /* ring requests never end, until io_sim_heal() */
    uint32_t lost_ppm;        /* a write "succeeds" and is not stored */
    uint32_t misdirect_ppm;   /* a write lands at another 4 KiB position of the same file */
    uint32_t flip_ppm;        /* a read gives one wrong bit; the stored bytes are right */
    uint32_t slow_ppm;        /* ring requests take slow_ns longer at most */
    uint64_t slow_ns;
    uint64_t latency_ns; /* least virtual time of a ring request */
    uint64_t spread_ns;  /* drawn on top, uniform in [0, spread_ns] */
    uint64_t
        space_bytes; /* files and names together, in 4 KiB pages; 0: no limit. Beyond: ENOSPC */
    uint32_t descriptors_max; /* 0: DISK_SIM_DESCRIPTORS_MAX. Beyond: EMFILE */
};

/* Kinds of operations for plans and counts. */
enum disk_sim_class {
    DISK_SIM_READ = 1,
    DISK_SIM_WRITE = 2,
    DISK_SIM_SYNC = 4,  /* of a file, a directory, or all */
    DISK_SIM_NAME = 8,  /* create, rename, unlink, make and remove directory */
    DISK_SIM_SIZE = 16, /* allocate */
    DISK_SIM_OPEN = 32, /* of an existing file */
    DISK_SIM_CUT = 64,  /* truncate */
    DISK_SIM_CLASS_ALL = 127,
};

enum disk_sim_effect {
    DISK_SIM_EFFECT_ERROR, /* ends with -error */
    DISK_SIM_EFFECT_SHORT, /* ring reads and writes only, as are the next two */
    DISK_SIM_EFFECT_STUCK,
    DISK_SIM_EFFECT_SLOW,
    DISK_SIM_EFFECT_LOST, /* writes, as is the next */
    DISK_SIM_EFFECT_MISDIRECT,
    DISK_SIM_EFFECT_FLIP, /* reads */
};

/* A fault at given operations: of those whose class and path fit, skip `skip`, then hit `count`. */
struct disk_sim_plan {
    uint32_t classes; /* bits of enum disk_sim_class */
    const char
        *path_part; /* the last name of the file's path contains it; NULL: any. Borrowed, static */
    uint64_t skip;
    uint64_t count;
    enum disk_sim_effect effect;
    int error; /* errno, > 0 */
};

/* Allocates: yes. Given back by disk_fini(). */
enum rc disk_sim_create(const struct disk_sim_config *config, struct disk **ret_disk);
/* A disk of its own with the same bytes, names and pending changes; no descriptors, faults or
 * plans. */
struct disk *disk_sim_clone(struct disk *disk, const struct disk_sim_config *config);
/* To be attached to every ring that uses the disk's descriptors. */
struct io_sim_device *disk_sim_device(struct disk *disk);

void disk_sim_set_faults(struct disk *disk, const struct disk_sim_faults *faults);
const struct disk_sim_faults *disk_sim_get_faults(struct disk *disk);
/* No random faults, no plans, no limits; latency stays. Stuck requests need io_sim_heal() too. */
void disk_sim_heal(struct disk *disk);
/* Counting starts now. Returns the plan's number. */
uint32_t disk_sim_plan_add(struct disk *disk, const struct disk_sim_plan *plan);
/* How often the plan has struck. */
uint64_t disk_sim_plan_hits(struct disk *disk, uint32_t plan);
/* Operations of these classes so far, on any path. */
uint64_t disk_sim_operations(struct disk *disk, uint32_t classes);
/* Faults that struck so far, of every source. */
uint64_t disk_sim_faults_struck(struct disk *disk);

/* Power cut: every doubt is kept, lost or torn as rng says. Rings that hold requests of this disk
 * must be destroyed after it. */
void disk_sim_crash(struct disk *disk, struct sim_rng *rng);
/* The process dies, the machine lives: descriptors close, everything written stays pending. Rings
 * as above, but before it. */
void disk_sim_close_all(struct disk *disk);

/* Turns one bit of a stored file; false when there is no such file or byte. */
bool disk_sim_flip_bit(struct disk *disk, const char *path, uint64_t position, uint32_t bit);
/* Equal for equal names, sizes and bytes as programs see them now. */
uint64_t disk_sim_hash(struct disk *disk);
/* Changes that a crash now would decide upon. */
uint32_t disk_sim_doubts(struct disk *disk);
uint64_t disk_sim_used_bytes(struct disk *disk);
uint32_t disk_sim_open_descriptors(struct disk *disk);

/* Records every event from now on, beginning with a copy of the disk as it is. */
void disk_sim_trace_start(struct disk *disk);
/* Forgets the trace. */
void disk_sim_trace_stop(struct disk *disk);
/* Events recorded so far; 0 when none are being recorded. */
uint64_t disk_sim_trace_count(struct disk *disk);

#endif
