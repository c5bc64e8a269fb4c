/* One log (log/append with all that hangs in it) on a simulated world, with what surrounds it in
 * the server: a control loop that runs its disk jobs in virtual time, and a ledger that checks
 * every answer against the model (log_model.h).
 *
 *   rig_init(&rig, &world, &model, &options); rig_start(&rig) recovers; rig_append() ...
 * sim_world_run(); rig_check(&rig) reads all end by: rig_stop() (clean), rig_kill() (the process
 * dies), rig_power_cut() (the machine does)
 *
 * A wrong answer is remembered in model->why; the run goes on to the end of the step. */
#ifndef EAGRE_TESTS_SIM_LOG_RIG_H
#define EAGRE_TESTS_SIM_LOG_RIG_H

#include "log/append/log.h"
#include "log/compact/compact.h"
#include "log/recover/recover.h"
#include "log_model.h"
#include "sim_world.h"

#define RIG_PENDING_MAX 8192u
#define RIG_JOBS 256u
#define RIG_READ_BYTES (MODEL_BATCH_BYTES_MAX + 65536u)

struct rig_options {
    uint64_t journal_file_bytes;
    uint64_t slab_ring_bytes;
    uint64_t bulk_bytes; /* 0: no bulk bypass */
    uint32_t partitions_max;
    uint32_t producers_max;
    uint32_t open_files_max;
    uint64_t job_ns_max; /* virtual time of a disk job, drawn in [1, this] */
    bool compacts;       /* a compactor runs beside */
    bool observer;       /* what it sees does not bind the model */
    bool faults;         /* errors of the disk are on: refusals for that reason are right answers */
};

enum rig_wait_kind { RIG_FREE, RIG_APPEND, RIG_OPEN, RIG_DROP, RIG_TRIM, RIG_READ };

/* An answer that is due. */
struct rig_wait {
    enum rig_wait_kind kind;
    uint32_t partition; /* index in the model */
    uint64_t offset;    /* append: expected base offset; trim: the new start; read: from where */
    bool duplicate;     /* append: the batch is there already */
};

struct rig_counts {
    uint64_t appends;
    uint64_t acks;
    uint64_t duplicates;
    uint64_t refusals;
    uint64_t again;
    uint64_t reads;
    uint64_t read_bytes;
    uint64_t opens;
    uint64_t drops;
    uint64_t trims;
    uint64_t jobs;
    uint64_t recoveries;
    uint64_t groups_replayed;
    uint64_t batches_replayed;
    uint64_t batches_referred; /* of the bulk bypass, met again by recoveries */
    uint64_t halted;
};

/* The compactor of the running process; log_cleaner.h. */
struct log_cleaner {
    struct log_rig *rig;
    struct compact_link *link;
    struct compactor *compactor;
    void *memory;
    size_t memory_bytes;
    uint64_t due_ns;
};

struct log_rig {
    struct sim_world *world;
    struct log_model *model;
    struct rig_options options;
    struct sim_rng rng; /* job times */
    struct rig_counts counts;
    struct metrics_tile metrics; /* of all lives together */
    /* of the running process */
    bool running;
    bool stopped; /* LOG_EVENT_STOPPED has come */
    enum rc stopped_rc;
    struct clock clock;
    struct io *io;
    struct log *log;
    void *memory;
    size_t memory_bytes;
    void *ring_memory[2];
    struct ring jobs;
    struct ring jobs_done;
    uint64_t deadline_ns;
    bool idle;
    struct disk_job *job; /* that control runs now */
    uint64_t job_due_ns;
    struct rig_wait waits[RIG_PENDING_MAX];
    uint32_t wait_count; /* not free */
    uint32_t wait_next;
    uint8_t *read_buffer; /* of the one asynchronous read */
    bool reading;
    bool read_ended;
    bool read_beside; /* nobody runs the world for it: judged when it ends */
    uint32_t read_partition;
    uint64_t read_offset;
    struct log_read_result read_result;
    struct recover_report report;
    struct log_cleaner cleaner; /* memory NULL: none */
};

void rig_init(struct log_rig *rig,
              struct sim_world *world,
              struct log_model *model,
              const struct rig_options *options);
void rig_fini(struct log_rig *rig);

/* Starts a process on the world's disk: log_init, recover. Adds two actors. */
enum rc rig_start(struct log_rig *rig, struct diag_trail *trail);
/* Asks the log to stop cleanly and runs until it has; then the process is gone. False: it did not.
 */
bool rig_stop(struct log_rig *rig);
/* The process dies now; what it wrote is left to the kernel. */
void rig_kill(struct log_rig *rig);
/* The machine dies now: the world's disk becomes one of its possible remains. */
void rig_power_cut(struct log_rig *rig);

/* Each adds an answer that is due; results: RC_OK when taken, else what the log said (RC_AGAIN:
 * offer it again later). */
enum rc rig_open(struct log_rig *rig, uint32_t partition);
enum rc rig_append(struct log_rig *rig, uint32_t partition, const struct model_batch *batch);
enum rc rig_trim(struct log_rig *rig, uint32_t partition, uint64_t offset);
enum rc rig_drop(struct log_rig *rig, uint32_t partition);
/* Reads from an offset and verifies what comes; runs the world until the answer is there.
 * *ret_next: offset behind it. */
bool rig_read(struct log_rig *rig, uint32_t partition, uint64_t offset, uint64_t *ret_next);

/* Begins a read at an offset that `draw` chooses; it is judged when it ends. Nothing when one is
 * under way. */
void rig_read_begin(struct log_rig *rig, uint32_t partition, uint64_t draw);

/* True when no answer is due and no job is under way, or something is wrong. */
bool rig_is_settled(void *rig);
/* Runs the world until rig_is_settled(). False when it never is. */
bool rig_settle(struct log_rig *rig);

/* What the log shows of a partition, read whole and verified byte for byte against the model. */
bool rig_look(struct log_rig *rig, uint32_t partition, struct seen_partition *ret_seen);
/* Looks at every partition of the model and judges it at that mark; adopts what was seen when adopt
 * is true. */
bool rig_judge(struct log_rig *rig, uint64_t mark, bool adopt);
/* Batches that went straight to their segment so far. */
uint64_t rig_bulk_batches(const struct log_rig *rig);
/* Events of the disk's trace so far: the time in which the model thinks. */
uint64_t rig_mark(const struct log_rig *rig);

#endif
