/* Durable commit of one small batch to each of P partitions: from the first append to the last
 * acknowledgement, beside one raw 4 KiB O_DIRECT|O_DSYNC write to the same device. Runs a whole
 * struct log on the real io body; a second thread does what the control tile does, so slow file
 * work disturbs as it would in the server. */
#include "engine/record/record_builder.h"
#include "engine/tile/tile.h"
#include "hw/disk/disk.h"
#include "log/append/log.h"
#include "log/recover/recover.h"
#include "perf/micro/micro.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COMMIT_PARTITIONS_MAX 1000u
#define COMMIT_ROUNDS 300u
#define COMMIT_JOB_SLOTS 1024u

struct commit {
    struct clock clock;
    struct io *io;
    struct disk *disk;
    struct log *log;
    struct ring jobs;
    struct ring done;
    void *memory;
    size_t memory_bytes;
    uint8_t batch[512];
    uint32_t batch_bytes;
    uint32_t slots[COMMIT_PARTITIONS_MAX];
    _Atomic uint32_t stop;
    pthread_t helper;
};

static struct commit commit;
static _Alignas(128) uint8_t ring_memory[2][COMMIT_JOB_SLOTS * sizeof(void *)];

static void *
commit_helper(void *unused)
{
    while (atomic_load_explicit(&commit.stop, memory_order_acquire) == 0) {
        struct disk_job *job;
        if (ring_pop(&commit.jobs, &job, 1) == 0) {
            usleep(100);
            continue;
        }
        disk_job_run(commit.disk, job);
        while (ring_push(&commit.done, &job, 1) == 0)
            sched_yield();
    }
    return unused;
}

/* One round of what the broker's core does; blocks only when nothing is there. */
static void
commit_turn(bool may_sleep)
{
    struct io_completion completions[64];
    uint64_t deadline;
    uint32_t count = io_reap(commit.io, completions, 64);

    for (uint32_t i = 0; i < count; i++)
        log_complete(commit.log, completions[i].tag, completions[i].result);
    uint32_t work = log_poll(commit.log, clock_now_ns(&commit.clock), &deadline);
    if (count + work == 0 && may_sleep)
        io_wait(commit.io, 200 * NS_PER_US);
}

static void
commit_open_partitions(uint32_t from, uint32_t to)
{
    uint32_t opened = from;

    for (uint32_t i = from; i < to; i++) {
        struct log_partition_config config = {
            .incarnation = i + 10,
            .topic_id = {1},
            .partition = i,
            .batch_bytes_max = 1 << 20,
            .segment_bytes = 64 * MIB,
            .segment_ms = INT64_MAX,
            .retention_ms = -1,
            .retention_bytes = -1,
            .timestamp_before_max_ms = INT64_MAX,
            .timestamp_after_max_ms = INT64_MAX,
        };
        while (log_open(commit.log, &config, i) != RC_OK)
            commit_turn(true);
    }
    while (opened < to) {
        struct log_event events[64];
        commit_turn(true);
        uint32_t count = log_take_events(commit.log, events, 64);
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].kind != LOG_EVENT_OPENED || events[i].rc != RC_OK) {
                fprintf(stderr, "micro: partition not opened: %s\n", rc_text(events[i].rc));
                exit(1);
            }
            commit.slots[events[i].ctx] = events[i].slot;
            opened++;
        }
    }
}

/* One batch to each of count partitions; returns ns until the last is durable. */
static double
commit_round(uint32_t count)
{
    uint64_t begin = micro_now_ns();
    uint32_t sent = 0;
    uint32_t acked = 0;

    while (acked < count) {
        struct log_ack acks[256];
        for (; sent < count; sent++) {
            struct log_append_request request = {
                .slot = commit.slots[sent],
                .incarnation = sent + 10,
                .batch = commit.batch,
                .batch_bytes = commit.batch_bytes,
                .ctx = sent,
                .wall_ms = 1700000000000,
            };
            if (log_append(commit.log, &request, &acks[0]) != LOG_APPEND_TAKEN)
                break;
        }
        commit_turn(true);
        uint32_t taken = log_take_acks(commit.log, acks, 256);
        for (uint32_t i = 0; i < taken; i++)
            if (acks[i].rc != RC_OK)
                exit(1);
        acked += taken;
    }
    return (double)(micro_now_ns() - begin);
}

static double
commit_raw_write(const char *directory)
{
    static double samples[COMMIT_ROUNDS];
    char path[512];
    void *page;

    snprintf(path, sizeof(path), "%s/raw-%d", directory, (int)getpid());
    int fd = open(path, O_CREAT | O_RDWR | O_DIRECT, 0600);
    if (fd < 0 || posix_memalign(&page, 4096, 4096) != 0)
        return 0;
    memset(page, 1, 4096);
    for (uint32_t i = 0; i < COMMIT_ROUNDS; i++)
        if (pwrite(fd, page, 4096, (off_t)i * 4096) != 4096)
            return 0;
    fsync(fd);
    close(fd);
    fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC);
    for (uint32_t i = 0; i < COMMIT_ROUNDS; i++) {
        uint64_t begin = micro_now_ns();
        if (pwrite(fd, page, 4096, (off_t)i * 4096) != 4096)
            return 0;
        samples[i] = (double)(micro_now_ns() - begin);
    }
    close(fd);
    unlink(path);
    free(page);
    return micro_median(samples, COMMIT_ROUNDS) / 1e3;
}

static int
commit_start(const char *directory)
{
    struct diag_trail trail = {0};

    clock_init_real(&commit.clock);
    ring_init(&commit.jobs, ring_memory[0], sizeof(void *), COMMIT_JOB_SLOTS);
    ring_init(&commit.done, ring_memory[1], sizeof(void *), COMMIT_JOB_SLOTS);
    if (io_create(IO_BODY_AUTO, &commit.io, &trail) != RC_OK ||
        disk_open_real(directory, &commit.disk, &trail) != RC_OK) {
        fprintf(stderr, "micro: %s\n", trail.text);
        return 1;
    }
    struct log_config config = {
        .io = commit.io,
        .clock = &commit.clock,
        .disk = commit.disk,
        .jobs = &commit.jobs,
        .jobs_done = &commit.done,
        .slab_ring_bytes = 128 * MIB,
        .cold_bytes = 16 * MIB,
        .journal_file_bytes = 16 * MIB,
        .partitions_max = 1024,
        .producers_max = 1024,
        .open_files_max = 1024,
    };
    commit.memory_bytes = log_footprint(&config);
    commit.memory = mmap(
        NULL, commit.memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (commit.memory == MAP_FAILED ||
        log_init(commit.memory, &config, &commit.log, &trail) != RC_OK) {
        fprintf(stderr, "micro: %s\n", trail.text);
        return 1;
    }
    struct recover_report report;
    if (recover_run(commit.log, &report, &trail) != RC_OK) {
        fprintf(stderr, "micro: %s\n", trail.text);
        return 1;
    }
    return pthread_create(&commit.helper, NULL, commit_helper, NULL);
}

static void
commit_build_batch(void)
{
    static const uint8_t value[100] = {1};
    struct record_builder builder;
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record record = {.timestamp_ms = 1700000000000, .value = {value, sizeof(value)}};

    record_builder_begin(&builder, commit.batch, sizeof(commit.batch), &options);
    if (!record_builder_add(&builder, &record))
        exit(1);
    commit.batch_bytes = record_builder_finish(&builder);
}

static void
commit_stop(void)
{
    atomic_store_explicit(&commit.stop, 1, memory_order_release); /* pairs with commit_helper() */
    pthread_join(commit.helper, NULL);
    io_destroy(commit.io);
    log_fini(commit.log);
    munmap(commit.memory, commit.memory_bytes);
    disk_fini(commit.disk);
}

int
micro_commit(const char *directory)
{
    static const uint32_t counts[] = {1, 16, 64, 1000};
    static double samples[COMMIT_ROUNDS];
    char path[400];
    char command[512];
    uint32_t opened = 0;

    snprintf(path, sizeof(path), "%s/micro-%d", directory, (int)getpid());
    commit_build_batch();
    if (commit_start(path) != 0)
        return 1;
    for (uint32_t c = 0; c < ARRAY_COUNT(counts); c++) {
        char what[80];
        commit_open_partitions(opened, counts[c]);
        opened = counts[c];
        double raw = commit_raw_write(path);
        for (uint32_t i = 0; i < COMMIT_ROUNDS; i++)
            samples[i] = commit_round(counts[c]) / 1e3;
        snprintf(
            what, sizeof(what), "durable commit of one 170-byte batch to each of %u", counts[c]);
        micro_row(
            what, micro_median(samples, COMMIT_ROUNDS), "us", "raw 4 KiB O_DSYNC write, us", raw);
    }
    commit_stop();
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    return system(command);
}
