/* The four roles. Every loop: a burst, the work, one flush. */
#include "perf/bypass/bench.h"

#include "engine/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <x86intrin.h>

#define QUIET_NS (500 * NS_PER_MS) /* a sink ends when nothing has come for so long */
#define LINGER_NS (100 * NS_PER_MS)
#define CLOCK_POLLS 1024u
#define PING_SAMPLES 200000u
#define PING_LOST_NS (100 * NS_PER_MS)

uint64_t
bench_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- sink ---- */

static uint32_t
count_burst(struct bench *bench, uint64_t *expected)
{
    struct nic_received received[NIC_BURST];
    uint32_t count = nic_receive(bench->nic, received, NIC_BURST);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = *expected;
        if (received[i].byte_count >= sizeof(number))
            number = get_u64_le(received[i].bytes);
        bench->result.gaps += number != *expected;
        *expected = number + 1;
        bench->result.bytes += received[i].byte_count;
    }
    nic_release(bench->nic, received, count);
    bench->result.packets += count;
    return count;
}

/* The clock is looked at every CLOCK_POLLS polls only: no system call, no cost. */
static void
run_sink(struct bench *bench)
{
    struct bench_result *result = &bench->result;
    uint64_t end_ns = bench_now_ns() + bench->options.seconds * NS_PER_S;
    uint64_t expected = 0;
    uint64_t seen_packets = 0;

    while (!bench_is_stopped()) {
        uint64_t from_tsc = __rdtsc();
        uint32_t count = count_burst(bench, &expected);
        if (count != 0) {
            result->busy_tsc += __rdtsc() - from_tsc;
            result->busy_polls++;
            if (result->first_ns == 0)
                result->first_ns = bench_now_ns();
        } else {
            _mm_pause();
        }
        if (++result->polls % CLOCK_POLLS != 0)
            continue;
        (void)nic_flush(bench->nic);
        uint64_t now_ns = bench_now_ns();
        if (result->packets != seen_packets) {
            seen_packets = result->packets;
            result->last_ns = now_ns;
        } else if (result->last_ns != 0 && now_ns - result->last_ns > QUIET_NS) {
            break;
        }
        if (now_ns > end_ns)
            break;
    }
}

/* ---- source ---- */

static uint32_t
send_burst(struct bench *bench, uint64_t *number, uint32_t wanted)
{
    struct nic_sending sends[NIC_BURST];
    uint32_t count = nic_reserve(bench->nic, sends, wanted);

    for (uint32_t i = 0; i < count; i++) {
        sends[i].byte_count = bench->options.bytes;
        sends[i].peer = bench->options.peer;
        put_u64_le(sends[i].bytes, (*number)++);
    }
    nic_send(bench->nic, sends, count);
    return count;
}

/* Never sends into a full software queue: what is counted as sent has left, and arrives where the
 * carrier loses nothing. */
static void
run_source(struct bench *bench)
{
    struct bench_result *result = &bench->result;
    struct nic_received received[NIC_BURST];
    uint64_t number = 0;
    uint64_t begin_ns = bench_now_ns();
    uint64_t end_ns = begin_ns + bench->options.seconds * NS_PER_S;
    uint64_t now_ns = begin_ns;

    result->first_ns = begin_ns;
    while (!bench_is_stopped() && now_ns < end_ns) {
        uint64_t from_tsc = __rdtsc();
        bool waits = nic_flush(bench->nic);
        uint32_t rate = bench->options.packets_per_second;
        bool is_early = rate != 0 && number > (now_ns - begin_ns) * rate / NS_PER_S;
        if (!waits && !is_early) {
            uint32_t count = send_burst(bench, &number, NIC_BURST);
            (void)nic_flush(bench->nic);
            result->busy_tsc += __rdtsc() - from_tsc;
            result->busy_polls++;
            result->bytes += (uint64_t)count * bench->options.bytes;
        } else {
            _mm_pause();
        }
        if (++result->polls % 64 == 0 || rate != 0 || waits) {
            uint32_t count = nic_receive(bench->nic, received, NIC_BURST);
            nic_release(bench->nic, received, count);
            now_ns = bench_now_ns();
        }
    }
    result->packets = number;
    result->last_ns = now_ns;
    /* The other side must have fetched the last ones before the port is closed. */
    for (uint64_t stop_ns = now_ns + LINGER_NS; now_ns < stop_ns; now_ns = bench_now_ns())
        (void)nic_flush(bench->nic);
}

/* ---- echo ---- */

static void
run_echo(struct bench *bench)
{
    struct nic_received received[NIC_BURST];
    struct nic_sending sends[NIC_BURST];
    uint64_t end_ns = bench_now_ns() + bench->options.seconds * NS_PER_S;

    while (!bench_is_stopped()) {
        uint32_t count = nic_receive(bench->nic, received, NIC_BURST);
        uint32_t room = count == 0 ? 0 : nic_reserve(bench->nic, sends, count);
        for (uint32_t i = 0; i < room; i++) {
            sends[i].byte_count = min_u32(received[i].byte_count, sends[i].capacity);
            bytes_copy(sends[i].bytes, sends[i].capacity, received[i].bytes, sends[i].byte_count);
            sends[i].peer = received[i].peer;
        }
        nic_release(bench->nic, received, count);
        nic_send(bench->nic, sends, room);
        (void)nic_flush(bench->nic);
        bench->result.packets += count;
        if (++bench->result.polls % CLOCK_POLLS == 0 && bench_now_ns() > end_ns)
            break;
        if (count == 0)
            _mm_pause();
    }
}

/* ---- ping ---- */

static int
compare_u64(const void *a, const void *b)
{
    uint64_t left;
    uint64_t right;

    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return left < right ? -1 : left > right;
}

static void
summarise(struct bench *bench, uint64_t *samples, uint64_t count)
{
    uint64_t *row = bench->result.round_trips_ns;

    qsort(samples, count, sizeof(samples[0]), compare_u64);
    row[0] = count;
    if (count == 0)
        return;
    row[1] = samples[0];
    row[2] = samples[count / 2];
    row[3] = samples[count * 99 / 100];
    row[4] = samples[count - 1];
}

/* True when the answer with this number came in time. */
static bool
await_answer(struct bench *bench, uint64_t number, uint64_t sent_ns, uint64_t *ret_ns)
{
    struct nic_received received[NIC_BURST];
    bool found = false;

    do {
        uint32_t count = nic_receive(bench->nic, received, NIC_BURST);
        for (uint32_t i = 0; i < count; i++)
            found |= received[i].byte_count >= 8 && get_u64_le(received[i].bytes) == number;
        nic_release(bench->nic, received, count);
        (void)nic_flush(bench->nic);
        *ret_ns = bench_now_ns();
    } while (!found && *ret_ns - sent_ns < PING_LOST_NS && !bench_is_stopped());
    return found;
}

static void
run_ping(struct bench *bench)
{
    uint64_t *samples = malloc(PING_SAMPLES * sizeof(samples[0]));
    uint64_t end_ns = bench_now_ns() + bench->options.seconds * NS_PER_S;
    uint64_t number = 0;
    uint64_t count = 0;
    uint64_t now_ns = 0;

    while (samples != NULL && now_ns < end_ns && count < PING_SAMPLES && !bench_is_stopped()) {
        uint64_t sent_ns = bench_now_ns();
        if (send_burst(bench, &number, 1) == 0)
            break;
        (void)nic_flush(bench->nic);
        if (await_answer(bench, number - 1, sent_ns, &now_ns))
            samples[count++] = now_ns - sent_ns;
        else
            bench->result.gaps++;
    }
    bench->result.packets = number;
    if (samples != NULL)
        summarise(bench, samples, count);
    free(samples);
}

void
bench_run(struct bench *bench)
{
    static void (*const roles[])(struct bench *) = {
        [BENCH_SINK] = run_sink,
        [BENCH_SOURCE] = run_source,
        [BENCH_ECHO] = run_echo,
        [BENCH_PING] = run_ping,
    };
    struct rusage before;
    struct rusage after;

    (void)getrusage(RUSAGE_THREAD, &before);
    roles[bench->options.role](bench);
    (void)getrusage(RUSAGE_THREAD, &after);
    struct bench_result *result = &bench->result;
    result->user_us = (uint64_t)((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                                 (after.ru_utime.tv_usec - before.ru_utime.tv_usec));
    result->system_us = (uint64_t)((after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
                                   (after.ru_stime.tv_usec - before.ru_stime.tv_usec));
    result->voluntary_switches = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
    result->forced_switches = (uint64_t)(after.ru_nivcsw - before.ru_nivcsw);
}
