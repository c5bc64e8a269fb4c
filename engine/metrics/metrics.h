/* Counters of a tile, and how they are told.
 *
 * Each tile owns one struct metrics_tile and alone writes it, with relaxed stores and no locked
 * instruction; anyone may read at any time and sees values that are single-word true and a little
 * old. Names and meanings stand in metrics.def, and for people in METRICS.md. No value is ever
 * reset.
 *
 *   metrics_init(m, METRICS_LOG, "log0");
 *   metrics_add(m, METRIC_BATCHES_APPENDED, 1);
 *   metrics_set(m, METRIC_PARTITIONS_FENCED, fenced_count);
 *   metrics_add_label(m, CONNECTIONS_CLOSED, METRIC_CLOSED_IDLE, 1);
 *   metrics_record(m, METRIC_COMMIT_GROUP_LATENCY, done_ns - begin_ns);
 *
 * The inline functions run on the owning core, allocate nothing and never block: one load and one
 * store. Exporting runs on the control tile's thread, off the engine cores. */
#ifndef EAGRE_ENGINE_METRICS_METRICS_H
#define EAGRE_ENGINE_METRICS_METRICS_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/metrics/histogram.h"

#include <stdatomic.h>

enum metrics_owner {
    METRICS_LOG = BIT(0),
    METRICS_GATE = BIT(1),
    METRICS_NET = BIT(2),
    METRICS_CONTROL = BIT(3),
    METRICS_EXCHANGE = BIT(4),
    METRICS_COMPACT = BIT(5), /* writes none of its own: the log tile counts for it */
};

/* A metric's constant is the slot of its first value; METRIC_x_LAST that of its last. */
enum metric {
#define METRIC(id, name, kind, owners, label, count, words, about) \
    METRIC_##id, METRIC_##id##_LAST = METRIC_##id + (count)-1,
#include "engine/metrics/metrics.def"
    METRICS_VALUE_COUNT
};

enum metric_histogram {
#define HISTOGRAM(id, name, unit, owners, about) METRIC_##id,
#include "engine/metrics/metrics.def"
    METRICS_HISTOGRAM_COUNT
};

/* Values of one committed offset. */
enum metric_group {
#define GROUP_METRIC(id, name, unit, about) METRIC_GROUP_##id,
#include "engine/metrics/metrics.def"
    METRICS_GROUP_COUNT
};

/* Label values, in the order of the words in metrics.def. */
enum metric_refused {
    METRIC_REFUSED_SEQUENCE,
    METRIC_REFUSED_EPOCH,
    METRIC_REFUSED_CORRUPT,
    METRIC_REFUSED_INVALID,
    METRIC_REFUSED_TOO_LARGE,
    METRIC_REFUSED_TIMESTAMP,
    METRIC_REFUSED_SPACE,
    METRIC_REFUSED_STORAGE,
    METRIC_REFUSED_UNKNOWN,
    METRIC_REFUSED_LIMIT,
    METRIC_REFUSED_TRANSACTION,
};
enum metric_turned_away {
    METRIC_TURNED_AWAY_LIMIT,
    METRIC_TURNED_AWAY_MEMORY,
    METRIC_TURNED_AWAY_DESCRIPTORS,
    METRIC_TURNED_AWAY_SHUTDOWN,
};
enum metric_closed {
    METRIC_CLOSED_PEER,
    METRIC_CLOSED_IDLE,
    METRIC_CLOSED_PROGRESS,
    METRIC_CLOSED_MALFORMED,
    METRIC_CLOSED_OVERSIZE,
    METRIC_CLOSED_UNSUPPORTED,
    METRIC_CLOSED_LIMIT,
    METRIC_CLOSED_SHUTDOWN,
    METRIC_CLOSED_ERROR,
};
enum metric_deleted {
    METRIC_DELETED_TIME,
    METRIC_DELETED_SIZE,
    METRIC_DELETED_TOPIC,
    METRIC_DELETED_TRIM
};
enum metric_woken { METRIC_WOKEN_DATA, METRIC_WOKEN_TIMEOUT, METRIC_WOKEN_CHANGE };
enum metric_marker { METRIC_MARKER_COMMIT, METRIC_MARKER_ABORT };

enum metric_pressure {
    METRIC_PRESSURE_CACHE,
    METRIC_PRESSURE_UNFLUSHED,
    METRIC_PRESSURE_JOURNAL,
    METRIC_PRESSURE_DISK_JOBS,
};

enum metric_dropped {
    METRIC_DROPPED_UNKNOWN,
    METRIC_DROPPED_MALFORMED,
    METRIC_DROPPED_ADDRESS,
    METRIC_DROPPED_COOKIE,
    METRIC_DROPPED_FORGED,
    METRIC_DROPPED_REPLAYED,
    METRIC_DROPPED_DUPLICATE,
    METRIC_DROPPED_CREDIT,
    METRIC_DROPPED_ROOM,
};
enum metric_lost {
    METRIC_LOST_CARRIER,
    METRIC_LOST_BUFFER,
    METRIC_LOST_MALFORMED,
    METRIC_LOST_FOREIGN,
};
enum metric_join_refused {
    METRIC_JOIN_REFUSED_LIMIT,
    METRIC_JOIN_REFUSED_CREDENTIALS,
    METRIC_JOIN_REFUSED_PROTOCOL,
    METRIC_JOIN_REFUSED_BUSY,
    METRIC_JOIN_REFUSED_TLS,
    METRIC_JOIN_REFUSED_TIMEOUT,
};

struct metrics_tile {
    _Alignas(BASE_LINE_BYTES) const char *name; /* borrowed; label tile="..." */
    enum metrics_owner owner;
    _Alignas(BASE_LINE_BYTES) _Atomic uint64_t values[METRICS_VALUE_COUNT];
    struct histogram histograms[METRICS_HISTOGRAM_COUNT];
};

/* Per partition; an array of these belongs to the log tile that owns the partitions. */
struct metrics_partition {
#define PARTITION_METRIC(field, name, kind, about) _Atomic uint64_t field;
#include "engine/metrics/metrics.def"
};

/* All values zero. name is borrowed for the tile's life. */
void metrics_init(struct metrics_tile *metrics, enum metrics_owner owner, const char *name);

/* Relaxed, pairs with nothing: a reader needs each word alone, and one core writes it. */
static ALWAYS_INLINE void
metrics_bump(_Atomic uint64_t *value, uint64_t by)
{
    uint64_t before = atomic_load_explicit(value, memory_order_relaxed);

    atomic_store_explicit(value, before + by, memory_order_relaxed);
}

static ALWAYS_INLINE void
metrics_add(struct metrics_tile *metrics, enum metric metric, uint64_t by)
{
    metrics_bump(&metrics->values[metric], by);
}

static ALWAYS_INLINE void
metrics_set(struct metrics_tile *metrics, enum metric metric, uint64_t value)
{
    atomic_store_explicit(&metrics->values[metric], value, memory_order_relaxed);
}

static ALWAYS_INLINE uint64_t
metrics_get(const struct metrics_tile *metrics, enum metric metric)
{
    return atomic_load_explicit(&metrics->values[metric], memory_order_relaxed);
}

/* The slot of a label's value; an index that is too large counts in the last. */
static ALWAYS_INLINE enum metric
metrics_slot(enum metric first, enum metric last, uint64_t index)
{
    return (enum metric)(first + min_u64(index, (uint64_t)last - (uint64_t)first));
}

/* id without METRIC_, as in metrics_add_label(m, REQUESTS, api_key, 1). */
#define metrics_add_label(metrics, id, index, by) \
    metrics_add((metrics), metrics_slot(METRIC_##id, METRIC_##id##_LAST, (index)), (by))
#define metrics_set_label(metrics, id, index, value) \
    metrics_set((metrics), metrics_slot(METRIC_##id, METRIC_##id##_LAST, (index)), (value))
#define metrics_get_label(metrics, id, index) \
    metrics_get((metrics), metrics_slot(METRIC_##id, METRIC_##id##_LAST, (index)))

static ALWAYS_INLINE void
metrics_record(struct metrics_tile *metrics, enum metric_histogram which, uint64_t value)
{
    histogram_record(&metrics->histograms[which], value);
}

/* What a caller's iterator gives for one partition. */
struct metrics_partition_row {
    const char *topic; /* NUL-ended; [a-zA-Z0-9._-], as topics are */
    uint32_t partition;
    const struct metrics_partition *values;
};

/* What a caller's iterator gives for one committed offset. */
struct metrics_group_row {
    struct bytes group; /* any bytes: what is not printable ASCII is told as \\xNN */
    struct bytes topic;
    uint32_t partition;
    uint64_t values[METRICS_GROUP_COUNT]; /* SECONDS in milliseconds */
};

struct metrics_export_config {
    const struct metrics_tile *const *tiles; /* [tile_count] */
    uint32_t tile_count;
    /* Fills *ret for partition number index, from 0 on; false ends the list. The list must not
     * change during an export. NULL: no partitions. */
    bool (*partition_at)(void *ctx, uint32_t index, struct metrics_partition_row *ret);
    /* The same for committed offsets; NULL: none. */
    bool (*group_at)(void *ctx, uint32_t index, struct metrics_group_row *ret);
    void *ctx;
};

/* Writes all values as Prometheus text, version 0.0.4. Label values of zero are left out, so that
 * an API nobody calls takes no line. out->failed tells that it did not fit: try again with more
 * room.
 *
 * Runs on: any thread but an engine core's.  Allocates: nothing.  Blocks: never. */
void metrics_export(const struct metrics_export_config *config, struct writer *out);

#endif
