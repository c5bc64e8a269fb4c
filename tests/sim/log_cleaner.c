/* The compactor beside a log; see log_cleaner.h. */
#include "log_cleaner.h"

#include "engine/base/check.h"
#include "log/compact/compact_inner.h"

#include <stdlib.h>
#include <sys/mman.h>

#define STOP_POLLS 100000u
#define SCANS_MAX 40u
#define IDLE_SCANS 4u /* two seconds */

static uint32_t
cleaner_step(void *object)
{
    struct log_cleaner *cleaner = object;
    struct tile_report report = compactor_tile_ops.poll(cleaner->compactor,
                                                        clock_now_ns(&cleaner->rig->clock));
    cleaner->due_ns = report.deadline_ns;
    if (report.work > 0)
        cleaner->rig->idle = false; /* what a waker would do */
    return report.work;
}

static uint64_t
cleaner_due_ns(void *object)
{
    struct log_cleaner *cleaner = object;
    return compactor_tile_ops.has_work(cleaner->compactor) ? 0 : cleaner->due_ns;
}

void
cleaner_start(struct log_rig *rig)
{
    struct log_cleaner *cleaner = &rig->cleaner;
    size_t link_bytes = round_up(compact_link_footprint(), 128);
    cleaner->rig = rig;
    cleaner->link = compact_link_init(aligned_alloc(128, link_bytes), NULL, NULL);
    struct compactor_config config = {
        .clock = &rig->clock,
        .disk = rig->world->disk,
        .memory_bytes = COMPACT_MEMORY_MIN,
        .seed = rig->world->options.seed,
        .link_count = 1,
        .links = {cleaner->link},
    };
    cleaner->memory_bytes = compactor_footprint(&config);
    cleaner->memory = mmap(
        NULL, cleaner->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(cleaner->memory != MAP_FAILED);
    cleaner->compactor = compactor_init(cleaner->memory, &config);
    cleaner->due_ns = SIM_NEVER_NS;
    compact_attach(rig->log, cleaner->link);
    sim_world_add(
        rig->world,
        &(struct sim_actor){
            .name = "cleaner", .object = cleaner, .step = cleaner_step, .due_ns = cleaner_due_ns});
}

void
cleaner_stop(struct log_rig *rig)
{
    for (uint32_t i = 0; rig->cleaner.memory != NULL && i < STOP_POLLS; i++)
        (void)cleaner_step(&rig->cleaner);
}

void
cleaner_forget(struct log_rig *rig)
{
    struct log_cleaner *cleaner = &rig->cleaner;
    if (cleaner->memory == NULL)
        return;
    sim_world_remove(rig->world, cleaner);
    (void)munmap(cleaner->memory, cleaner->memory_bytes);
    free(cleaner->link);
    *cleaner = (struct log_cleaner){0};
}

bool
cleaner_is_busy(const struct log_rig *rig)
{
    return rig->cleaner.link != NULL && rig->cleaner.link->slot != LOG_NONE;
}

bool
cleaner_run(struct log_rig *rig)
{
    uint32_t idle = 0;
    for (uint32_t i = 0; i < SCANS_MAX && idle < IDLE_SCANS; i++) {
        sim_world_pass(rig->world, COMPACT_SCAN_NS / 2 + NS_PER_MS);
        idle = cleaner_is_busy(rig) ? 0 : idle + 1;
        if (rig->model->why[0] != '\0')
            return false;
    }
    return idle >= IDLE_SCANS || rig->options.faults ||
           log_model_fail(rig->model, "compaction never ends");
}

void
cleaner_bounds(struct log_rig *rig, uint32_t slot, struct log_keys_bounds *bounds)
{
    const struct partition *partition = &rig->log->partitions[slot];
    const struct segment_pool *pool = &rig->log->segments;
    uint64_t floor = partition->cleaned_offset;
    /* A segment may be cleaned in part: the rest of it is as it was. */
    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = pool->segments[at].newer) {
        if (pool->segments[at].base_offset <= partition->cleaned_offset &&
            pool->segments[at].sealed)
            floor = max_u64(floor, pool->segments[at].next_offset);
    }
    bounds->floor = max_u64(bounds->floor, floor);
    bounds->clean = min_u64(bounds->clean, partition->cleaned_offset);
    bounds->wall_ms = rig->options.observer ? INT64_MAX : clock_wall_ms(&rig->clock);
}

uint64_t
cleaner_runs(const struct log_rig *rig)
{
    return metrics_get(&rig->metrics, METRIC_COMPACTION_RUNS);
}

uint64_t
cleaner_removed(const struct log_rig *rig)
{
    return metrics_get(&rig->metrics, METRIC_COMPACTION_RECORDS_REMOVED);
}
