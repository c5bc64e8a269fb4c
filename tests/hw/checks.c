/* The checks, in order: a sentence each, true of every carrier. */
#include "tests/hw/flow.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define QUIET_NS (50 * NS_PER_MS)
#define MANY 20000u

#define EXPECT(fact, ...)        \
    do {                         \
        if (!(fact)) {           \
            printf("     ");     \
            printf(__VA_ARGS__); \
            printf("\n");        \
            return false;        \
        }                        \
    } while (0)

static uint64_t
value(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- finding each other ---- */

bool
hw_greet(struct hw_pair *pair)
{
    uint64_t begin_ns = hw_now_ns();
    uint64_t spoken_ns = 0;
    bool near_knows = false;

    while (hw_now_ns() - begin_ns < 20 * NS_PER_S) {
        struct nic_received got;
        struct nic_sending send;

        if (!near_knows && hw_now_ns() - spoken_ns > 100 * NS_PER_MS &&
            nic_reserve(pair->far, &send, 1) == 1) {
            spoken_ns = hw_now_ns();
            flow_fill(send.bytes, 100, 0);
            send.byte_count = 100;
            send.peer = pair->near_address;
            nic_send(pair->far, &send, 1);
        }
        if (nic_receive(pair->near, &got, 1) == 1) {
            pair->far_address = got.peer;
            near_knows = true;
            nic_release(pair->near, &got, 1);
            if (nic_reserve(pair->near, &send, 1) == 1) {
                flow_fill(send.bytes, 100, 0);
                send.byte_count = 100;
                send.peer = pair->far_address;
                nic_send(pair->near, &send, 1);
            }
        }
        (void)nic_flush(pair->far);
        (void)nic_flush(pair->near);
        if (nic_receive(pair->far, &got, 1) == 1) {
            nic_release(pair->far, &got, 1);
            (void)flow_drain(pair->near, QUIET_NS);
            (void)flow_drain(pair->far, QUIET_NS);
            return true;
        }
    }
    return false;
}

/* ---- what arrives ---- */

static uint32_t
size_is_number(const struct flow *flow, uint32_t number)
{
    return number % flow->size_max + 1;
}

static bool
every_size_arrives_intact(struct hw_pair *pair)
{
    for (int to_far = 0; to_far < 2; to_far++) {
        struct flow flow = flow_make(pair, to_far == 1, 0);

        flow.count = flow.size_max;
        flow.size_of = size_is_number;
        if (!flow_run(&flow, NULL))
            return false;
    }
    return true;
}

static bool
bursts_of_every_length_keep_their_order(struct hw_pair *pair)
{
    for (uint32_t burst = 1; burst <= NIC_BURST; burst++) {
        for (int to_far = 0; to_far < 2; to_far++) {
            struct flow flow = flow_make(pair, to_far == 1, 3 * burst + 1);

            flow.size_max = 200;
            flow.send_burst = burst;
            flow.receive_burst = NIC_BURST + 1 - burst;
            flow.window = 2 * NIC_BURST;
            if (!flow_run(&flow, NULL))
                return false;
        }
    }
    return true;
}

/* Runs of one size of changing length, with shorter and longer ones between them. */
static uint32_t
size_in_runs(const struct flow *flow, uint32_t number)
{
    uint32_t run = number * 2654435761u >> 27; /* by the number alone: [0, 32) */
    static const uint32_t sizes[] = {1, 17, 18, 100, 600, 1200};
    uint32_t size = sizes[number / 41 % ARRAY_COUNT(sizes)];

    if (run == 0)
        size = flow->size_max;
    if (run == 1)
        size = 1 + number % flow->size_max;
    return size < flow->size_max ? size : flow->size_max;
}

static bool
mixed_sizes_keep_their_bounds(struct hw_pair *pair)
{
    for (int to_far = 0; to_far < 2; to_far++) {
        struct flow flow = flow_make(pair, to_far == 1, 5000);

        flow.size_of = size_in_runs;
        flow.window = 96;
        if (!flow_run(&flow, NULL))
            return false;
    }
    return true;
}

static bool
answers_find_their_way_by_the_address_of_the_peer(struct hw_pair *pair)
{
    for (uint32_t round = 0; round < 100; round++) {
        struct flow question = flow_make(pair, false, 1);
        struct flow answer = flow_make(pair, true, 1);

        /* The window of the answer opens only when the question is there. */
        if (!flow_run(&question, NULL) || !flow_run(&answer, NULL))
            return false;
    }
    return true;
}

static bool
counters_agree_to_the_packet(struct hw_pair *pair)
{
    struct nic_counters *near = &pair->near->counters;
    struct nic_counters *far = &pair->far->counters;
    uint64_t near_sent = value(&near->sent_packets);
    uint64_t near_bytes = value(&near->sent_bytes);
    uint64_t near_received = value(&near->received_packets);
    uint64_t far_sent = value(&far->sent_packets);
    uint64_t far_received = value(&far->received_packets);
    uint64_t far_bytes = value(&far->received_bytes);
    struct flow out = flow_make(pair, true, MANY);
    struct flow back = flow_make(pair, false, MANY);

    out.size_of = size_in_runs;
    if (!flow_run(&out, &back))
        return false;
    EXPECT(value(&near->sent_packets) - near_sent == MANY, "near did not count what it sent");
    EXPECT(value(&far->received_packets) - far_received == MANY, "far did not count what it got");
    EXPECT(value(&far->sent_packets) - far_sent == MANY, "far did not count what it sent");
    EXPECT(value(&near->received_packets) - near_received == MANY, "near did not count its own");
    EXPECT(value(&near->sent_bytes) - near_bytes == out.bytes, "bytes sent by near differ");
    EXPECT(value(&far->received_bytes) - far_bytes == out.bytes, "bytes received by far differ");
    return true;
}

/* ---- buffers ---- */

static bool
cancelled_buffers_come_back(struct hw_pair *pair)
{
    struct nic *ends[] = {pair->near, pair->far};
    uint64_t sent = value(&pair->near->counters.sent_packets);

    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        for (uint32_t round = 0; round < MANY; round++) {
            struct nic_sending sends[NIC_BURST];
            uint32_t wanted = 1 + round % NIC_BURST;
            uint32_t count = nic_reserve(ends[i], sends, wanted);

            EXPECT(count == wanted, "round %u: %u buffers of %u", round, count, wanted);
            nic_cancel(ends[i], sends + count / 2, count - count / 2);
            nic_cancel(ends[i], sends, count / 2);
        }
    }
    (void)nic_flush(pair->near);
    EXPECT(flow_drain(pair->far, QUIET_NS) == 0, "something cancelled was sent");
    EXPECT(value(&pair->near->counters.sent_packets) == sent, "something cancelled was counted");
    return true;
}

static bool
part_of_a_reservation_may_be_sent(struct hw_pair *pair)
{
    struct flow flow = flow_make(pair, true, 32);

    for (uint32_t part = 0; part <= NIC_BURST; part++) {
        struct nic_sending sends[NIC_BURST];
        uint32_t count = nic_reserve(pair->near, sends, NIC_BURST);
        struct nic_received got[NIC_BURST];
        uint32_t arrived = 0;
        uint64_t begin_ns = hw_now_ns();

        EXPECT(count == NIC_BURST, "%u buffers of %u", count, NIC_BURST);
        for (uint32_t i = 0; i < part; i++) {
            flow_fill(sends[i].bytes, 64, i);
            sends[i].byte_count = 64;
            sends[i].peer = *flow.peer;
        }
        nic_send(pair->near, sends, part);
        nic_cancel(pair->near, sends + part, count - part);
        (void)nic_flush(pair->near);
        while (arrived < part && hw_now_ns() - begin_ns < 5 * NS_PER_S) {
            uint32_t burst = nic_receive(pair->far, got, NIC_BURST);

            for (uint32_t i = 0; i < burst; i++)
                EXPECT(flow_matches(got[i].bytes, 64, arrived + i), "another datagram");
            nic_release(pair->far, got, burst);
            arrived += burst;
        }
        EXPECT(arrived == part, "%u of %u arrived", arrived, part);
    }
    return true;
}

/* Takes what is there; numbers must rise, bytes must be right. */
static bool
take_rising(struct nic *nic, uint64_t quiet_ns, uint32_t *next, uint64_t *total)
{
    uint64_t moved_ns = hw_now_ns();

    do {
        struct nic_received got[NIC_BURST];
        uint32_t count = nic_receive(nic, got, NIC_BURST);

        for (uint32_t i = 0; i < count; i++) {
            uint32_t number = flow_number(got[i].bytes);

            EXPECT(number >= *next, "number %u after %u", number, *next);
            EXPECT(
                flow_matches(got[i].bytes, got[i].byte_count, number), "number %u: bytes", number);
            *next = number + 1;
        }
        nic_release(nic, got, count);
        *total += count;
        if (count != 0)
            moved_ns = hw_now_ns();
    } while (hw_now_ns() - moved_ns < quiet_ns);
    return true;
}

static uint32_t
size_thousand(const struct flow *flow, uint32_t number)
{
    (void)flow;
    (void)number;
    return 1000;
}

static bool
flood_one_way(struct hw_pair *pair, bool to_far)
{
    struct flow flow = flow_make(pair, to_far, 8 * NIC_SEND_QUEUE);
    struct nic_counters *counters = &flow.from->counters;
    uint64_t sent = value(&counters->sent_packets);
    uint64_t lost = value(&counters->send_dropped);
    uint64_t errors = value(&counters->send_errors);
    uint64_t queued = value(&counters->send_queued);
    uint64_t arrived = 0;
    uint32_t next = 0;

    flow.size_of = size_thousand;
    for (uint32_t round = 0; flow.sent < flow.count; round++) {
        EXPECT(round < flow.count, "no buffers while the carrier is full");
        (void)flow_send(&flow, NIC_BURST);
    }
    uint64_t begin_ns = hw_now_ns();
    while (nic_flush(flow.from)) {
        EXPECT(hw_now_ns() - begin_ns < 10 * NS_PER_S, "the queue does not empty");
        if (!take_rising(flow.to, 0, &next, &arrived))
            return false;
    }
    if (!take_rising(flow.to, 2 * QUIET_NS, &next, &arrived))
        return false;
    sent = value(&counters->sent_packets) - sent;
    lost = value(&counters->send_dropped) - lost;
    EXPECT(value(&counters->send_errors) == errors, "a full carrier was taken for an error");
    EXPECT(sent + lost == flow.count,
           "%llu sent and %llu counted as lost, of %u",
           (unsigned long long)sent,
           (unsigned long long)lost,
           flow.count);
    EXPECT(value(&counters->send_queued) - queued <= sent, "one that waited was counted twice");
    EXPECT(arrived <= sent, "more arrived than was sent");
    EXPECT(arrived > 0, "nothing arrived");
    return true;
}

static bool
a_flood_is_bounded_and_counted(struct hw_pair *pair)
{
    for (int to_far = 0; to_far < 2; to_far++) {
        struct flow after = flow_make(pair, to_far == 1, 200);

        if (!flood_one_way(pair, to_far == 1) || !flow_run(&after, NULL))
            return false;
    }
    return true;
}

/* Many times what any pool holds: a buffer lost per burst would end it. */
static bool
long_traffic_gives_every_buffer_back(struct hw_pair *pair)
{
    struct flow out = flow_make(pair, true, 10 * MANY);
    struct flow back = flow_make(pair, false, 10 * MANY);

    out.size_of = size_in_runs;
    if (!flow_run(&out, &back))
        return false;
    (void)flow_drain(pair->near, QUIET_NS);
    (void)flow_drain(pair->far, QUIET_NS);
    EXPECT(!nic_flush(pair->near) && !nic_flush(pair->far), "something waits to be sent");
    if (pair->in_use != NULL)
        EXPECT(pair->in_use(pair->ctx) == 0, "%u buffers are missing", pair->in_use(pair->ctx));
    return true;
}

/* ---- sleeping ---- */

static bool
is_readable(struct nic *nic, int timeout_ms)
{
    struct pollfd entry = {.fd = nic->wait_fd, .events = POLLIN};

    return poll(&entry, 1, timeout_ms) == 1;
}

static bool
its_descriptor_tells_when_something_arrives(struct hw_pair *pair)
{
    for (int to_far = 0; to_far < 2; to_far++) {
        struct flow flow = flow_make(pair, to_far == 1, 100);

        if (flow.to->wait_fd < 0)
            continue; /* must be polled, and says so */
        EXPECT(!is_readable(flow.to, 0), "readable while nothing is there");
        while (flow.sent < flow.count)
            (void)flow_send(&flow, NIC_BURST);
        (void)nic_flush(flow.from);
        EXPECT(is_readable(flow.to, 2000), "not readable although something was sent");
        flow.window = 0;
        if (!flow_run(&flow, NULL))
            return false;
        EXPECT(!is_readable(flow.to, 0), "readable after all was taken");
    }
    return true;
}

static bool
has_descriptor(const struct hw_pair *pair)
{
    return pair->near->wait_fd >= 0 || pair->far->wait_fd >= 0;
}

/* ---- what the owner of an address owes its network ---- */

static bool
has_ping(const struct hw_pair *pair)
{
    return pair->ping_fd != 0;
}

/* RFC 1071, over an even or odd number of bytes. */
static uint16_t
internet_sum(const uint8_t *bytes, uint32_t byte_count)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < byte_count; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* One echo request of the far kernel; the near end is polled until the answer is there. */
static bool
ping_once(struct hw_pair *pair, uint8_t sequence, uint32_t payload_bytes)
{
    uint8_t request[8 + 1472] = {8, 0, 0, 0, 0x45, 0x41, 0, sequence};
    uint8_t answer[2048];
    uint32_t byte_count = 8 + payload_bytes;
    uint64_t begin_ns = hw_now_ns();

    flow_fill(request + 8, payload_bytes, sequence);
    uint16_t sum = internet_sum(request, byte_count);
    request[2] = (uint8_t)(sum >> 8);
    request[3] = (uint8_t)sum;
    EXPECT(send(pair->ping_fd, request, byte_count, 0) == (ssize_t)byte_count, "no request");
    while (hw_now_ns() - begin_ns < 2 * NS_PER_S) {
        (void)flow_drain(pair->near, 0);
        (void)nic_flush(pair->near);
        ssize_t count = recv(pair->ping_fd, answer, sizeof(answer), 0);
        uint8_t *icmp = answer + 20; /* behind the IPv4 header */

        if (count != (ssize_t)byte_count + 20 || icmp[0] != 0 ||
            memcmp(icmp + 4, request + 4, 4) != 0)
            continue;
        EXPECT(memcmp(icmp + 8, request + 8, payload_bytes) == 0, "another payload came back");
        EXPECT(internet_sum(icmp, byte_count) == 0, "a wrong checksum came back");
        return true;
    }
    EXPECT(false, "echo request %u (%u bytes) has no answer", sequence, payload_bytes);
}

static bool
it_answers_pings_of_every_size(struct hw_pair *pair)
{
    uint64_t replies = value(&pair->near->counters.icmp_replies);

    for (uint32_t i = 0; i <= 32; i++) {
        if (!ping_once(pair, (uint8_t)i, i * 46))
            return false;
    }
    EXPECT(value(&pair->near->counters.icmp_replies) - replies == 33, "it did not count them");
    EXPECT(value(&pair->near->counters.arp_replies) > 0, "nobody asked for its hardware address");
    return true;
}

/* ---- the end ---- */

static bool
a_peer_that_is_gone_breaks_nothing(struct hw_pair *pair)
{
    struct flow flow = flow_make(pair, true, 400);
    struct nic_counters *counters = &pair->near->counters;
    uint64_t before = value(&counters->sent_packets) + value(&counters->send_dropped) +
                      value(&counters->send_errors);

    nic_close(pair->far);
    pair->far = NULL;
    for (uint32_t round = 0; flow.sent < flow.count; round++) {
        EXPECT(round < flow.count, "no buffers after the peer has gone");
        (void)flow_send(&flow, NIC_BURST);
        (void)nic_flush(pair->near);
        (void)flow_drain(pair->near, 0);
    }
    (void)flow_settle(pair->near, NULL);
    (void)flow_drain(pair->near, QUIET_NS);
    uint64_t after = value(&counters->sent_packets) + value(&counters->send_dropped) +
                     value(&counters->send_errors);
    EXPECT(after - before <= flow.count, "more was counted than was sent");
    EXPECT(flow.count - (after - before) <= NIC_SEND_QUEUE, "sent, counted nowhere, not waiting");
    return true;
}

const struct hw_check hw_checks[] = {
    {"every size arrives intact", NULL, every_size_arrives_intact},
    {"bursts of every length keep their order", NULL, bursts_of_every_length_keep_their_order},
    {"mixed sizes keep their bounds", NULL, mixed_sizes_keep_their_bounds},
    {"answers find their way by the address of the peer",
     NULL,
     answers_find_their_way_by_the_address_of_the_peer},
    {"counters agree to the packet", NULL, counters_agree_to_the_packet},
    {"cancelled buffers come back", NULL, cancelled_buffers_come_back},
    {"part of a reservation may be sent", NULL, part_of_a_reservation_may_be_sent},
    {"a flood is bounded and counted", NULL, a_flood_is_bounded_and_counted},
    {"its descriptor tells when something arrives",
     has_descriptor,
     its_descriptor_tells_when_something_arrives},
    {"it answers pings of every size", has_ping, it_answers_pings_of_every_size},
    {"long traffic gives every buffer back", NULL, long_traffic_gives_every_buffer_back},
    {"a peer that is gone breaks nothing", NULL, a_peer_that_is_gone_breaks_nothing},
    {NULL, NULL, NULL},
};
