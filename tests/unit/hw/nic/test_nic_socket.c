/* Goal: the socket body gives whole datagrams where they lie, sends runs of one size as one
 * super-packet without mixing anything up, counts what is refused, and survives everything.
 * Method: loopback and free ports; a plain kernel socket as the other side where wrong datagrams
 * are wanted; bad input first. What every body must do is in tests/hw. */
#include "hw/nic/nic_socket.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct nic_address
address_of(const char *host, uint16_t port)
{
    struct nic_address address;

    cr_assert_eq(nic_address_parse(host, port, &address, NULL), RC_OK);
    return address;
}

static struct nic *
open_with(struct nic_socket_config config)
{
    struct diag_trail trail = {""};
    struct nic *nic = NULL;

    cr_assert_eq(nic_socket_open(&config, &nic, &trail), RC_OK, "%s", trail.text);
    return nic;
}

static struct nic *
open_at(const char *host)
{
    return open_with((struct nic_socket_config){.local = address_of(host, 0)});
}

static uint64_t
counter(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Queues count datagrams of byte_count bytes whose first byte is their number from `first` on. */
static void
queue_some(struct nic *nic,
           const struct nic_address *to,
           uint32_t count,
           uint32_t byte_count,
           uint8_t first)
{
    for (uint32_t done = 0; done < count;) {
        struct nic_sending sends[NIC_BURST];
        uint32_t burst = nic_reserve(nic, sends, min_u32(NIC_BURST, count - done));

        cr_assert_gt(burst, 0u);
        for (uint32_t i = 0; i < burst; i++) {
            memset(sends[i].bytes, (uint8_t)(first + done + i), byte_count);
            sends[i].byte_count = byte_count;
            sends[i].peer = *to;
        }
        nic_send(nic, sends, burst);
        done += burst;
    }
}

/* Receives until count came or 2 s passed; checks the numbers, and each byte of every datagram. */
static uint32_t
take_some(struct nic *nic, uint32_t count, uint8_t first)
{
    uint32_t taken = 0;

    for (int tries = 0; taken < count && tries < 2000; tries++) {
        struct nic_received got[NIC_BURST];
        uint32_t burst = nic_receive(nic, got, NIC_BURST);

        for (uint32_t i = 0; i < burst; i++) {
            for (uint32_t at = 0; at < got[i].byte_count; at++)
                cr_assert_eq(got[i].bytes[at], (uint8_t)(first + taken + i));
        }
        nic_release(nic, got, burst);
        taken += burst;
        if (burst == 0)
            (void)poll(NULL, 0, 1);
    }
    return taken;
}

Test(nic_socket_open, refuses_numbers_out_of_range, .timeout = 10)
{
    static const struct nic_socket_config bad[] = {
        {.datagram_bytes_max = 1199},
        {.datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX + 1},
        {.receive_buffer_bytes = UINT32_MAX},
    };

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct diag_trail trail = {""};
        struct nic *nic = NULL;

        cr_assert_eq(nic_socket_open(&bad[i], &nic, &trail), RC_INVALID);
        cr_assert_str_not_empty(trail.text);
        cr_assert_null(nic);
    }
}

Test(nic_socket_open, names_the_address_it_cannot_have, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct nic *nic = NULL;
    struct nic_socket_config config = {.local = address_of("192.0.2.1", 4000)};

    cr_assert_eq(nic_socket_open(&config, &nic, &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "192.0.2.1:4000"), "%s", trail.text);
    cr_assert_null(nic);
}

Test(nic_socket_open, says_busy_when_the_port_is_taken, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct nic *first = open_at("127.0.0.1");
    struct nic *second = NULL;
    struct nic_socket_config config = {.local = first->local};

    cr_assert_eq(nic_socket_open(&config, &second, &trail), RC_BUSY);
    cr_assert_null(second);
    nic_close(first);
    second = open_with(config);
    nic_close(second);
}

Test(nic_socket_open, tells_address_port_and_what_runs, .timeout = 10)
{
    struct nic *nic = open_at("127.0.0.1");
    char text[256];

    cr_assert_str_eq(nic->body_name, "socket");
    cr_assert_neq(nic->port, 0);
    cr_assert_eq(nic->local.port, nic->port);
    cr_assert(nic_address_is_loopback(&nic->local));
    cr_assert_eq(nic->datagram_bytes_max, NIC_DATAGRAM_BYTES);
    nic_socket_text(nic, text, sizeof(text));
    cr_assert_not_null(strstr(text, "UDP_GRO"), "%s", text);
    nic_close(nic);
    nic = open_with((struct nic_socket_config){.local = address_of("127.0.0.1", 0), .plain = true});
    nic_socket_text(nic, text, sizeof(text));
    cr_assert_not_null(strstr(text, "no UDP_GRO"), "%s", text);
    nic_close(nic);
}

Test(nic_socket_open, notes_a_receive_buffer_smaller_than_asked, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct nic *nic = NULL;
    struct nic_socket_config config = {.local = address_of("127.0.0.1", 0),
                                       .receive_buffer_bytes = 1000u << 20};

    cr_assert_eq(nic_socket_open(&config, &nic, &trail), RC_OK);
    int got = 0;
    socklen_t bytes = sizeof(got);
    cr_assert_eq(getsockopt(nic->wait_fd, SOL_SOCKET, SO_RCVBUF, &got, &bytes), 0);
    cr_assert_eq((uint32_t)got / 2 < config.receive_buffer_bytes, trail.text[0] != '\0');
    nic_close(nic);
}

Test(nic_socket, drops_and_counts_empty_and_overlong_datagrams, .timeout = 10)
{
    for (int plain = 0; plain < 2; plain++) {
        struct nic *nic = open_with(
            (struct nic_socket_config){.local = address_of("127.0.0.1", 0), .plain = plain == 1});
        struct sockaddr_in name = {.sin_family = AF_INET,
                                   .sin_port = htons(nic->port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
        static const size_t lengths[] = {
            0, NIC_DATAGRAM_BYTES + 1, NIC_DATAGRAM_BYTES + 100, 9000, 65507, NIC_DATAGRAM_BYTES};
        static uint8_t bytes[65507];
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct nic_received got[NIC_BURST];
        uint32_t taken = 0;

        for (size_t i = 0; i < ARRAY_COUNT(lengths); i++)
            cr_assert_eq(sendto(fd, bytes, lengths[i], 0, (void *)&name, sizeof(name)),
                         (ssize_t)lengths[i]);
        for (int tries = 0; taken == 0 && tries < 1000; tries++) {
            taken = nic_receive(nic, got, NIC_BURST);
            if (taken == 0)
                (void)poll(NULL, 0, 1);
        }
        cr_assert_eq(taken, 1u);
        cr_assert_eq(got[0].byte_count, NIC_DATAGRAM_BYTES);
        nic_release(nic, got, taken);
        cr_assert_eq(counter(&nic->counters.receive_malformed), ARRAY_COUNT(lengths) - 1);
        cr_assert_eq(counter(&nic->counters.received_packets), 1u);
        close(fd);
        nic_close(nic);
    }
}

Test(nic_socket, counts_what_cannot_be_sent_and_goes_on, .timeout = 10)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic *far = open_at("127.0.0.1");
    struct nic_address no_port = address_of("127.0.0.1", 0);
    struct nic_address other_family = address_of("2001:db8::1", 9);

    queue_some(near, &no_port, 3, 100, 0);
    queue_some(near, &far->local, 2, 100, 0);
    queue_some(near, &other_family, 5, 100, 0);
    queue_some(near, &far->local, 2, 100, 2);
    cr_assert_not(nic_flush(near));
    cr_assert_eq(take_some(far, 4, 0), 4u);
    cr_assert_eq(counter(&near->counters.send_errors), 8u);
    cr_assert_eq(counter(&near->counters.sent_packets), 4u);
    cr_assert_eq(counter(&near->counters.sent_bytes), 400u);
    nic_close(near);
    nic_close(far);
}

Test(nic_socket, is_not_troubled_by_a_port_that_nobody_has, .timeout = 10)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic *far = open_at("127.0.0.1");
    struct nic_address gone = far->local;

    nic_close(far);
    for (int i = 0; i < 20; i++) {
        struct nic_received got[NIC_BURST];

        queue_some(near, &gone, 10, 500, 0);
        cr_assert_not(nic_flush(near));
        cr_assert_eq(nic_receive(near, got, NIC_BURST), 0u);
    }
    far = open_with((struct nic_socket_config){.local = gone});
    queue_some(near, &gone, 10, 500, 0);
    cr_assert_not(nic_flush(near));
    cr_assert_eq(take_some(far, 10, 0), 10u);
    cr_assert_eq(counter(&near->counters.sent_packets) + counter(&near->counters.send_errors),
                 210u);
    nic_close(near);
    nic_close(far);
}

Test(nic_socket, counts_what_the_kernel_dropped, .timeout = 10)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic *far = open_with((struct nic_socket_config){
        .local = address_of("127.0.0.1", 0), .receive_buffer_bytes = 16 * 1024, .plain = true});
    uint64_t taken = 0;
    uint64_t sent = 0;

    for (uint64_t round = 1; round <= 3; round++) {
        struct nic_received got[NIC_BURST];
        uint32_t burst;

        for (int i = 0; i < 20; i++, sent += 100) {
            queue_some(near, &far->local, 100, 1000, 0);
            cr_assert_not(nic_flush(near));
        }
        while ((burst = nic_receive(far, got, NIC_BURST)) > 0) {
            nic_release(far, got, burst);
            taken += burst;
        }
        cr_assert_lt(taken, round * 2000);
        /* The count comes with the next one that finds room, and only once. */
        queue_some(near, &far->local, 5, 1000, 0);
        cr_assert_not(nic_flush(near));
        taken += take_some(far, 5, 0);
        sent += 5;
        cr_assert_eq(taken + counter(&far->counters.receive_missed), sent);
    }
    nic_close(near);
    nic_close(far);
}

Test(nic_socket, sends_a_run_of_one_size_in_one_syscall, .timeout = 10)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic *far = open_at("127.0.0.1");
    char text[256];

    nic_socket_text(near, text, sizeof(text));
    if (strstr(text, "no UDP_SEGMENT") != NULL)
        cr_skip_test("this kernel has no UDP_SEGMENT");
    static const uint32_t sizes[] = {1400, 100}; /* messages of 46 by bytes, of 64 by number */
    for (uint64_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        uint64_t bytes = counter(&far->counters.received_bytes);

        queue_some(near, &far->local, NIC_SEND_QUEUE, sizes[i], 0);
        cr_assert_eq(counter(&near->counters.syscalls), i);
        cr_assert_not(nic_flush(near));
        cr_assert_eq(counter(&near->counters.syscalls), i + 1);
        cr_assert_eq(take_some(far, NIC_SEND_QUEUE, 0), NIC_SEND_QUEUE);
        cr_assert_leq(counter(&far->counters.syscalls), 8 * (i + 1));
        cr_assert_eq(counter(&far->counters.received_bytes) - bytes,
                     (uint64_t)NIC_SEND_QUEUE * sizes[i]);
    }
    nic_close(near);
    nic_close(far);
}

/* Lengths around what ends a run: shorter, longer, the same again, the limits of a super-packet. */
Test(nic_socket, keeps_the_bounds_of_datagrams_of_mixed_sizes, .timeout = 30)
{
    struct nic *near = open_with((struct nic_socket_config){.local = address_of("127.0.0.1", 0),
                                                            .datagram_bytes_max = 8900});
    struct nic *fars[2];
    static const struct {
        uint32_t count;
        uint32_t byte_count;
    } runs[] = {{1, 1},
                {2, 1},
                {63, 100},
                {1, 99},
                {64, 100},
                {65, 100},
                {1, 101},
                {1, 100},
                {7, 8900},
                {8, 8900},
                {1, 1},
                {8, 8188},
                {7, 8189},
                {1, 8190},
                {100, 600},
                {3, 2},
                {1, 8900},
                {1, 8899},
                {1, 8900}};
    uint8_t sent[2] = {0, 0};
    uint8_t seen[2] = {0, 0};

    for (int i = 0; i < 2; i++)
        fars[i] = open_with((struct nic_socket_config){.local = address_of("127.0.0.1", 0),
                                                       .datagram_bytes_max = 8900});
    for (size_t i = 0; i < ARRAY_COUNT(runs); i++) {
        uint32_t side = i % 5 == 3; /* two receivers, one after the other in the queue */

        queue_some(near, &fars[side]->local, runs[i].count, runs[i].byte_count, sent[side]);
        sent[side] = (uint8_t)(sent[side] + runs[i].count);
    }
    cr_assert_not(nic_flush(near));
    uint32_t total = 0;
    for (size_t i = 0; i < ARRAY_COUNT(runs); i++) {
        uint32_t side = i % 5 == 3;

        for (uint32_t k = 0; k < runs[i].count; k++) {
            struct nic_received got;

            cr_assert_eq(nic_receive(fars[side], &got, 1), 1u);
            cr_assert_eq(got.byte_count, runs[i].byte_count, "run %zu datagram %u", i, k);
            for (uint32_t at = 0; at < got.byte_count; at++)
                cr_assert_eq(got.bytes[at], seen[side]);
            cr_assert(nic_address_equal(&got.peer, &near->local));
            nic_release(fars[side], &got, 1);
            seen[side]++;
            total++;
        }
    }
    cr_assert_eq(counter(&near->counters.sent_packets), total);
    cr_assert_eq(counter(&near->counters.send_errors), 0u);
    nic_close(near);
    nic_close(fars[0]);
    nic_close(fars[1]);
}

/* A network of this process alone, whose loopback carries packets of mtu bytes; false: not allowed
 * here. */
static bool
own_network(int mtu)
{
    struct ifreq request = {.ifr_name = "lo"};

    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_mtu = mtu;
    bool good = ioctl(fd, SIOCSIFMTU, &request) == 0;
    request.ifr_flags = IFF_UP;
    good = good && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return good;
}

Test(nic_socket, finds_the_overlong_ones_of_a_refused_run_and_sends_the_rest, .timeout = 10)
{
    if (!own_network(1300))
        cr_skip_test("wanted: a network namespace, to make the loopback's MTU smaller");
    for (int plain = 0; plain < 2; plain++) {
        struct nic *near = open_with(
            (struct nic_socket_config){.local = address_of("127.0.0.1", 0), .plain = plain == 1});
        struct nic *far = open_at("127.0.0.1");

        queue_some(near, &far->local, 5, 1272, 0); /* with headers 1,300: just fits */
        queue_some(near, &far->local, 5, 1400, 90);
        queue_some(near, &far->local, 1, 1273, 95);
        queue_some(near, &far->local, 3, 1200, 5);
        queue_some(near, &far->local, 70, 1273, 0);
        queue_some(near, &far->local, 1, 1000, 8);
        cr_assert_not(nic_flush(near));
        cr_assert_eq(take_some(far, 9, 0), 9u);
        cr_assert_eq(counter(&near->counters.sent_packets), 9u);
        cr_assert_eq(counter(&near->counters.send_errors), 76u);
        /* Trains go on afterwards. */
        uint64_t syscalls = counter(&near->counters.syscalls);
        queue_some(near, &far->local, 64, 1000, 0);
        cr_assert_not(nic_flush(near));
        cr_assert_eq(take_some(far, 64, 0), 64u);
        cr_assert_eq(counter(&near->counters.syscalls) - syscalls, plain == 1 ? 4u : 1u);
        nic_close(near);
        nic_close(far);
    }
}

Test(nic_socket, that_is_open_to_any_address_answers_both_families, .timeout = 10)
{
    struct nic *any = open_with((struct nic_socket_config){.local = {.port = 0}});
    static const char *const hosts[] = {"127.0.0.1", "::1"};

    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        struct diag_trail trail = {""};
        struct nic *client = NULL;
        struct nic_address server = address_of(hosts[i], any->port);
        struct nic_received got;

        if (nic_socket_open(&(struct nic_socket_config){.local = address_of(hosts[i], 0)},
                            &client,
                            &trail) != RC_OK) {
            cr_log_warn("skipped: %s", trail.text);
            continue;
        }
        queue_some(client, &server, 1, 10, 5);
        cr_assert_not(nic_flush(client));
        cr_assert_eq(nic_receive(any, &got, 1), 1u);
        cr_assert(nic_address_equal(&got.peer, &client->local));
        nic_release(any, &got, 1);
        queue_some(any, &client->local, 70, 10, 6);
        cr_assert_not(nic_flush(any));
        cr_assert_eq(take_some(client, 70, 6), 70u);
        nic_close(client);
    }
    nic_close(any);
}

Test(nic_socket, wakes_a_sleeper_and_lets_it_sleep_again, .timeout = 10)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic *far = open_at("127.0.0.1");
    struct pollfd entry = {.fd = far->wait_fd, .events = POLLIN};

    cr_assert_eq(poll(&entry, 1, 0), 0);
    queue_some(near, &far->local, 100, 1400, 0);
    cr_assert_eq(poll(&entry, 1, 0), 0);
    cr_assert_not(nic_flush(near));
    cr_assert_eq(poll(&entry, 1, 1000), 1);
    cr_assert_eq(take_some(far, 100, 0), 100u);
    cr_assert_eq(poll(&entry, 1, 0), 0);
    nic_close(near);
    nic_close(far);
}

Test(nic_socket, stops_a_caller_that_receives_before_it_released, .timeout = 10, .signal = SIGABRT)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic_received got[2];

    queue_some(near, &near->local, 2, 10, 0);
    (void)nic_flush(near);
    cr_assert_eq(nic_receive(near, got, 1), 1u);
    (void)nic_receive(near, got + 1, 1);
}

Test(nic_socket, stops_a_caller_that_sends_what_it_cancelled, .timeout = 10, .signal = SIGABRT)
{
    struct nic *near = open_at("127.0.0.1");
    struct nic_sending sends[2];

    cr_assert_eq(nic_reserve(near, sends, 2), 2u);
    nic_cancel(near, sends, 1);
    sends[0].byte_count = 1;
    nic_send(near, sends, 1);
}
