/* A whole log tile on a virtual disk and ring, driven by hand, with a model of what was
 * acknowledged.
 *
 * Batches are made from a seed, so the model keeps only {offset, size, seed}; rig_verify() reads a
 * partition from start to end and compares every byte. rig_crash() is a power cut at this moment;
 * rig_open() recovers. Used by the tests of log/append, log/read, log/recover and log/retain. */
#ifndef EAGRE_TESTS_UNIT_LOG_APPEND_STORE_RIG_H
#define EAGRE_TESTS_UNIT_LOG_APPEND_STORE_RIG_H

#include "hw/disk/disk_sim.h"
#include "log/append/store.h"
#include "log/recover/recover.h"

#define RIG_PARTITIONS 8u
#define RIG_BATCHES_MAX 60000u
#define RIG_TILES_MAX 4u

struct rig_batch {
    uint64_t base_offset;
    uint64_t seed;
    uint32_t bytes;
    uint32_t records;
    int64_t timestamp_ms;
    int32_t leader_epoch;
    bool acked;
    int64_t producer_id; /* -1: none */
    int32_t sequence;
    int16_t epoch;
    bool is_transactional;
    bool is_marker; /* a control batch of the log's own, of RECORD_MARKER_BYTES */
    bool is_commit;
    int32_t coordinator_epoch;
};

struct rig_partition {
    uint64_t incarnation;
    struct log_partition_config config;
    uint32_t tile;
    uint32_t slot;
    struct rig_batch *batches; /* [RIG_BATCHES_MAX] */
    uint32_t batch_count;
};

/* One append to be tried. */
struct rig_append {
    uint32_t partition; /* index */
    uint32_t bytes;     /* of the batch, >= 61 */
    uint32_t records;
    int64_t timestamp_ms; /* 0: the clock's */
    int64_t producer_id;  /* 0: none */
    int16_t epoch;
    int32_t sequence;
    bool is_transactional;
};

/* One transaction marker to be tried. */
struct rig_marker {
    uint32_t partition; /* index */
    int64_t producer_id;
    int16_t epoch;
    int32_t coordinator_epoch;
    bool is_commit;
};

struct rig_tile {
    struct log *log;
    struct io *io;
    void *memory;
    struct ring jobs;
    struct ring jobs_done;
    void *jobs_memory;
    void *done_memory;
};

struct rig {
    uint64_t seed;
    struct sim_rng rng;
    struct clock clock;
    struct disk *disk;
    struct log_config config; /* of every tile; may be changed between rig_init() and rig_open() */
    uint32_t tile_count;
    struct rig_tile tiles[RIG_TILES_MAX];
    struct rig_partition partitions[RIG_PARTITIONS];
    uint32_t partition_count;
    uint8_t *batch;  /* scratch [8 MiB + 64 KiB] */
    uint8_t *expect; /* the same */
    uint8_t *dst;    /* the same */
    uint64_t next_ctx;
    struct log_ack last_ack; /* of any append */
    uint64_t acks;           /* so far */
    uint64_t acks_failed;
    struct log_event last_event;
    uint64_t events;
    struct log_read_result last_read;
    uint64_t reads;
    struct log_mark last_mark;
    uint64_t marks;
    struct recover_report report;
    struct diag_trail trail;
    bool hold_jobs; /* disk jobs are not run */
};

/* A disk and a small configuration: 4 MiB ring, 1 MiB journal files. */
void rig_init(struct rig *rig, uint64_t seed);
void rig_fini(struct rig *rig);
/* Starts tile_count tiles on what the disk holds. */
enum rc rig_open(struct rig *rig);
/* Forgets the tiles: the process is killed, the disk keeps everything pending. */
void rig_kill(struct rig *rig);
/* Power cut: the disk keeps what must survive and some of the rest. Acks not taken are lost. */
void rig_crash(struct rig *rig);
/* One round of every tile; true when something happened. */
bool rig_step(struct rig *rig);
/* Until nothing happens any more. */
void rig_settle(struct rig *rig);
/* log_stop() on every tile, until stopped; then the tiles are gone. */
void rig_stop(struct rig *rig);

/* Adds a partition to the model and opens it; its index. */
uint32_t rig_create(struct rig *rig, const struct log_partition_config *config);
/* After rig_open(): opens every partition of the model again. */
void rig_reopen(struct rig *rig);
/* Offers a batch until it is taken or refused; waits for no ack. LOG_APPEND_REFUSED: last_ack
 * tells. */
enum log_append_status rig_append(struct rig *rig, const struct rig_append *append);
/* Offers it once. */
enum log_append_status rig_try(struct rig *rig, const struct rig_append *append);
/* As rig_append(), then until its ack is there; rig->last_ack. */
void rig_append_wait(struct rig *rig, const struct rig_append *append);
/* Offers a marker until it is taken or refused. */
enum log_append_status rig_mark(struct rig *rig, const struct rig_marker *marker);
/* Admits a producer's transaction to a partition. */
enum rc rig_admit(struct rig *rig, uint32_t partition, int64_t producer_id, int16_t epoch);
/* Reads once at offset into dst, waiting for cold reads. */
struct log_read_result
rig_read(struct rig *rig, uint32_t partition, uint64_t offset, uint32_t max_bytes);
/* The same with a request of the test's own. */
struct log_read_result
rig_read_as(struct rig *rig, uint32_t partition, const struct log_read_request *request);
struct log_read_result rig_find(struct rig *rig, uint32_t partition, int64_t time_ms);
/* Every batch of the model from the start offset on is there, in order, with every byte; nothing
 * else is. */
void rig_verify(struct rig *rig, uint32_t partition);
/* After a crash: what was acknowledged is there; what was not may be missing as a suffix. The model
 * is cut to what is there. */
void rig_accept_crash(struct rig *rig);
/* Fails when the bytes at `at` are not batch idx of the model as it is stored. */
void
rig_compare(struct rig *rig, const struct rig_partition *model, uint32_t idx, const uint8_t *at);
struct partition *rig_partition(struct rig *rig, uint32_t partition);
struct log *rig_log(struct rig *rig, uint32_t partition);
/* Builds the batch of a seed as a producer sends it. */
void rig_make_batch(uint8_t *batch, const struct rig_batch *what);

#endif
