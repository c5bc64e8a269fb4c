/* What a log tile counts (engine/metrics, owner LOG) and stamps (engine/trace), as one-liners for
 * log/append and the folders above it.
 *
 * Counters of a batch cost about 5 ns together: plain loads and stores of lines that only this core
 * writes. Gauges are stored once per poll (log_publish), those of a partition where they move. A
 * log without metrics (config.metrics == NULL, unit tests) costs one predicted branch each.
 *
 * Runs on: the log tile, and the starting thread before it. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_APPEND_LOG_METRICS_H
#define EAGRE_LOG_APPEND_LOG_METRICS_H

#include "log/append/store.h"

static ALWAYS_INLINE void
log_count(struct log *log, enum metric metric, uint64_t by)
{
    if (LIKELY(log->config.metrics != NULL))
        metrics_add(log->config.metrics, metric, by);
}

static ALWAYS_INLINE void
log_set(struct log *log, enum metric metric, uint64_t value)
{
    if (LIKELY(log->config.metrics != NULL))
        metrics_set(log->config.metrics, metric, value);
}

/* id without METRIC_, as in log_count_label(log, BACKPRESSURE, METRIC_PRESSURE_CACHE, 1). */
#define log_count_label(log, id, index, by) \
    log_count((log), metrics_slot(METRIC_##id, METRIC_##id##_LAST, (index)), (by))

static ALWAYS_INLINE void
log_record(struct log *log, enum metric_histogram which, uint64_t value)
{
    if (LIKELY(log->config.metrics != NULL))
        metrics_record(log->config.metrics, which, value);
}

/* Reads the clock only when stamps are kept. */
static ALWAYS_INLINE void
log_stamp(struct log *log, enum trace_stage stage, uint64_t id)
{
    if (UNLIKELY(log->config.trace != NULL))
        trace_keep(log->config.trace, stage, clock_now_ns(log->config.clock), id);
}

/* What consumers may read of a partition has moved. */
static ALWAYS_INLINE void
log_publish_offsets(struct log *log, const struct partition *partition)
{
    if (UNLIKELY(log->config.partition_metrics == NULL))
        return;
    struct metrics_partition *to = &log->config.partition_metrics[partition_slot(log, partition)];
    /* Relaxed: each value is told for itself. */
    atomic_store_explicit(
        &to->high_watermark, partition_high_watermark(partition), memory_order_relaxed);
    atomic_store_explicit(&to->start_offset, partition->start_offset, memory_order_relaxed);
}

/* A batch was given its offsets. */
static ALWAYS_INLINE void
log_count_append(struct log *log, struct partition *partition, uint64_t records, uint64_t bytes)
{
    if (LIKELY(log->config.metrics != NULL)) {
        metrics_add(log->config.metrics, METRIC_RECORDS_APPENDED, records);
        metrics_add(log->config.metrics, METRIC_BYTES_APPENDED, bytes);
        metrics_add(log->config.metrics, METRIC_BATCHES_APPENDED, 1);
    }
    if (LIKELY(log->config.partition_metrics != NULL)) {
        struct metrics_partition *to =
            &log->config.partition_metrics[partition_slot(log, partition)];
        metrics_bump(&to->records_in, records);
        metrics_bump(&to->bytes_in, bytes);
        metrics_bump(&to->batches_in, 1);
    }
}

/* log_metrics.c */

/* A batch was not taken; by reason. */
void log_count_refusal(struct log *log, enum rc rc);
/* An append was held back. Told once until the next batch is taken: the same batch is offered again
 * in every poll. */
void log_count_pressure(struct log *log, enum metric_pressure cause);
/* The only way in which a partition's state changes: keeps the counts of states. */
void partition_move(struct log *log, struct partition *partition, enum partition_state next);
/* All values of a slot anew: its partition is new, or was recovered. */
void log_publish_partition(struct log *log, const struct partition *partition);
/* Gauges of the tile; once per poll. */
void log_publish(struct log *log);

#endif
