/* Disk jobs of the log tiles: first in, first out per tile, a few per tile and poll, so that no
 * tile's long queue delays another's and admin requests go on between them. Nothing here depends on
 * metadata: jobs run from the first poll to the last. */
#include "engine/control/control_internal.h"

static void
run_job(struct control *control, struct disk_job *job)
{
    uint64_t begin_ns = clock_now_ns(control->config.clock);

    disk_job_run(control->config.disk, job);
    uint64_t spent_ns = clock_now_ns(control->config.clock) - begin_ns;
    control__count(&control->counters.disk_jobs, 1);
    control__count(&control->counters.disk_job_ns, spent_ns);
    if (job->result != RC_OK)
        control__count(&control->counters.disk_jobs_failed, 1);
    if (control->config.metrics == NULL)
        return;
    metrics_add(control->config.metrics, METRIC_DISK_JOBS, 1);
    metrics_record(control->config.metrics, METRIC_DISK_JOB_LATENCY, spent_ns);
    if (job->result != RC_OK)
        metrics_add(control->config.metrics, METRIC_DISK_JOBS_FAILED, 1);
}

void
control__jobs_poll(struct control *control)
{
    for (uint32_t i = 0; i < control->config.log_tile_count; i++) {
        const struct control_log_link *link = &control->config.logs[i];
        uint32_t done = 0;
        if (link->jobs == NULL)
            continue;
        for (; done < CONTROL_JOBS_PER_POLL; done++) {
            struct disk_job *job;
            /* Taken only when its way back is open. */
            if (ring_free(link->jobs_done) == 0 || ring_pop(link->jobs, &job, 1) == 0)
                break;
            run_job(control, job);
            CHECK(ring_push(link->jobs_done, &job, 1) == 1);
            if (link->waker != NULL)
                waker_notify(link->waker);
        }
        control->work += done;
    }
}
