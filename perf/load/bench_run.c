/* The schedule: which records are due, into which batch, when it goes out; and the books of what
 * came back. */
#include "perf/load/bench.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_SECONDS 30u /* for what is under way at the end */
#define PROGRESS_NS (NS_PER_S / 4)
#define TURN_BATCHES 64u /* of one producer between two polls */

/* A producer's own clock: record number next_record is due at begin + next_record * step. */
struct pace {
    uint64_t next_record;
    uint32_t in_flight;
    uint32_t partition; /* the next batch's, in turns */
    uint64_t random;
    bool has_held; /* a batch was due and the driver did not take it */
    struct bench_batch held;
};

struct bench_run {
    struct bench *bench;
    struct bench_result *result;
    struct pace *paces;  /* [producers] */
    uint32_t *sequences; /* [producers][partitions]: next */
    uint32_t *stored;    /* [producers][partitions] */
    double *zipf;        /* [key_count] cumulative, or NULL */
    uint32_t partitions;
    double step_ns; /* between two records of one producer; 0: closed loop */
    uint64_t begin_ns;
    uint64_t measure_ns;
    uint64_t end_ns;
    uint64_t sent_records;
    uint64_t under_way; /* batches of all producers */
    uint64_t told_ns;   /* last progress line */
    uint64_t told_records;
    bool is_measuring;
};

/* ---- what comes back */

static void
run_acked(void *ctx, const struct bench_batch *batch, bool is_stored)
{
    struct bench_run *run = ((struct bench *)ctx)->run;
    struct bench_result *result;

    if (run == NULL)
        return;
    result = run->result;
    run->paces[batch->producer].in_flight--;
    run->under_way--;
    if (!is_stored) {
        if (run->is_measuring)
            result->failed += batch->count;
        else
            result->failed_warm += batch->count;
        return;
    }
    run->stored[(size_t)batch->producer * run->partitions + batch->partition] =
        batch->first_sequence + batch->count;
    if (!run->is_measuring)
        return;
    uint64_t now_ns = process_now_ns();
    result->records += batch->count;
    result->batches++;
    for (uint32_t i = 0; i < batch->count; i++)
        histogram_add(&result->ack, now_ns - min_u64(now_ns, batch->first_ns + i * batch->step_ns));
    if (run->bench->workload.sizes == SIZE_FIXED)
        result->bytes += (uint64_t)batch->count * run->bench->workload.record_bytes;
    else
        for (uint32_t i = 0; i < batch->count; i++)
            result->bytes += bench_value_bytes(&run->bench->workload, batch->first_sequence + i);
}

static void
run_received(void *ctx, uint32_t partition, const uint8_t *value, uint32_t value_bytes)
{
    struct bench_run *run = ((struct bench *)ctx)->run;

    if (run == NULL)
        return;
    uint64_t due_ns = verify_take(&run->result->verify, partition, value, value_bytes);
    if (due_ns == 0 || !run->is_measuring)
        return;
    uint64_t now_ns = process_now_ns();
    histogram_add(&run->result->end_to_end, now_ns - min_u64(now_ns, due_ns));
}

/* ---- what goes out */

static uint64_t
draw(struct pace *pace)
{
    /* xorshift64*: fixed seeds, so that two brokers get the same keys. */
    pace->random ^= pace->random >> 12;
    pace->random ^= pace->random << 25;
    pace->random ^= pace->random >> 27;
    return pace->random * UINT64_C(2685821657736338717);
}

static uint64_t
draw_key(struct bench_run *run, struct pace *pace)
{
    const struct workload *workload = &run->bench->workload;
    uint32_t low = 0;
    uint32_t high = workload->key_count - 1;

    if (workload->keys == KEY_UNIFORM)
        return draw(pace) % workload->key_count;
    double share = (double)(draw(pace) >> 11) / (double)(UINT64_C(1) << 53);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (run->zipf[middle] < share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Records of a producer that are due now and belong into its next batch; 0: none goes out yet. */
static uint32_t
run_due(const struct bench_run *run, const struct pace *pace, uint64_t now_ns)
{
    const struct workload *workload = &run->bench->workload;

    if (run->step_ns <= 0)
        return pace->in_flight < workload->in_flight ? workload->batch_records : 0;
    double first_ns = (double)run->begin_ns + (double)pace->next_record * run->step_ns;
    double waited_ns = (double)now_ns - first_ns;
    if (waited_ns < 0)
        return 0;
    double due = floor(waited_ns / run->step_ns) + 1;
    if (due >= workload->batch_records)
        return workload->batch_records;
    return waited_ns >= workload->linger_ms * 1e6 ? (uint32_t)due : 0;
}

static struct bench_batch
run_batch(struct bench_run *run, uint32_t producer, uint32_t count, uint64_t now_ns)
{
    struct pace *pace = &run->paces[producer];
    const struct workload *workload = &run->bench->workload;
    struct bench_batch batch = {.producer = producer, .count = count, .key = BENCH_NO_KEY};

    if (workload->keys == KEY_NONE) {
        batch.partition = pace->partition;
        pace->partition = (pace->partition + 1) % run->partitions;
    } else {
        batch.key = draw_key(run, pace);
        batch.partition = (uint32_t)((batch.key * UINT64_C(0x9e3779b97f4a7c15) >> 32) %
                                     run->partitions);
    }
    uint32_t *sequence = &run->sequences[(size_t)producer * run->partitions + batch.partition];
    batch.first_sequence = *sequence;
    *sequence += count;
    if (run->step_ns > 0) {
        batch.first_ns = run->begin_ns + (uint64_t)((double)pace->next_record * run->step_ns);
        batch.step_ns = (uint64_t)run->step_ns;
    } else {
        batch.first_ns = now_ns;
    }
    pace->next_record += count;
    return batch;
}

/* Hands a producer's due batches to its driver. */
static void
run_offer(struct bench_run *run, uint32_t producer)
{
    const struct bench *bench = run->bench;
    struct pace *pace = &run->paces[producer];

    for (uint32_t i = 0; i < TURN_BATCHES; i++) {
        uint64_t now_ns = process_now_ns();
        if (!pace->has_held) {
            uint32_t count = run_due(run, pace, now_ns);
            if (count == 0 || (bench->workload.records > 0 &&
                               run->sent_records + count > bench->workload.records))
                return;
            pace->held = run_batch(run, producer, count, now_ns);
            pace->has_held = true;
        }
        bool is_open_and_full = run->step_ns > 0 && pace->in_flight >= bench->workload.in_flight;
        if (is_open_and_full || !bench->driver->send(bench->producers[producer], &pace->held)) {
            run->result->late_batches++;
            return;
        }
        pace->has_held = false;
        pace->in_flight++;
        run->under_way++;
        run->sent_records += pace->held.count;
    }
}

/* ---- the loop */

static void
run_poll(struct bench_run *run)
{
    struct bench *bench = run->bench;

    for (uint32_t i = 0; i < bench->workload.producers; i++)
        bench->is_broken |= !bench->driver->poll(bench->producers[i]);
    for (uint32_t i = 0; i < bench->workload.consumers; i++)
        bench->is_broken |= !bench->driver->poll(bench->consumers[i]);
}

/* When the next batch is due; what is late or closed loop: now. */
static uint64_t
run_next_ns(const struct bench_run *run, uint64_t now_ns)
{
    const struct workload *workload = &run->bench->workload;
    uint64_t next_ns = UINT64_MAX;

    for (uint32_t i = 0; i < workload->producers; i++) {
        const struct pace *pace = &run->paces[i];
        bool is_full = pace->in_flight >= workload->in_flight;
        if (run->step_ns <= 0 || is_full || pace->has_held)
            continue; /* an answer wakes us */
        double first_ns = (double)run->begin_ns + (double)pace->next_record * run->step_ns;
        double full_ns = first_ns + (workload->batch_records - 1) * run->step_ns;
        double linger_ns = first_ns + workload->linger_ms * 1e6;
        next_ns = min_u64(next_ns, (uint64_t)(full_ns < linger_ns ? full_ns : linger_ns));
    }
    return max_u64(next_ns, now_ns);
}

/* Sleeps until something can be done; drivers that must be polled make it return at once. */
static void
run_wait(struct bench_run *run, uint64_t until_ns)
{
    struct bench *bench = run->bench;
    struct pollfd ready[BENCH_CLIENTS_MAX];
    nfds_t count = 0;
    uint64_t now_ns = process_now_ns();
    uint64_t within_ns = 50 * NS_PER_MS;

    for (uint32_t i = 0; i < bench->workload.producers + bench->workload.consumers; i++) {
        void *connection = i < bench->workload.producers
                               ? bench->producers[i]
                               : bench->consumers[i - bench->workload.producers];
        const struct driver_wait wait = bench->driver->wait(connection);
        if (wait.fd < 0)
            return;
        within_ns = min_u64(within_ns, wait.within_ns);
        ready[count++] = (struct pollfd){.fd = wait.fd, .events = wait.events};
    }
    uint64_t next_ns = min_u64(run_next_ns(run, now_ns), min_u64(until_ns, now_ns + within_ns));
    if (next_ns <= now_ns)
        return;
    struct timespec time = {.tv_nsec = (long)(next_ns - now_ns)};
    (void)ppoll(ready, count, &time, NULL);
}

static void
run_progress(struct bench_run *run, uint64_t now_ns)
{
    const struct bench_result *result = run->result;

    if (!run->bench->shows_progress || now_ns < run->told_ns + PROGRESS_NS)
        return;
    double seconds = (double)(now_ns - run->told_ns) / 1e9;
    double whole = (double)(run->end_ns - run->begin_ns);
    fprintf(
        stderr,
        "\r%3.0f %%  %s  %.2f M records/s  p50 %.0f us  p99 %.0f us  under way %lu  failed %lu   ",
        100 * (double)(now_ns - run->begin_ns) / whole,
        run->is_measuring ? "measuring" : "warm-up  ",
        (double)(result->records - run->told_records) / seconds / 1e6,
        (double)histogram_quantile(&result->ack, 0.5) / 1e3,
        (double)histogram_quantile(&result->ack, 0.99) / 1e3,
        run->under_way,
        result->failed);
    run->told_ns = now_ns;
    run->told_records = result->records;
}

static struct usage
usage_own(void)
{
    int pid = (int)getpid();

    return usage_of(&pid, 1);
}

static struct usage
usage_since(struct usage begin, struct usage now)
{
    return (struct usage){.cpu_s = now.cpu_s - begin.cpu_s,
                          .rss_bytes = now.rss_bytes,
                          .switches = now.switches - begin.switches,
                          .written_bytes = now.written_bytes - begin.written_bytes};
}

/* Until what is under way is answered, and consumers have what was stored, or time is over. */
static void
run_drain(struct bench_run *run)
{
    const struct workload *workload = &run->bench->workload;
    uint64_t end_ns = process_now_ns() + DRAIN_SECONDS * NS_PER_S;
    uint64_t stored = 0;

    while (run->under_way > 0 && process_now_ns() < end_ns && !run->bench->is_broken) {
        run_poll(run);
        run_wait(run, end_ns);
    }
    for (size_t i = 0; i < (size_t)workload->producers * run->partitions; i++)
        stored += run->stored[i];
    const struct verify *verify = &run->result->verify;
    while (workload->consumers > 0 && verify->received + verify->lost < stored &&
           process_now_ns() < end_ns && !run->bench->is_broken) {
        run_poll(run);
        run_wait(run, end_ns);
    }
    if (workload->consumers > 0)
        verify_end(&run->result->verify, run->stored);
}

static bool
run_is_over(const struct bench_run *run, uint64_t now_ns)
{
    uint64_t wanted = run->bench->workload.records;

    return now_ns >= run->end_ns || run->bench->is_broken ||
           (wanted > 0 && run->sent_records + run->bench->workload.batch_records > wanted);
}

static void
run_loop(struct bench_run *run)
{
    struct bench *bench = run->bench;
    struct usage client = {0};
    struct usage server = {0};
    double stolen_s = 0;
    uint64_t now_ns;

    while (!run_is_over(run, now_ns = process_now_ns())) {
        if (!run->is_measuring && now_ns >= run->measure_ns) {
            client = usage_own();
            server = usage_of(bench->server_pids, bench->server_pid_count);
            stolen_s = usage_stolen_s();
            run->is_measuring = true;
            run->measure_ns = now_ns = process_now_ns();
        }
        for (uint32_t i = 0; i < bench->workload.producers; i++)
            run_offer(run, i);
        run_poll(run);
        run_progress(run, now_ns);
        run_wait(run, run->end_ns);
    }
    now_ns = process_now_ns();
    run->result->elapsed_s = (double)(now_ns - run->measure_ns) / 1e9;
    run->result->client = usage_since(client, usage_own());
    run->result->server = usage_since(server,
                                      usage_of(bench->server_pids, bench->server_pid_count));
    run->result->stolen_s = usage_stolen_s() - stolen_s;
    run->is_measuring = false;
    run_drain(run);
    if (bench->shows_progress)
        fprintf(stderr, "\r%100s\r", "");
}

static double *
zipf_table(const struct workload *workload)
{
    double *table = malloc(workload->key_count * sizeof(*table));
    double sum = 0;

    for (uint32_t i = 0; table != NULL && i < workload->key_count; i++)
        table[i] = sum += 1 / pow(i + 1, workload->zipf_exponent);
    for (uint32_t i = 0; table != NULL && i < workload->key_count; i++)
        table[i] /= sum;
    return table;
}

static bool
run_init(struct bench_run *run, struct bench *bench, struct bench_result *result)
{
    const struct workload *workload = &bench->workload;
    size_t places = (size_t)workload->producers * workload->topics * workload->partitions + 1;

    *run = (struct bench_run){
        .bench = bench, .result = result, .partitions = workload->topics * workload->partitions};
    run->paces = calloc(workload->producers + 1, sizeof(*run->paces));
    run->sequences = calloc(places, sizeof(*run->sequences));
    run->stored = calloc(places, sizeof(*run->stored));
    if (workload->keys == KEY_ZIPF)
        run->zipf = zipf_table(workload);
    for (uint32_t i = 0; run->paces != NULL && i < workload->producers; i++) {
        run->paces[i].partition = i % run->partitions;
        run->paces[i].random = UINT64_C(0x2545f4914f6cdd1d) * (i + 1);
    }
    return run->paces != NULL && run->sequences != NULL && run->stored != NULL &&
           (run->zipf != NULL || workload->keys != KEY_ZIPF) &&
           verify_init(&result->verify, workload->producers, run->partitions);
}

bool
bench_run(struct bench *bench, struct bench_result *ret)
{
    const struct workload *workload = &bench->workload;
    struct bench_run run;

    memset(ret, 0, sizeof(*ret));
    bool is_ready = run_init(&run, bench, ret);
    ret->is_open_loop = workload->rate > 0;
    ret->rate = workload->rate;
    if (is_ready) {
        run.step_ns = workload->rate > 0 ? 1e9 * workload->producers / workload->rate : 0;
        run.begin_ns = process_now_ns();
        run.measure_ns = run.begin_ns + (uint64_t)(workload->warmup_seconds * 1e9);
        run.end_ns = run.measure_ns + (uint64_t)(workload->seconds * 1e9);
        run.told_ns = run.begin_ns;
        bench->run = &run;
        run_loop(&run);
        bench->run = NULL;
    }
    free(ret->verify.expected);
    ret->verify.expected = NULL;
    free(run.paces);
    free(run.sequences);
    free(run.stored);
    free(run.zipf);
    return is_ready && !bench->is_broken;
}

/* ---- connections */

bool
bench_open(struct bench *bench)
{
    const struct workload *workload = &bench->workload;

    bench->config.workload = workload;
    bench->config.sink = (struct bench_sink){
        .ctx = bench, .acked = run_acked, .received = run_received};
    bench->producers = calloc(workload->producers + 1, sizeof(void *));
    bench->consumers = calloc(workload->consumers + 1, sizeof(void *));
    if (bench->producers == NULL || bench->consumers == NULL ||
        !bench->driver->prepare(&bench->config))
        return false;
    for (uint32_t i = 0; i < workload->consumers; i++)
        if ((bench->consumers[i] = bench->driver->open_consumer(&bench->config, i)) == NULL)
            return false;
    for (uint32_t i = 0; i < workload->producers; i++)
        if ((bench->producers[i] = bench->driver->open_producer(&bench->config, i)) == NULL)
            return false;
    return true;
}

void
bench_close(struct bench *bench)
{
    for (uint32_t i = 0; bench->producers != NULL && i < bench->workload.producers; i++)
        if (bench->producers[i] != NULL)
            bench->driver->close(bench->producers[i]);
    for (uint32_t i = 0; bench->consumers != NULL && i < bench->workload.consumers; i++)
        if (bench->consumers[i] != NULL)
            bench->driver->close(bench->consumers[i]);
    free(bench->producers);
    free(bench->consumers);
}
