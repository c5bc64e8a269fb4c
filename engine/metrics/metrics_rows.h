/* The table of metrics.def as rows, for the exporter and the page; inside this folder only. */
#ifndef EAGRE_ENGINE_METRICS_METRICS_ROWS_H
#define EAGRE_ENGINE_METRICS_METRICS_ROWS_H

#include "engine/metrics/metrics.h"

/* Kafka API keys from 0 on; later ones are shown as numbers. */
#define METRIC_API_WORDS                                                                           \
    "Produce|Fetch|ListOffsets|Metadata|LeaderAndIsr|StopReplica|UpdateMetadata|"                  \
    "ControlledShutdown|OffsetCommit|OffsetFetch|FindCoordinator|JoinGroup|Heartbeat|LeaveGroup|"  \
    "SyncGroup|DescribeGroups|ListGroups|SaslHandshake|ApiVersions|CreateTopics|DeleteTopics|"     \
    "DeleteRecords|InitProducerId|OffsetForLeaderEpoch|AddPartitionsToTxn|AddOffsetsToTxn|EndTxn|" \
    "WriteTxnMarkers|TxnOffsetCommit|DescribeAcls|CreateAcls|DeleteAcls|DescribeConfigs|"          \
    "AlterConfigs|AlterReplicaLogDirs|DescribeLogDirs|SaslAuthenticate|CreatePartitions"

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE };
enum metric_unit { METRIC_UNIT_SECONDS, METRIC_UNIT_BYTES, METRIC_UNIT_COUNT };

struct metric_row {
    const char *name;
    const char *about;
    const char *label;
    const char *words;
    uint32_t first; /* slot */
    uint32_t count;
    uint32_t owners;
    enum metric_kind kind;
};

struct metric_histogram_row {
    const char *name;
    const char *about;
    enum metric_unit unit;
    uint32_t owners;
};

struct metric_partition_row {
    const char *name;
    const char *about;
    enum metric_kind kind;
    size_t offset; /* of an _Atomic uint64_t in struct metrics_partition */
};

struct metric_group_row {
    const char *name;
    const char *about;
    enum metric_unit unit;
};

/* Owners are written without their prefix in metrics.def. */
enum {
    LOG = METRICS_LOG,
    GATE = METRICS_GATE,
    NET = METRICS_NET,
    CONTROL = METRICS_CONTROL,
    EXCHANGE = METRICS_EXCHANGE,
    EVERY = METRICS_LOG | METRICS_GATE | METRICS_NET | METRICS_CONTROL | METRICS_EXCHANGE |
            METRICS_COMPACT,
};

static const struct metric_row metric_rows[] = {
#define METRIC(id, name, kind, owners, label, count, words, about) \
    {name, about, label, words, METRIC_##id, count, owners, METRIC_KIND_##kind},
#include "engine/metrics/metrics.def"
};

static const struct metric_histogram_row metric_histogram_rows[] = {
#define HISTOGRAM(id, name, unit, owners, about) {name, about, METRIC_UNIT_##unit, owners},
#include "engine/metrics/metrics.def"
};

static const struct metric_partition_row metric_partition_rows[] = {
#define PARTITION_METRIC(field, name, kind, about) \
    {name, about, METRIC_KIND_##kind, offsetof(struct metrics_partition, field)},
#include "engine/metrics/metrics.def"
};

static const struct metric_group_row metric_group_rows[] = {
#define GROUP_METRIC(id, name, unit, about) {name, about, METRIC_UNIT_##unit},
#include "engine/metrics/metrics.def"
};

#endif
