/* Goal: what a log tile counts is what happened: appended, refused, held back, fenced, recovered.
 * Method: a whole log tile on the virtual disk with a struct metrics_tile, an array for partitions
 * and a trace; what went wrong first. See store_rig.h. */
#include "store_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};
static struct rig rig;
static struct metrics_tile metrics;
static struct metrics_partition partitions[64];
static struct trace trace;

static void
open_counted(uint64_t seed)
{
    rig_init(&rig, seed);
    metrics_init(&metrics, METRICS_LOG, "log0");
    trace_init(&trace, 0);
    rig.config.metrics = &metrics;
    rig.config.partition_metrics = partitions;
    rig.config.trace = &trace;
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
}

static uint64_t
count(enum metric metric)
{
    return metrics_get(&metrics, metric);
}

static uint64_t
told(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

#define REFUSED(reason) metrics_get_label(&metrics, BATCHES_REFUSED, METRIC_REFUSED_##reason)

Test(log_metrics, refusals_are_counted_by_reason, .timeout = 20)
{
    struct log_append_request request = {.slot = 3, .incarnation = 5};
    struct log_ack ack;

    open_counted(1);
    cr_assert_eq(log_append(rig.tiles[0].log, &request, &ack), LOG_APPEND_REFUSED);
    cr_assert_eq(REFUSED(UNKNOWN), 1);
    uint32_t p = rig_create(&rig, &plain);
    (void)rig_try(&rig, &(struct rig_append){.partition = p, .bytes = 1 * MIB + 1, .records = 1});
    cr_assert_eq(REFUSED(TOO_LARGE), 1);
    struct rig_append append = {
        .partition = p, .bytes = 100, .records = 1, .producer_id = 9, .epoch = 1, .sequence = 0};
    rig_append_wait(&rig, &append);
    cr_assert_eq(count(METRIC_PRODUCERS), 1);
    append.sequence = 7;
    (void)rig_try(&rig, &append);
    cr_assert_eq(REFUSED(SEQUENCE), 1);
    append.epoch = 0;
    (void)rig_try(&rig, &append);
    cr_assert_eq(REFUSED(EPOCH), 1);
    cr_assert_eq(count(METRIC_BATCHES_APPENDED), 1, "the refused ones are not among them");
    rig_fini(&rig);
}

Test(log_metrics, a_failed_journal_fences_what_was_online, .timeout = 20)
{
    const struct disk_sim_plan fail = {.classes = DISK_SIM_WRITE,
                                       .path_part = "journal",
                                       .count = 1,
                                       .effect = DISK_SIM_EFFECT_ERROR,
                                       .error = EIO};

    open_counted(2);
    uint32_t p = rig_create(&rig, &plain);
    rig_create(&rig, &plain);
    cr_assert_eq(count(METRIC_PARTITIONS_ONLINE), 2);
    disk_sim_plan_add(rig.disk, &fail);
    (void)rig_append(&rig, &(struct rig_append){.partition = p, .bytes = 100, .records = 1});
    rig_settle(&rig);
    cr_assert_eq(count(METRIC_PARTITIONS_ONLINE), 0);
    cr_assert_eq(count(METRIC_PARTITIONS_FENCED), 2);
    cr_assert_eq(told(&partitions[rig.partitions[p].slot].state), 1);
    (void)rig_try(&rig, &(struct rig_append){.partition = p, .bytes = 100, .records = 1});
    cr_assert_eq(REFUSED(STORAGE), 1);
    rig_fini(&rig);
}

Test(log_metrics, a_batch_that_waits_is_counted_once, .timeout = 20)
{
    open_counted(3);
    uint32_t p = rig_create(&rig, &plain);
    rig.hold_jobs = true;
    struct rig_append append = {.partition = p, .bytes = 60000, .records = 1};
    enum log_append_status status = LOG_APPEND_TAKEN;
    for (uint32_t i = 0; i < 20 && status == LOG_APPEND_TAKEN; i++)
        status = rig_try(&rig, &append);
    cr_assert_eq(status, LOG_APPEND_AGAIN, "no space is reserved while disk jobs stand still");
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(rig_try(&rig, &append), LOG_APPEND_AGAIN);
    cr_assert_eq(metrics_get_label(&metrics, BACKPRESSURE, METRIC_PRESSURE_DISK_JOBS), 1);
    rig.hold_jobs = false;
    rig_settle(&rig);
    rig_fini(&rig);
}

Test(log_metrics, counts_and_gauges_are_those_of_the_batches, .timeout = 30)
{
    struct trace_stamp stamps[8];

    open_counted(4);
    uint32_t p = rig_create(&rig, &plain);
    uint32_t q = rig_create(&rig, &plain);
    uint64_t groups = count(METRIC_COMMIT_GROUPS);
    for (uint32_t i = 0; i < 40; i++)
        rig_append_wait(&rig, &(struct rig_append){.partition = p, .bytes = 200, .records = 3});
    rig_append_wait(&rig, &(struct rig_append){.partition = q, .bytes = 100, .records = 1});
    rig_settle(&rig);
    cr_assert_eq(count(METRIC_RECORDS_APPENDED), 121);
    cr_assert_eq(count(METRIC_BATCHES_APPENDED), 41);
    cr_assert_eq(count(METRIC_BYTES_APPENDED), 40 * 200 + 100);
    const struct metrics_partition *told_of = &partitions[rig.partitions[p].slot];
    cr_assert_eq(told(&told_of->records_in), 120);
    cr_assert_eq(told(&told_of->batches_in), 40);
    cr_assert_eq(told(&told_of->bytes_in), 8000);
    cr_assert_eq(told(&told_of->high_watermark), 120);
    cr_assert_eq(told(&told_of->state), 0);
    cr_assert_eq(count(METRIC_COMMIT_GROUPS) - groups, 41, "each waited for its own group");
    cr_assert_eq(histogram_count(&metrics.histograms[METRIC_COMMIT_GROUP_LATENCY]),
                 count(METRIC_COMMIT_GROUPS));
    cr_assert_gt(count(METRIC_UNFLUSHED_BYTES), 0);
    cr_assert_eq(trace_read(&trace, stamps, 3), 3);
    cr_assert_eq(stamps[0].stage, TRACE_APPEND);
    cr_assert_eq(stamps[1].stage, TRACE_SUBMIT);
    cr_assert_eq(stamps[2].stage, TRACE_DURABLE);
    rig_fini(&rig);
}

Test(log_metrics, a_clean_start_replays_nothing_and_a_crash_does, .timeout = 30)
{
    open_counted(5);
    uint32_t p = rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 10; i++)
        rig_append_wait(&rig, &(struct rig_append){.partition = p, .bytes = 200, .records = 2});
    rig_stop(&rig);
    metrics_init(&metrics, METRICS_LOG, "log0");
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(count(METRIC_RECOVERY_GROUPS), 0);
    cr_assert_eq(count(METRIC_RECOVERY_JOURNAL_BYTES), 0);
    cr_assert_eq(count(METRIC_RECOVERY_PARTITIONS), 1);
    cr_assert_eq(count(METRIC_PARTITIONS_ONLINE), 1);
    rig_reopen(&rig);
    for (uint32_t i = 0; i < 10; i++)
        rig_append_wait(&rig, &(struct rig_append){.partition = p, .bytes = 200, .records = 2});
    rig_crash(&rig);
    metrics_init(&metrics, METRICS_LOG, "log0");
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(count(METRIC_RECOVERY_GROUPS), rig.report.groups_replayed);
    cr_assert_geq(count(METRIC_RECOVERY_GROUPS), 10);
    cr_assert_geq(count(METRIC_RECOVERY_JOURNAL_BYTES), 10 * (4096 + 200));
    rig_reopen(&rig);
    cr_assert_eq(told(&partitions[rig.partitions[p].slot].high_watermark), 40);
    cr_assert_eq(told(&partitions[rig.partitions[p].slot].records_in), 0, "of this start");
    rig_fini(&rig);
}
