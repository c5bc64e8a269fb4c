/* Datagrams per second through the socket body on loopback, one thread on each side: with
 * UDP_SEGMENT and UDP_GRO, and beside it the same without (the baseline that a bypass must beat).
 * At most WINDOW datagrams are under way, so nothing is lost and what is counted arrived. CPU is
 * that of the two threads. Loopback never cuts a super-packet; a device or a peer without UDP_GRO
 * gives less. */
#include "hw/nic/nic_socket.h"
#include "perf/micro/micro.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <time.h>

#define ROUND_NS (NS_PER_S / 2)
#define ROUNDS 5u
#define WINDOW 2048u
#define SPINS 200u

struct nic_run {
    struct nic *from;
    struct nic *to;
    uint32_t byte_count;
    _Alignas(128) _Atomic uint64_t received; /* written by the receiver */
    _Alignas(128) _Atomic uint64_t sent;     /* written by the sender */
    _Alignas(128) _Atomic bool stop;
    uint64_t sender_cpu_ns;
    uint64_t receiver_cpu_ns;
};

static uint64_t
thread_cpu_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void *
run_sender(void *ctx)
{
    struct nic_run *run = ctx;
    uint64_t sent = 0;
    uint32_t spins = 0;

    /* Both loads pair with nothing: numbers only, no data travels by them. */
    while (!atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        struct nic_sending sends[NIC_BURST];

        if (sent - atomic_load_explicit(&run->received, memory_order_relaxed) >
            WINDOW - NIC_BURST) {
            (void)nic_flush(run->from);
            if (++spins % SPINS == 0)
                sched_yield();
            continue;
        }
        uint32_t count = nic_reserve(run->from, sends, NIC_BURST);
        for (uint32_t i = 0; i < count; i++) {
            memset(sends[i].bytes, (int)sent, 16);
            sends[i].byte_count = run->byte_count;
            sends[i].peer = run->to->local;
        }
        nic_send(run->from, sends, count);
        sent += count;
        if (sent % (NIC_BURST * 8) == 0) /* as a poll of a busy tile does */
            (void)nic_flush(run->from);
        atomic_store_explicit(&run->sent, sent, memory_order_relaxed);
    }
    run->sender_cpu_ns = thread_cpu_ns();
    return NULL;
}

static void *
run_receiver(void *ctx)
{
    struct nic_run *run = ctx;
    uint64_t received = 0;
    uint32_t spins = 0;

    while (!atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        struct nic_received got[NIC_BURST];
        uint32_t count = nic_receive(run->to, got, NIC_BURST);

        nic_release(run->to, got, count);
        received += count;
        atomic_store_explicit(&run->received, received, memory_order_relaxed);
        if (count == 0 && ++spins % SPINS == 0)
            sched_yield();
    }
    run->receiver_cpu_ns = thread_cpu_ns();
    return NULL;
}

struct nic_figures {
    double rate;        /* datagrams/s that arrived */
    double sender_ns;   /* CPU per datagram */
    double receiver_ns; /* CPU per datagram */
};

static bool
nic_round(bool plain, uint32_t byte_count, struct nic_figures *ret)
{
    static struct nic_run run;
    struct nic_socket_config config = {.plain = plain};
    struct diag_trail trail = {""};
    pthread_t sender, receiver;

    memset(&run, 0, sizeof(run));
    run.byte_count = byte_count;
    if (nic_address_parse("127.0.0.1", 0, &config.local, &trail) != RC_OK ||
        nic_socket_open(&config, &run.from, &trail) != RC_OK ||
        nic_socket_open(&config, &run.to, &trail) != RC_OK) {
        printf("no socket: %s\n", trail.text);
        nic_close(run.from);
        return false;
    }
    uint64_t begin_ns = micro_now_ns();
    pthread_create(&receiver, NULL, run_receiver, &run);
    pthread_create(&sender, NULL, run_sender, &run);
    nanosleep(&(struct timespec){.tv_nsec = (long)ROUND_NS}, NULL);
    atomic_store_explicit(&run.stop, true, memory_order_relaxed);
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
    double seconds = (double)(micro_now_ns() - begin_ns) / 1e9;
    double arrived = (double)atomic_load_explicit(&run.received, memory_order_relaxed);
    *ret = (struct nic_figures){.rate = arrived / seconds,
                                .sender_ns = (double)run.sender_cpu_ns / arrived,
                                .receiver_ns = (double)run.receiver_cpu_ns / arrived};
    nic_close(run.from);
    nic_close(run.to);
    return true;
}

void
micro_nic(void)
{
    static const uint32_t sizes[] = {256, 1400};
    char what[96];

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct nic_figures trains, plain;
        double rates[2][ROUNDS], senders[2][ROUNDS], receivers[2][ROUNDS];

        /* In turn, so that what else runs on the host hits both. */
        for (uint32_t round = 0; round < ROUNDS; round++) {
            if (!nic_round(false, sizes[i], &trains) || !nic_round(true, sizes[i], &plain))
                return;
            rates[0][round] = trains.rate / 1e6;
            rates[1][round] = plain.rate / 1e6;
            senders[0][round] = trains.sender_ns;
            senders[1][round] = plain.sender_ns;
            receivers[0][round] = trains.receiver_ns;
            receivers[1][round] = plain.receiver_ns;
        }
        snprintf(what, sizeof(what), "UDP loopback, %u bytes, UDP_SEGMENT and UDP_GRO", sizes[i]);
        micro_row(what,
                  micro_median(rates[0], ROUNDS),
                  "M/s",
                  "one datagram at a time, M/s",
                  micro_median(rates[1], ROUNDS));
        micro_row("  CPU of the sender per datagram",
                  micro_median(senders[0], ROUNDS),
                  "ns",
                  "one datagram at a time, ns",
                  micro_median(senders[1], ROUNDS));
        micro_row("  CPU of the receiver per datagram",
                  micro_median(receivers[0], ROUNDS),
                  "ns",
                  "one datagram at a time, ns",
                  micro_median(receivers[1], ROUNDS));
    }
}
