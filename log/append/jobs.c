/* Disk jobs of one log tile: a pool of them, sent to the control tile and handed to whom they
 * belong when they come back. */
#include "log/append/store.h"

#include "engine/base/check.h"

#define JOBS_BURST 64u

void
jobs_init(struct log *log)
{
    log->job_free = LOG_NONE;
    log->job_unsent = LOG_NONE;
    for (uint32_t i = LOG_JOBS_MAX; i-- > 0;) {
        log->jobs[i].next = log->job_free;
        log->job_free = i;
    }
}

struct log_job *
jobs_take(struct log *log, enum job_purpose purpose, uint32_t slot, uint32_t aux)
{
    uint32_t at = log->job_free;

    if (at == LOG_NONE)
        return NULL;
    struct log_job *job = &log->jobs[at];
    log->job_free = job->next;
    job->purpose = purpose;
    job->slot = slot;
    job->aux = aux;
    job->next = LOG_NONE;
    job->job.ctx = at;
    job->job.position = 0;
    job->job.bytes = 0;
    job->job.buffer = NULL;
    job->job.fd = -1;
    job->job.path[0] = '\0';
    if (slot != LOG_NONE)
        log->partitions[slot].jobs++;
    return job;
}

void
jobs_send(struct log *log, struct log_job *job)
{
    struct disk_job *sent = &job->job;

    log->jobs_under_way++;
    if (ring_push(log->config.jobs, &sent, 1) == 1) {
        if (log->config.jobs_waker != NULL)
            waker_notify(log->config.jobs_waker);
        return;
    }
    /* Order does not matter between jobs under way: each waits for those it depends on. */
    job->next = log->job_unsent;
    log->job_unsent = (uint32_t)job->job.ctx;
}

static uint32_t
jobs_send_rest(struct log *log)
{
    uint32_t work = 0;

    while (log->job_unsent != LOG_NONE) {
        struct log_job *job = &log->jobs[log->job_unsent];
        struct disk_job *sent = &job->job;
        if (ring_push(log->config.jobs, &sent, 1) != 1)
            break;
        log->job_unsent = job->next;
        work++;
    }
    if (work > 0 && log->config.jobs_waker != NULL)
        waker_notify(log->config.jobs_waker);
    return work;
}

/* tidy: length, flat dispatch */
static void
jobs_done(struct log *log, struct log_job *job)
{
    switch (job->purpose) {
    case JOB_POPULATE:
        log->is_populating = false; /* best effort: untouched memory costs time, not correctness */
        break;
    case JOB_FORGET:
        break;
    case JOB_DIRECTORY:
    case JOB_FIRST_SEGMENT:
    case JOB_REMOVE_TREE:
        partition_job_done(log, job);
        break;
    case JOB_NEXT_SEGMENT:
    case JOB_ALLOCATE:
    case JOB_ALLOCATE_NEXT:
        space_job_done(log, job);
        break;
    case JOB_OPEN:
    case JOB_CLOSE:
        files_job_done(log, job);
        break;
    case JOB_SEAL:
    case JOB_MANIFEST:
        seal_job_done(log, job);
        break;
    case JOB_RETAIN_MANIFEST:
    case JOB_UNLINK:
        CHECK(log->hooks.retain_job != NULL);
        log->hooks.retain_job(log, job);
        break;
    case JOB_COMPACT_MANIFEST:
    case JOB_COMPACT_UNLINK:
        CHECK(log->hooks.compact_job != NULL);
        log->hooks.compact_job(log, job);
        break;
    case JOB_SYNC_ALL:
    case JOB_CHECKPOINT:
        reclaim_job_done(log, job);
        break;
    }
}

uint32_t
jobs_poll(struct log *log)
{
    uint32_t work = jobs_send_rest(log);

    for (uint32_t i = 0; i < JOBS_BURST; i++) {
        struct disk_job *done;
        if (ring_pop(log->config.jobs_done, &done, 1) != 1)
            break;
        CHECK(done->ctx < LOG_JOBS_MAX);
        struct log_job *job = &log->jobs[done->ctx];
        CHECK(&job->job == done);
        CHECK(log->jobs_under_way > 0);
        log->jobs_under_way--;
        if (job->slot != LOG_NONE) {
            CHECK(log->partitions[job->slot].jobs > 0);
            log->partitions[job->slot].jobs--;
        }
        /* Free before it is looked at, so that a handler finds at least one job to go on with. */
        struct log_job copy = *job;
        job->next = log->job_free;
        log->job_free = (uint32_t)done->ctx;
        jobs_done(log, &copy);
        work++;
    }
    return work;
}
