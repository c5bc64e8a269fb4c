/* A run as JSON for perf/report, and as lines for people. */
#include "perf/load/bench.h"

#include <jansson.h>
#include <stdio.h>

/* Points of a percentile curve: what a plot over 1/(1 - share) needs. */
static const double shares[] = {
    0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999};

static json_t *
latency_json(const struct histogram *histogram)
{
    json_t *curve = json_array();

    if (histogram->count == 0) {
        json_decref(curve);
        return json_null();
    }
    for (size_t i = 0; i < ARRAY_COUNT(shares); i++)
        json_array_append_new(
            curve,
            json_pack("[f,f]", shares[i], (double)histogram_quantile(histogram, shares[i]) / 1e3));
    return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o}",
                     "count",
                     (json_int_t)histogram->count,
                     "p50_us",
                     (double)histogram_quantile(histogram, 0.5) / 1e3,
                     "p90_us",
                     (double)histogram_quantile(histogram, 0.9) / 1e3,
                     "p99_us",
                     (double)histogram_quantile(histogram, 0.99) / 1e3,
                     "p999_us",
                     (double)histogram_quantile(histogram, 0.999) / 1e3,
                     "p9999_us",
                     (double)histogram_quantile(histogram, 0.9999) / 1e3,
                     "max_us",
                     (double)histogram->max_ns / 1e3,
                     "precision",
                     1.0 / (1u << HISTOGRAM_SUB_BITS),
                     "curve_us",
                     curve);
}

static json_t *
usage_json(const struct usage *usage, const struct bench_result *result)
{
    double million = result->records > 0 ? (double)result->records / 1e6 : 1;

    return json_pack("{s:f,s:f,s:f,s:I,s:I,s:I}",
                     "cpu_s",
                     usage->cpu_s,
                     "cores",
                     result->elapsed_s > 0 ? usage->cpu_s / result->elapsed_s : 0.0,
                     "cpu_s_per_million",
                     usage->cpu_s / million,
                     "rss_bytes",
                     (json_int_t)usage->rss_bytes,
                     "context_switches",
                     (json_int_t)usage->switches,
                     "written_bytes",
                     (json_int_t)usage->written_bytes);
}

static json_t *
run_json(const struct bench_result *result)
{
    double seconds = result->elapsed_s > 0 ? result->elapsed_s : 1;
    double amplification = result->bytes > 0
                               ? (double)result->server.written_bytes / (double)result->bytes
                               : 0;

    return json_pack(
        "{s:s,s:f,s:f,s:I,s:I,s:I,s:f,s:f,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:f,s:f,s:{s:I,s:I,s:I,s:I}}",
        "loop",
        result->is_open_loop ? "open" : "closed",
        "rate",
        result->rate,
        "seconds",
        result->elapsed_s,
        "records",
        (json_int_t)result->records,
        "batches",
        (json_int_t)result->batches,
        "bytes",
        (json_int_t)result->bytes,
        "records_per_s",
        (double)result->records / seconds,
        "mb_per_s",
        (double)result->bytes / seconds / 1e6,
        "failed",
        (json_int_t)result->failed,
        "failed_warm",
        (json_int_t)result->failed_warm,
        "late_batches",
        (json_int_t)result->late_batches,
        "latency",
        latency_json(&result->ack),
        "end_to_end",
        latency_json(&result->end_to_end),
        "client",
        usage_json(&result->client, result),
        "server",
        usage_json(&result->server, result),
        "write_amplification",
        amplification,
        "stolen_s",
        result->stolen_s,
        "verify",
        "received",
        (json_int_t)result->verify.received,
        "lost",
        (json_int_t)result->verify.lost,
        "duplicates",
        (json_int_t)result->verify.duplicates,
        "foreign",
        (json_int_t)result->verify.foreign);
}

static json_t *
workload_json(const struct workload *workload)
{
    static const char *const size_names[] = {"fixed", "uniform"};
    static const char *const key_names[] = {"none", "uniform", "zipf"};

    return json_pack(
        "{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:i,s:f,s:i,s:f,s:s,s:s,s:f,s:i,s:f,s:f}",
        "name",
        workload->name,
        "topics",
        (int)workload->topics,
        "partitions",
        (int)workload->partitions,
        "producers",
        (int)workload->producers,
        "consumers",
        (int)workload->consumers,
        "record_bytes",
        (int)workload->record_bytes,
        "record_bytes_max",
        (int)workload->record_bytes_max,
        "sizes",
        size_names[workload->sizes],
        "keys",
        key_names[workload->keys],
        "key_count",
        (int)workload->key_count,
        "zipf_exponent",
        workload->zipf_exponent,
        "batch_records",
        (int)workload->batch_records,
        "linger_ms",
        workload->linger_ms,
        "codec",
        workload->codec,
        "durability",
        workload->durability,
        "rate",
        workload->rate,
        "in_flight",
        (int)workload->in_flight,
        "warmup_seconds",
        workload->warmup_seconds,
        "seconds",
        workload->seconds);
}

bool
result_write(const struct bench *bench,
             const struct bench_result *results,
             uint32_t count,
             const char *path)
{
    json_t *runs = json_array();

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(runs, run_json(&results[i]));
    json_t *whole = json_pack("{s:s,s:s,s:o,s:o}",
                              "driver",
                              bench->driver->name,
                              "label",
                              bench->driver->label,
                              "workload",
                              workload_json(&bench->workload),
                              "runs",
                              runs);
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    bool is_written = file != NULL && whole != NULL &&
                      json_dumpf(whole, file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    if (is_written)
        is_written = fputc('\n', file) != EOF;
    if (file != NULL && file != stdout)
        is_written = fclose(file) == 0 && is_written;
    if (!is_written)
        fprintf(stderr, "bench: cannot write %s\n", path);
    json_decref(whole);
    return is_written;
}

static void
print_latency(const char *what, const struct histogram *histogram)
{
    if (histogram->count == 0)
        return;
    printf("  %s us: p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  p99.99 %.0f  max %.0f\n",
           what,
           (double)histogram_quantile(histogram, 0.5) / 1e3,
           (double)histogram_quantile(histogram, 0.9) / 1e3,
           (double)histogram_quantile(histogram, 0.99) / 1e3,
           (double)histogram_quantile(histogram, 0.999) / 1e3,
           (double)histogram_quantile(histogram, 0.9999) / 1e3,
           (double)histogram->max_ns / 1e3);
}

void
result_print(const struct bench *bench, const struct bench_result *result)
{
    const struct workload *workload = &bench->workload;
    double seconds = result->elapsed_s > 0 ? result->elapsed_s : 1;
    double million = result->records > 0 ? (double)result->records / 1e6 : 1;

    printf("%s, %s: %s loop",
           workload->name,
           bench->driver->name,
           result->is_open_loop ? "open" : "CLOSED");
    if (result->is_open_loop)
        printf(" at %.0f records/s", result->rate);
    else
        printf(" (latency only of what could be sent)");
    printf(", durability %s\n", workload->durability);
    printf("  %.0f records/s  %.0f batches/s  %.1f MB/s  failed %lu\n",
           (double)result->records / seconds,
           (double)result->batches / seconds,
           (double)result->bytes / seconds / 1e6,
           result->failed);
    print_latency("due to acknowledged,", &result->ack);
    print_latency("due to received,    ", &result->end_to_end);
    printf(
        "  CPU s per million records: server %.3f, client %.3f; server RSS %lu MiB; written %.2f "
        "bytes per byte\n",
        result->server.cpu_s / million,
        result->client.cpu_s / million,
        result->server.rss_bytes / MIB,
        result->bytes > 0 ? (double)result->server.written_bytes / (double)result->bytes : 0.0);
    if (workload->consumers > 0)
        printf("  verified: %lu received, %lu lost, %lu twice, %lu not ours\n",
               result->verify.received,
               result->verify.lost,
               result->verify.duplicates,
               result->verify.foreign);
}
