/* Goal: the wire in memory does what its faults say and nothing else, is repeated by its seed, and
 * loses no slot; callers that break the contract are stopped. Method: bad use first; a virtual
 * clock; shares of many datagrams against the asked ppm; the same seed twice. */
#include "engine/base/hash.h"
#include "hw/clock/clock.h"
#include "hw/nic/nic_memory.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#define SEED 20261121u

struct bench {
    struct clock clock;
    struct nic *ends[2];
    struct nic_memory_net *net;
};

static struct bench *
bench_open(uint32_t slots, struct nic_memory_faults faults, uint64_t seed)
{
    static struct bench benches[2];
    static uint32_t next;
    struct bench *bench = &benches[next++ % 2];

    clock_init_sim(&bench->clock, seed, 0);
    cr_assert_eq(nic_memory_open(
                     &(struct nic_memory_config){
                         .clock = &bench->clock, .seed = seed, .slots = slots, .faults = faults},
                     bench->ends,
                     &bench->net),
                 RC_OK);
    return bench;
}

static void
bench_close(struct bench *bench)
{
    nic_close(bench->ends[0]);
    nic_close(bench->ends[1]);
}

/* Sends one datagram: `number`, filler, and the hash of both in its last 8 bytes. */
static void
send_to(struct nic *from, const struct nic_address *to, uint64_t number, uint32_t byte_count)
{
    struct nic_sending send;

    cr_assert_eq(nic_reserve(from, &send, 1), 1u);
    memset(send.bytes, (int)number, byte_count);
    memcpy(send.bytes, &number, sizeof(number));
    uint64_t hash = hash_xxh3(send.bytes, byte_count - 8, SEED);
    memcpy(send.bytes + byte_count - 8, &hash, sizeof(hash));
    send.byte_count = byte_count;
    send.peer = *to;
    nic_send(from, &send, 1);
    cr_assert_not(nic_flush(from));
}

static void
send_number(struct bench *bench, uint64_t number)
{
    send_to(bench->ends[1], &bench->ends[0]->local, number, 100);
}

/* Takes one; UINT64_MAX: none has come out. *ret_whole: as it was sent. */
static uint64_t
take_number(struct nic *nic, bool *ret_whole)
{
    struct nic_received got;
    uint64_t number = 0; /* a cut one must not look like none */

    if (nic_receive(nic, &got, 1) == 0)
        return UINT64_MAX;
    memcpy(&number, got.bytes, got.byte_count < 8 ? got.byte_count : 8);
    uint64_t hash = hash_xxh3(got.bytes, got.byte_count < 8 ? 0 : got.byte_count - 8, SEED);
    *ret_whole = got.byte_count == 100 && memcmp(got.bytes + 92, &hash, sizeof(hash)) == 0;
    nic_release(nic, &got, 1);
    return number;
}

static uint64_t
counter(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

Test(nic_memory_open, refuses_numbers_out_of_range, .timeout = 10)
{
    struct clock clock;
    struct nic *ends[2] = {NULL, NULL};
    struct nic_memory_net *net = NULL;
    static const struct nic_memory_config bad[] = {
        {.slots = 0},
        {.slots = NIC_MEMORY_SLOTS_MAX + 1},
        {.slots = 8, .datagram_bytes_max = 1199},
        {.slots = 8, .datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX + 1},
    };

    clock_init_sim(&clock, 1, 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct nic_memory_config config = bad[i];

        config.clock = &clock;
        cr_assert_eq(nic_memory_open(&config, ends, &net), RC_INVALID);
    }
    cr_assert_null(ends[0]);
    cr_assert_null(net);
}

Test(nic_memory, stops_a_caller_that_receives_before_it_released, .timeout = 10, .signal = SIGABRT)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_received got[2];

    send_number(bench, 1);
    send_number(bench, 2);
    cr_assert_eq(nic_receive(bench->ends[0], got, 1), 1u);
    (void)nic_receive(bench->ends[0], got + 1, 1);
}

Test(nic_memory, stops_a_caller_that_releases_twice, .timeout = 10, .signal = SIGABRT)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_received got[2];

    send_number(bench, 1);
    send_number(bench, 2);
    cr_assert_eq(nic_receive(bench->ends[0], got, 2), 2u);
    nic_release(bench->ends[0], got, 1);
    nic_release(bench->ends[0], got, 1);
}

Test(nic_memory, stops_a_caller_that_reserves_over_a_reservation, .timeout = 10, .signal = SIGABRT)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_sending sends[2];

    cr_assert_eq(nic_reserve(bench->ends[0], sends, 1), 1u);
    (void)nic_reserve(bench->ends[0], sends + 1, 1);
}

Test(nic_memory, stops_a_caller_that_sends_what_it_cancelled, .timeout = 10, .signal = SIGABRT)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_sending sends[2];

    cr_assert_eq(nic_reserve(bench->ends[0], sends, 2), 2u);
    nic_cancel(bench->ends[0], sends, 1);
    sends[0].byte_count = 1;
    nic_send(bench->ends[0], sends, 1);
}

Test(nic_memory, delivers_nothing_before_a_flush, .timeout = 10)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_sending send;
    bool whole;

    cr_assert_eq(nic_reserve(bench->ends[1], &send, 1), 1u);
    send.byte_count = 100;
    send.peer = bench->ends[0]->local;
    nic_send(bench->ends[1], &send, 1);
    cr_assert_eq(take_number(bench->ends[0], &whole), UINT64_MAX);
    cr_assert_eq(nic_memory_in_use(bench->net), 1u);
    cr_assert_not(nic_flush(bench->ends[1]));
    cr_assert_neq(take_number(bench->ends[0], &whole), UINT64_MAX);
    bench_close(bench);
}

Test(nic_memory, keeps_order_and_delay_without_faults, .timeout = 10)
{
    struct bench *bench = bench_open(
        256, (struct nic_memory_faults){.delay_ns = 5 * NS_PER_US}, SEED);
    bool whole;

    for (uint64_t i = 0; i < 200; i++)
        send_number(bench, i);
    uint64_t due_ns = nic_memory_due_ns(bench->net);
    cr_assert_eq(due_ns - clock_now_ns(&bench->clock), 5 * NS_PER_US);
    clock_sim_advance(&bench->clock, 5 * NS_PER_US - 1);
    cr_assert_eq(take_number(bench->ends[0], &whole), UINT64_MAX);
    clock_sim_advance(&bench->clock, 1);
    for (uint64_t i = 0; i < 200; i++) {
        cr_assert_eq(take_number(bench->ends[0], &whole), i);
        cr_assert(whole);
    }
    cr_assert_eq(nic_memory_due_ns(bench->net), UINT64_MAX);
    cr_assert_eq(nic_memory_in_use(bench->net), 0u);
    bench_close(bench);
}

Test(nic_memory, loses_and_counts_what_finds_no_slot, .timeout = 10)
{
    struct bench *bench = bench_open(16, (struct nic_memory_faults){0}, SEED);
    bool whole;
    uint64_t count = 0;

    for (uint64_t i = 0; i < 100; i++)
        send_number(bench, i);
    cr_assert_eq(nic_memory_in_use(bench->net), 16u);
    while (take_number(bench->ends[0], &whole) == count)
        count++;
    cr_assert_eq(count, 16u);
    cr_assert_eq(counter(&bench->ends[0]->counters.receive_missed), 84u);
    cr_assert_eq(counter(&bench->ends[1]->counters.sent_packets), 100u);
    cr_assert_eq(nic_memory_in_use(bench->net), 0u);
    bench_close(bench);
}

Test(nic_memory, swallows_what_is_longer_than_the_path, .timeout = 10)
{
    struct bench *bench = bench_open(
        16, (struct nic_memory_faults){.datagram_bytes_max = 1280}, SEED);
    struct nic_received got;

    send_to(bench->ends[1], &bench->ends[0]->local, 1, 1281);
    cr_assert_eq(nic_receive(bench->ends[0], &got, 1), 0u);
    send_to(bench->ends[1], &bench->ends[0]->local, 2, 1280);
    cr_assert_eq(nic_receive(bench->ends[0], &got, 1), 1u);
    cr_assert_eq(got.byte_count, 1280u);
    nic_release(bench->ends[0], &got, 1);
    bench_close(bench);
}

#define MANY 100000u

struct shares {
    uint32_t lost, twice, late, damaged;
    uint64_t digest; /* of all that came, in its order */
};

/* Sends MANY numbered datagrams, one each microsecond, and says what became of them. */
static struct shares
shares_of(struct nic_memory_faults faults, uint64_t seed)
{
    static uint8_t seen[MANY];
    struct bench *bench = bench_open(4096, faults, seed);
    struct shares shares = {0};
    uint64_t newest = 0;

    memset(seen, 0, sizeof(seen));
    for (uint64_t i = 0; i < MANY + 1000; i++) {
        bool whole;
        uint64_t number;

        if (i < MANY)
            send_number(bench, i);
        clock_sim_advance(&bench->clock, NS_PER_US);
        while ((number = take_number(bench->ends[0], &whole)) != UINT64_MAX) {
            shares.digest = (shares.digest ^ number ^ (whole ? 0 : 99)) * UINT64_C(0x100000001b3);
            shares.damaged += !whole;
            if (!whole || number >= MANY)
                continue;
            shares.twice += seen[number] == 1;
            seen[number]++;
            shares.late += number < newest;
            newest = number > newest ? number : newest;
        }
    }
    for (uint32_t i = 0; i < MANY; i++)
        shares.lost += seen[i] == 0;
    cr_assert_eq(nic_memory_in_use(bench->net), 0u);
    cr_assert_eq(counter(&bench->ends[0]->counters.receive_missed), 0u);
    bench_close(bench);
    return shares;
}

/* Within a tenth: five standard deviations of 10,000 in 100,000 are less. */
static void
assert_about(uint32_t count, uint32_t expected)
{
    cr_assert_geq(count, expected - expected / 10);
    cr_assert_leq(count, expected + expected / 10);
}

Test(nic_memory_faults, each_has_the_asked_share_and_no_other_effect, .timeout = 60)
{
    cr_log_info("seed %u", SEED);
    struct shares loss = shares_of((struct nic_memory_faults){.loss_ppm = 300000}, SEED);
    assert_about(loss.lost, 30000);
    cr_assert_eq(loss.twice + loss.late + loss.damaged, 0u);

    struct shares twice = shares_of((struct nic_memory_faults){.duplicate_ppm = 500000}, SEED);
    assert_about(twice.twice, 50000);
    cr_assert_eq(twice.lost + twice.late + twice.damaged, 0u);

    struct shares late = shares_of(
        (struct nic_memory_faults){.reorder_ppm = 100000, .reorder_ns = 100 * NS_PER_US}, SEED);
    assert_about(late.late, 10000);
    cr_assert_eq(late.lost + late.twice + late.damaged, 0u);

    struct shares damaged = shares_of((struct nic_memory_faults){.corrupt_ppm = 100000}, SEED);
    assert_about(damaged.damaged, 10000);
    cr_assert_eq(damaged.lost, damaged.damaged);
    cr_assert_eq(damaged.twice + damaged.late, 0u);
}

Test(nic_memory_faults, of_a_million_ppm_spare_nothing, .timeout = 60)
{
    cr_assert_eq(shares_of((struct nic_memory_faults){.loss_ppm = 1000000}, SEED).lost, MANY);
    cr_assert_eq(shares_of((struct nic_memory_faults){.corrupt_ppm = 1000000}, SEED).damaged, MANY);
    cr_assert_eq(shares_of((struct nic_memory_faults){.duplicate_ppm = 1000000}, SEED).twice, MANY);
}

Test(nic_memory_faults, are_repeated_by_the_seed_and_by_no_other, .timeout = 60)
{
    static const struct nic_memory_faults all = {.loss_ppm = 300000,
                                                 .duplicate_ppm = 500000,
                                                 .reorder_ppm = 200000,
                                                 .corrupt_ppm = 50000,
                                                 .delay_ns = 30 * NS_PER_US,
                                                 .reorder_ns = 200 * NS_PER_US};
    struct shares first = shares_of(all, SEED);
    struct shares again = shares_of(all, SEED);
    struct shares other = shares_of(all, SEED + 1);

    cr_assert_eq(first.digest, again.digest);
    cr_assert_eq(first.lost, again.lost);
    cr_assert_neq(first.digest, other.digest);
}

Test(nic_memory_add, gives_each_end_its_own_address_and_mail, .timeout = 10)
{
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic *more[20];
    struct nic_received got;
    char text[NIC_ADDRESS_TEXT_MAX];

    for (uint32_t i = 0; i < ARRAY_COUNT(more); i++)
        cr_assert_eq(nic_memory_add(bench->net, &more[i]), RC_OK);
    nic_address_text(&more[19]->local, text, sizeof(text));
    cr_assert_str_eq(text, "10.0.0.22:40000");
    for (uint32_t i = 0; i < ARRAY_COUNT(more); i++)
        send_to(bench->ends[0], &more[i]->local, i, 100);
    for (uint32_t i = 0; i < ARRAY_COUNT(more); i++) {
        cr_assert_eq(nic_receive(more[i], &got, 1), 1u);
        cr_assert_eq(got.bytes[0], i);
        cr_assert(nic_address_equal(&got.peer, &bench->ends[0]->local));
        nic_release(more[i], &got, 1);
        nic_close(more[i]);
    }
    /* To a closed end, to a wrong port, to nobody: gone, and nothing is held. */
    struct nic_address nobody = bench->ends[0]->local;
    send_to(bench->ends[0], &(struct nic_address){0}, 1, 100);
    nobody.port++;
    send_to(bench->ends[1], &nobody, 1, 100);
    nobody.ip[15] = 22;
    send_to(bench->ends[1], &nobody, 1, 100);
    cr_assert_eq(nic_memory_in_use(bench->net), 0u);
    bench_close(bench);
}

Test(nic_memory_add, stops_at_its_limit, .timeout = 30)
{
    struct bench *bench = bench_open(1, (struct nic_memory_faults){0}, SEED);
    struct nic *end = NULL;

    for (uint32_t i = 2; i < NIC_MEMORY_ENDS_MAX; i++) {
        cr_assert_eq(nic_memory_add(bench->net, &end), RC_OK);
        nic_close(end);
    }
    cr_assert_eq(nic_memory_add(bench->net, &end), RC_LIMIT);
    bench_close(bench);
}

Test(nic_memory_inject, claims_any_source_and_is_bounded, .timeout = 10)
{
    static uint8_t bytes[65535];
    struct bench *bench = bench_open(8, (struct nic_memory_faults){0}, SEED);
    struct nic_address forged = {.ip = {0x20, 0x01}, .port = 53};
    struct nic_received got;

    nic_memory_inject(bench->net, &forged, &bench->ends[0]->local, bytes, 0);
    nic_memory_inject(bench->net, &forged, &bench->ends[0]->local, bytes, NIC_DATAGRAM_BYTES + 1);
    nic_memory_inject(bench->net, &forged, &bench->ends[0]->local, bytes, sizeof(bytes));
    cr_assert_eq(nic_receive(bench->ends[0], &got, 1), 0u);
    cr_assert_eq(counter(&bench->ends[0]->counters.receive_malformed), 3u);
    nic_memory_inject(bench->net, &forged, &bench->ends[0]->local, bytes, NIC_DATAGRAM_BYTES);
    cr_assert_eq(nic_receive(bench->ends[0], &got, 1), 1u);
    cr_assert(nic_address_equal(&got.peer, &forged));
    nic_release(bench->ends[0], &got, 1);
    bench_close(bench);
}

Test(nic_memory_in_use, counts_what_is_under_way_borrowed_and_reserved, .timeout = 10)
{
    struct bench *bench = bench_open(64, (struct nic_memory_faults){.delay_ns = 10}, SEED);
    struct nic_sending sends[8];
    struct nic_received got[8];

    cr_assert_eq(nic_reserve(bench->ends[0], sends, 8), 8u);
    cr_assert_eq(nic_memory_in_use(bench->net), 8u);
    for (int i = 0; i < 5; i++) {
        sends[i].byte_count = 1;
        sends[i].peer = bench->ends[1]->local;
    }
    nic_send(bench->ends[0], sends, 5);
    cr_assert_eq(nic_memory_in_use(bench->net), 8u);
    nic_cancel(bench->ends[0], sends + 5, 3);
    cr_assert_eq(nic_memory_in_use(bench->net), 5u);
    cr_assert_not(nic_flush(bench->ends[0]));
    cr_assert_eq(nic_memory_in_use(bench->net), 5u);
    clock_sim_advance(&bench->clock, 10);
    cr_assert_eq(nic_receive(bench->ends[1], got, 3), 3u);
    cr_assert_eq(nic_memory_in_use(bench->net), 5u);
    nic_release(bench->ends[1], got, 3);
    cr_assert_eq(nic_memory_in_use(bench->net), 2u);
    nic_close(bench->ends[1]);
    cr_assert_eq(nic_memory_in_use(bench->net), 0u);
    nic_close(bench->ends[0]);
    nic_close(NULL);
}
