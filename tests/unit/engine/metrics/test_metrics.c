/* Goal: what is counted is told under its name, in a form that Prometheus reads, and nothing from
 * outside can count in a foreign place.
 * Method: too large labels and too small buffers first; then the text of a few tiles line by line.
 */
#include "engine/metrics/metrics.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct metrics_tile log_tile;
static struct metrics_tile gate_tile;
static const struct metrics_tile *const tiles[] = {&log_tile, &gate_tile};
static char text[1 << 18];

static void
set_up(void)
{
    metrics_init(&log_tile, METRICS_LOG, "log0");
    metrics_init(&gate_tile, METRICS_GATE, "gate0");
}

static bool
one_partition(void *ctx, uint32_t index, struct metrics_partition_row *ret)
{
    *ret = (struct metrics_partition_row){.topic = "orders", .partition = 3, .values = ctx};
    return index == 0;
}

static void
export_all(struct metrics_partition *partition)
{
    struct metrics_export_config config = {.tiles = tiles,
                                           .tile_count = ARRAY_COUNT(tiles),
                                           .partition_at = partition != NULL ? one_partition : NULL,
                                           .ctx = partition};
    struct writer out = writer_over(text, sizeof(text) - 1);

    metrics_export(&config, &out);
    cr_assert(!out.failed);
    text[writer_count(&out)] = '\0';
}

#define HAS(line) cr_expect_not_null(strstr(text, line), "no '%s'", line)
#define HAS_NOT(line) cr_expect_null(strstr(text, line), "'%s' is there", line)

TestSuite(metrics, .init = set_up, .timeout = 10);

Test(metrics, counts_a_label_that_is_too_large_in_the_last, .timeout = 10)
{
    metrics_add_label(&gate_tile, REQUESTS, 32767, 1);
    metrics_add_label(&gate_tile, REQUEST_ERRORS, (uint64_t)(int64_t)-1, 1);
    cr_assert_eq(metrics_get(&gate_tile, METRIC_REQUESTS_LAST), 1u);
    cr_assert_eq(metrics_get(&gate_tile, METRIC_REQUEST_ERRORS_LAST), 1u);
    cr_assert_eq(metrics_get(&gate_tile, METRIC_FETCHES_PARKED), 0u);
}

Test(metrics, says_when_the_buffer_is_too_small, .timeout = 10)
{
    struct metrics_export_config config = {.tiles = tiles, .tile_count = ARRAY_COUNT(tiles)};

    export_all(NULL);
    for (size_t room = 0; room < strlen(text); room += 97) {
        struct writer out = writer_over(text, room);
        metrics_export(&config, &out);
        cr_assert(out.failed, "%zu bytes were enough", room);
    }
}

Test(metrics, exports_counters_of_their_owners_only, .timeout = 10)
{
    metrics_add(&log_tile, METRIC_RECORDS_APPENDED, 40);
    metrics_add(&log_tile, METRIC_RECORDS_APPENDED, 2);
    metrics_set(&gate_tile, METRIC_CONNECTIONS_OPEN, 7);
    export_all(NULL);
    HAS("# TYPE eagre_records_appended_total counter\n"
        "eagre_records_appended_total{tile=\"log0\"} 42\n");
    HAS_NOT("eagre_records_appended_total{tile=\"gate0\"}");
    HAS("# TYPE eagre_connections_open gauge\neagre_connections_open{tile=\"gate0\"} 7\n");
    HAS("eagre_tile_polls_total{tile=\"log0\"} 0\neagre_tile_polls_total{tile=\"gate0\"} 0\n");
    HAS_NOT("eagre_partition_state");
}

Test(metrics, exports_labels_by_word_and_leaves_zeros_out, .timeout = 10)
{
    metrics_add_label(&gate_tile, REQUESTS, 18, 5);
    metrics_add_label(&gate_tile, REQUESTS, 60, 1);
    metrics_add_label(&gate_tile, CONNECTIONS_CLOSED, METRIC_CLOSED_ERROR, 2);
    metrics_add_label(&gate_tile, CONNECTIONS_CLOSED, METRIC_CLOSED_PEER, 1);
    metrics_add_label(&log_tile, BATCHES_REFUSED, METRIC_REFUSED_TRANSACTION, 3);
    metrics_add_label(&log_tile, SEGMENTS_DELETED, METRIC_DELETED_TOPIC, 4);
    metrics_add_label(&log_tile, BACKPRESSURE, METRIC_PRESSURE_DISK_JOBS, 4);
    metrics_add_label(&gate_tile, CONNECTIONS_REFUSED, METRIC_TURNED_AWAY_SHUTDOWN, 4);
    metrics_add_label(&gate_tile, FETCHES_WOKEN, METRIC_WOKEN_CHANGE, 4);
    metrics_set(&log_tile, METRIC_RING_USED, 9);
    export_all(NULL);
    HAS("eagre_requests_total{tile=\"gate0\",api=\"ApiVersions\"} 5\n");
    HAS("eagre_requests_total{tile=\"gate0\",api=\"60\"} 1\n");
    HAS_NOT("api=\"Produce\"");
    HAS("eagre_connections_closed_total{tile=\"gate0\",reason=\"peer\"} 1\n");
    /* The last constant of each enum meets the last word: orders agree. */
    HAS("eagre_connections_closed_total{tile=\"gate0\",reason=\"error\"} 2\n");
    HAS("eagre_batches_refused_total{tile=\"log0\",reason=\"transaction\"} 3\n");
    HAS("eagre_segments_deleted_total{tile=\"log0\",cause=\"topic\"} 4\n");
    HAS("eagre_append_backpressure_total{tile=\"log0\",cause=\"disk_jobs\"} 4\n");
    HAS("eagre_connections_refused_total{tile=\"gate0\",reason=\"shutdown\"} 4\n");
    HAS("eagre_fetches_woken_total{tile=\"gate0\",cause=\"change\"} 4\n");
    HAS("eagre_ring_used_slots{tile=\"log0\"} 9\n");
}

Test(metrics, has_as_many_words_as_constants, .timeout = 10)
{
    cr_assert_eq(METRIC_CONNECTIONS_CLOSED_LAST - METRIC_CONNECTIONS_CLOSED, METRIC_CLOSED_ERROR);
    cr_assert_eq(METRIC_BATCHES_REFUSED_LAST - METRIC_BATCHES_REFUSED, METRIC_REFUSED_TRANSACTION);
    cr_assert_eq(METRIC_SEGMENTS_DELETED_LAST - METRIC_SEGMENTS_DELETED, METRIC_DELETED_TRIM);
    cr_assert_eq(METRIC_BACKPRESSURE_LAST - METRIC_BACKPRESSURE, METRIC_PRESSURE_DISK_JOBS);
    cr_assert_eq(METRIC_FETCHES_WOKEN_LAST - METRIC_FETCHES_WOKEN, METRIC_WOKEN_CHANGE);
    cr_assert_eq(METRIC_CONNECTIONS_REFUSED_LAST - METRIC_CONNECTIONS_REFUSED,
                 METRIC_TURNED_AWAY_SHUTDOWN);
}

Test(metrics, exports_histograms_cumulatively, .timeout = 10)
{
    metrics_record(&log_tile, METRIC_COMMIT_GROUP_LATENCY, 1000);
    metrics_record(&log_tile, METRIC_COMMIT_GROUP_LATENCY, 1500);
    metrics_record(&log_tile, METRIC_COMMIT_GROUP_LATENCY, NS_PER_S * 3600);
    metrics_record(&log_tile, METRIC_COMMIT_GROUP_BYTES, 4096);
    export_all(NULL);
    HAS("# TYPE eagre_commit_group_latency_seconds histogram\n"
        "eagre_commit_group_latency_seconds_bucket{tile=\"log0\",le=\"0.000001023\"} 1\n"
        "eagre_commit_group_latency_seconds_bucket{tile=\"log0\",le=\"0.000002047\"} 2\n");
    HAS("eagre_commit_group_latency_seconds_bucket{tile=\"log0\",le=\"+Inf\"} 3\n"
        "eagre_commit_group_latency_seconds_sum{tile=\"log0\"} 3600.000002500\n"
        "eagre_commit_group_latency_seconds_count{tile=\"log0\"} 3\n");
    HAS("eagre_commit_group_bytes_bucket{tile=\"log0\",le=\"4095\"} 0\n"
        "eagre_commit_group_bytes_bucket{tile=\"log0\",le=\"8191\"} 1\n");
    HAS("eagre_commit_group_bytes_sum{tile=\"log0\"} 4096\n");
}

Test(metrics, exports_partitions_by_topic_and_number, .timeout = 10)
{
    static struct metrics_partition partition;

    metrics_bump(&partition.records_in, 12);
    metrics_bump(&partition.high_watermark, 11);
    export_all(&partition);
    HAS("eagre_partition_records_in_total{topic=\"orders\",partition=\"3\"} 12\n");
    HAS("eagre_partition_high_watermark{topic=\"orders\",partition=\"3\"} 11\n");
    HAS("eagre_partition_state{topic=\"orders\",partition=\"3\"} 0\n");
}

static bool
two_offsets(void *ctx, uint32_t index, struct metrics_group_row *ret)
{
    static const char *const names[] = {"a\"b\\c\n", "caf\xc3\xa9"};

    (void)ctx;
    if (index == 2)
        return false;
    *ret = (struct metrics_group_row){
        .group = {(const uint8_t *)names[index], strlen(names[index])},
        .topic = {(const uint8_t *)"orders", 6},
        .partition = index,
        .values = {[METRIC_GROUP_LAG_RECORDS] = 7, [METRIC_GROUP_LAG_SECONDS] = 61005},
    };
    return true;
}

Test(metrics, exports_offsets_of_groups_of_any_name, .timeout = 10)
{
    struct metrics_export_config config = {
        .tiles = tiles, .tile_count = ARRAY_COUNT(tiles), .group_at = two_offsets};
    struct writer out = writer_over(text, sizeof(text) - 1);

    metrics_export(&config, &out);
    cr_assert(!out.failed);
    text[writer_count(&out)] = '\0';
    HAS("\neagre_group_lag_records{group=\"a\\\"b\\\\c\\\\x0a\",topic=\"orders\",partition=\"0\"} "
        "7\n");
    HAS("\neagre_group_lag_seconds{group=\"caf\\\\xc3\\\\xa9\",topic=\"orders\",partition=\"1\"} "
        "61.005\n");
}

Test(metrics, tells_every_family_once_with_help_and_type, .timeout = 10)
{
    char *line = text;
    char seen[256][64];
    size_t count = 0;

    export_all(NULL);
    while (line != NULL && *line != '\0') {
        char name[64];
        if (sscanf(line, "# TYPE %63s", name) == 1) {
            for (size_t i = 0; i < count; i++)
                cr_assert_str_neq(seen[i], name);
            cr_assert(count < ARRAY_COUNT(seen));
            snprintf(seen[count++], sizeof(seen[0]), "%s", name);
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    cr_assert(count > 50);
}
