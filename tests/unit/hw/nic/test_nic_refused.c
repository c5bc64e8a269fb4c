/* Goal: whatever the kernel answers to a flush, every datagram is sent, waits, or is counted, and
 * nothing is sent twice. Method: sendmmsg() of this program stands before the kernel's and refuses
 * what a test asks it to; loopback behind it. */
#include "hw/nic/nic_socket.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the next calls do: fail with `error` `times` times (super-packets only, or all), or take no
 * more than `most` messages. 0: as the kernel does. */
static struct {
    int error;
    uint32_t times;
    bool trains_only;
    unsigned int most;
} refuse;

int
sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    unsigned int good = 0;

    while (refuse.trains_only && good < count && messages[good].msg_hdr.msg_controllen == 0)
        good++;
    if (refuse.times > 0 && good < count) {
        if (good == 0) {
            refuse.times--;
            errno = refuse.error;
            return -1;
        }
        count = good; /* as the kernel does: up to the one that fails */
    }
    if (refuse.most > 0 && count > refuse.most)
        count = refuse.most;
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

struct ends {
    struct nic *near;
    struct nic *far;
};

static struct ends
ends_open(void)
{
    struct nic_socket_config config = {.plain = false};
    struct ends ends;

    cr_assert_eq(nic_address_parse("127.0.0.1", 0, &config.local, NULL), RC_OK);
    cr_assert_eq(nic_socket_open(&config, &ends.near, NULL), RC_OK);
    cr_assert_eq(nic_socket_open(&config, &ends.far, NULL), RC_OK);
    return ends;
}

static void
ends_close(struct ends *ends)
{
    nic_close(ends->near);
    nic_close(ends->far);
}

/* Numbered datagrams in runs of 50 of one size. */
static void
queue_some(struct ends *ends, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct nic_sending send;

        cr_assert_eq(nic_reserve(ends->near, &send, 1), 1u);
        send.byte_count = 100 + i / 50 % 7;
        memset(send.bytes, 0, send.byte_count);
        memcpy(send.bytes, &i, sizeof(i));
        send.peer = ends->far->local;
        nic_send(ends->near, &send, 1);
    }
}

/* All that is there; numbers must rise. Gives how many. */
static uint32_t
take_all(struct ends *ends)
{
    uint32_t taken = 0;
    uint32_t next = 0;

    for (int quiet = 0; quiet < 5;) {
        struct nic_received got[NIC_BURST];
        uint32_t count = nic_receive(ends->far, got, NIC_BURST);

        for (uint32_t i = 0; i < count; i++) {
            uint32_t number;

            memcpy(&number, got[i].bytes, sizeof(number));
            cr_assert_geq(number, next);
            cr_assert_eq(got[i].byte_count, 100 + number / 50 % 7);
            next = number + 1;
        }
        nic_release(ends->far, got, count);
        taken += count;
        quiet = count == 0 ? quiet + 1 : 0;
        if (count == 0)
            (void)poll(NULL, 0, 1);
    }
    return taken;
}

static uint64_t
counter(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

Test(nic_socket_flush, goes_on_one_by_one_for_good_where_no_device_sums, .timeout = 10)
{
    static const int errors[] = {EIO, EOPNOTSUPP};

    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct ends ends = ends_open();
        char text[256];

        refuse.error = errors[i];
        refuse.times = 1;
        refuse.trains_only = true;
        queue_some(&ends, 0, 300);
        cr_assert_not(nic_flush(ends.near));
        cr_assert_eq(take_all(&ends), 300u);
        cr_assert_eq(counter(&ends.near->counters.send_errors), 0u);
        cr_assert_eq(counter(&ends.near->counters.sent_packets), 300u);
        nic_socket_text(ends.near, text, sizeof(text));
        cr_assert_not_null(strstr(text, "no UDP_SEGMENT"));
        ends_close(&ends);
    }
}

Test(nic_socket_flush, keeps_what_must_wait_and_counts_it_once, .timeout = 10)
{
    static const int errors[] = {EAGAIN, ENOBUFS, ENOMEM};

    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct ends ends = ends_open();

        refuse.error = errors[i];
        refuse.times = 5;
        refuse.trains_only = false;
        queue_some(&ends, 0, 120);
        for (int tries = 0; tries < 4; tries++)
            cr_assert(nic_flush(ends.near));
        queue_some(&ends, 120, 10);
        cr_assert(nic_flush(ends.near));
        cr_assert_eq(counter(&ends.near->counters.send_queued), 130u);
        cr_assert_eq(counter(&ends.near->counters.sent_packets), 0u);
        cr_assert_not(nic_flush(ends.near));
        cr_assert_eq(take_all(&ends), 130u);
        cr_assert_eq(counter(&ends.near->counters.send_errors), 0u);
        cr_assert_eq(counter(&ends.near->counters.send_queued), 130u);
        ends_close(&ends);
    }
}

Test(nic_socket_flush, counts_what_was_refused_and_sends_the_rest, .timeout = 10)
{
    static const int errors[] = {EPERM, ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES};

    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct ends ends = ends_open();

        refuse.error = errors[i];
        refuse.times = 2;
        refuse.trains_only = false;
        queue_some(&ends, 0, 200); /* four trains; two are refused */
        cr_assert_not(nic_flush(ends.near));
        cr_assert_eq(take_all(&ends), 100u);
        cr_assert_eq(counter(&ends.near->counters.send_errors), 100u);
        cr_assert_eq(counter(&ends.near->counters.sent_packets), 100u);
        ends_close(&ends);
    }
}

Test(nic_socket_flush, is_not_troubled_by_signals_and_short_counts, .timeout = 10)
{
    struct ends ends = ends_open();

    refuse.error = EINTR;
    refuse.times = 3;
    refuse.trains_only = false;
    refuse.most = 1;
    queue_some(&ends, 0, NIC_SEND_QUEUE);
    cr_assert_not(nic_flush(ends.near));
    cr_assert_eq(take_all(&ends), NIC_SEND_QUEUE);
    cr_assert_eq(counter(&ends.near->counters.sent_packets), NIC_SEND_QUEUE);
    cr_assert_eq(counter(&ends.near->counters.send_queued), 0u);
    ends_close(&ends);
}

Test(nic_socket_flush,
     of_a_stuck_carrier_costs_one_syscall_per_burst_and_drops_beyond_the_queue,
     .timeout = 10)
{
    struct ends ends = ends_open();

    refuse.error = EAGAIN;
    refuse.times = UINT32_MAX;
    refuse.trains_only = false;
    queue_some(&ends, 0, NIC_SEND_QUEUE);
    uint64_t before = counter(&ends.near->counters.syscalls);
    for (uint32_t burst = 0; burst < 10; burst++) {
        struct nic_sending sends[NIC_BURST];

        cr_assert_eq(nic_reserve(ends.near, sends, NIC_BURST), NIC_BURST);
        for (uint32_t i = 0; i < NIC_BURST; i++) {
            sends[i].byte_count = 100;
            sends[i].peer = ends.far->local;
        }
        nic_send(ends.near, sends, NIC_BURST);
    }
    cr_assert_eq(counter(&ends.near->counters.syscalls) - before, 10u);
    cr_assert_eq(counter(&ends.near->counters.send_dropped), 10u * NIC_BURST);
    refuse.times = 0;
    cr_assert_not(nic_flush(ends.near));
    cr_assert_eq(take_all(&ends), NIC_SEND_QUEUE);
    ends_close(&ends);
}
