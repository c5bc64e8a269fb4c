/* The less frequent half of what a log tile counts. */
#include "log/append/log_metrics.h"

void
log_count_refusal(struct log *log, enum rc rc)
{
    static const uint8_t reasons[] = {
        [RC_SEQUENCE_OUT_OF_ORDER] = METRIC_REFUSED_SEQUENCE + 1,
        [RC_PRODUCER_EPOCH_STALE] = METRIC_REFUSED_EPOCH + 1,
        [RC_BATCH_CORRUPT] = METRIC_REFUSED_CORRUPT + 1,
        [RC_BATCH_INVALID] = METRIC_REFUSED_INVALID + 1,
        [RC_BATCH_TOO_LARGE] = METRIC_REFUSED_TOO_LARGE + 1,
        [RC_BATCH_TIMESTAMP] = METRIC_REFUSED_TIMESTAMP + 1,
        [RC_NO_SPACE] = METRIC_REFUSED_SPACE + 1,
        [RC_UNKNOWN_PARTITION] = METRIC_REFUSED_UNKNOWN + 1,
        [RC_LIMIT] = METRIC_REFUSED_LIMIT + 1,
        [RC_TXN_STATE] = METRIC_REFUSED_TRANSACTION + 1,
        [RC_COORDINATOR_FENCED] = METRIC_REFUSED_TRANSACTION + 1,
    };
    uint32_t reason = METRIC_REFUSED_STORAGE; /* fenced, halted, stopping */

    if ((uint32_t)rc < ARRAY_COUNT(reasons) && reasons[rc] != 0)
        reason = reasons[rc] - 1u;
    log_count_label(log, BATCHES_REFUSED, reason, 1);
}

void
log_count_pressure(struct log *log, enum metric_pressure cause)
{
    if (log->is_held)
        return;
    log->is_held = true;
    log_count_label(log, BACKPRESSURE, cause, 1);
}

static uint64_t
partition_state_number(const struct partition *partition)
{
    switch (partition->state) {
    case PARTITION_FENCED:
        return 1;
    case PARTITION_HALTED:
        return 2;
    default:
        return 0;
    }
}

void
log_publish_partition(struct log *log, const struct partition *partition)
{
    struct metrics_partition *to;

    if (log->config.partition_metrics == NULL)
        return;
    to = &log->config.partition_metrics[partition_slot(log, partition)];
    /* Relaxed: each value is told for itself. */
    atomic_store_explicit(&to->records_in, 0, memory_order_relaxed);
    atomic_store_explicit(&to->bytes_in, 0, memory_order_relaxed);
    atomic_store_explicit(&to->batches_in, 0, memory_order_relaxed);
    atomic_store_explicit(&to->state, partition_state_number(partition), memory_order_relaxed);
    log_publish_offsets(log, partition);
}

void
partition_move(struct log *log, struct partition *partition, enum partition_state next)
{
    log->state_counts[partition->state]--;
    log->state_counts[next]++;
    partition->state = (uint8_t)next;
    if (log->config.partition_metrics != NULL)
        atomic_store_explicit(&log->config.partition_metrics[partition_slot(log, partition)].state,
                              partition_state_number(partition),
                              memory_order_relaxed);
}

void
log_publish(struct log *log)
{
    struct metrics_tile *metrics = log->config.metrics;
    uint64_t unflushed = 0;

    if (metrics == NULL)
        return;
    if (log->unflushed < log->tail.next)
        unflushed = log->ring.head - tail_at(&log->tail, log->unflushed)->position;
    metrics_set(metrics, METRIC_CACHE_BYTES, log->ring.head - log->ring.tail);
    metrics_set(metrics, METRIC_UNFLUSHED_BYTES, unflushed);
    metrics_set(metrics, METRIC_PRODUCERS, log->producers.live);
    const struct transactions *transactions = &log->transactions;
    uint64_t since_ns = log->now_ns;
    if (transactions->first != TRANSACTION_NONE)
        since_ns = min_u64(since_ns, transactions->table[transactions->first].since_ns);
    metrics_set(metrics, METRIC_TRANSACTIONS_OPEN, transactions->open);
    metrics_set(metrics, METRIC_TRANSACTION_OLDEST_MS, (log->now_ns - since_ns) / NS_PER_MS);
    metrics_set(metrics, METRIC_TRANSACTIONS_ABORTED_KEPT, transactions->aborted_live);
    metrics_set(metrics, METRIC_PARTITIONS_ONLINE, log->state_counts[PARTITION_OPEN]);
    metrics_set(metrics, METRIC_PARTITIONS_FENCED, log->state_counts[PARTITION_FENCED]);
    metrics_set(metrics, METRIC_PARTITIONS_HALTED, log->state_counts[PARTITION_HALTED]);
}
