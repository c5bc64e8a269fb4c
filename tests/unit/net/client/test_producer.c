/* Goal: eagre_send() takes what it can and says why not more; batches are made as the options say.
 * Method: the server of this folder, whose log is looked into. */
#include "records.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct rig {
    struct server *server;
    struct deliveries *deliveries;
    struct sending sending;
};

static struct rig
rig_open(uint32_t partition_count, const struct eagre_producer_options *options)
{
    struct rig rig = {.server = server_open(partition_count), .deliveries = deliveries_new()};
    struct eagre_config config = server_config(rig.server);
    struct eagre_producer_options whole = *options;

    whole.on_delivery = deliveries_note;
    whole.context = rig.deliveries;
    cr_assert_eq(eagre_open(&config, &rig.sending.client, NULL, 0), EAGRE_OK);
    cr_assert_eq(eagre_producer_open(rig.sending.client, &whole, &rig.sending.producer, NULL, 0),
                 EAGRE_OK);
    rig.sending.server = rig.server;
    rig.sending.value_bytes = 100;
    rig.sending.partition = EAGRE_PARTITION_ANY;
    return rig;
}

static void
rig_close(struct rig *rig)
{
    eagre_close(rig->sending.client);
    server_close(rig->server);
    free(rig->deliveries);
}

static void
rig_settle(struct rig *rig, uint64_t count)
{
    eagre_flush(rig->sending.producer);
    rig->deliveries->want = count;
    cr_assert(
        server_run(rig->server, rig->sending.client, deliveries_are_there, rig->deliveries, 15),
        "%lu delivered, %lu failed, why: %s",
        rig->deliveries->delivered,
        rig->deliveries->failed,
        eagre_why(rig->sending.client));
}

static int
why_not(struct rig *rig, const struct eagre_record *record)
{
    int why = EAGRE_OK;

    cr_assert_eq(eagre_send(rig->sending.producer, record, 1, &why), 0);
    return why;
}

Test(eagre_producer_open, refuses_bad_options, .timeout = 60)
{
    struct server *server = server_open(1);
    struct eagre_config config = server_config(server);
    struct eagre_client *client;
    struct eagre_producer *producer;
    struct eagre_producer_options options = eagre_producer_preset("");
    char why[64];

    cr_assert_eq(eagre_open(&config, &client, NULL, 0), EAGRE_OK);
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_INVALID);
    options = eagre_producer_preset("orders");
    options.batch_bytes = 255;
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_INVALID);
    options.batch_bytes = (1 << 20) + 1;
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_INVALID);
    options.batch_bytes = 0;
    options.batch_count = 1;
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_INVALID);
    options.batch_count = 0;
    options.partitioner = 3;
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_INVALID);
    options.partitioner = 0;
    for (uint32_t i = 0; i < 16; i++)
        cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_OK);
    cr_assert_eq(eagre_producer_open(client, &options, &producer, why, 64), EAGRE_LIMIT);
    eagre_close(client);
    server_close(server);
}

Test(eagre_send, says_why_a_record_is_not_taken, .timeout = 60)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    static uint8_t big[8192];
    options.batch_bytes = 4096;
    struct rig rig = rig_open(3, &options);
    struct eagre_record record = eagre_record_of("k", 1, "v", 1);
    struct eagre_header header = {.key = NULL};

    cr_assert_eq(why_not(&rig, &record), EAGRE_AGAIN, "the topic is not known yet");
    send_numbers(&rig.sending, 0, 1);
    record.partition = 3;
    cr_assert_eq(why_not(&rig, &record), EAGRE_NOT_FOUND);
    record.partition = -2;
    cr_assert_eq(why_not(&rig, &record), EAGRE_INVALID);
    record.partition = EAGRE_PARTITION_ANY;
    record.headers = &header;
    record.header_count = 1;
    cr_assert_eq(why_not(&rig, &record), EAGRE_INVALID, "a header without a name");
    record = eagre_record_of(NULL, 0, big, sizeof(big));
    cr_assert_eq(why_not(&rig, &record), EAGRE_TOO_LARGE);
    rig_settle(&rig, 1);
    rig_close(&rig);
}

Test(eagre_send, an_unknown_topic_is_said_and_may_be_created, .timeout = 60)
{
    struct eagre_producer_options options = eagre_producer_preset("unknown");
    struct rig rig = rig_open(1, &options);
    struct eagre_record record = eagre_record_of(NULL, 0, "v", 1);
    int why = EAGRE_AGAIN;

    for (uint32_t i = 0; i < 2000000 && why == EAGRE_AGAIN; i++) {
        (void)eagre_send(rig.sending.producer, &record, 1, &why);
        eagre_poll(rig.sending.client, 0);
        server_poll(rig.server);
    }
    cr_assert_eq(why, EAGRE_NOT_FOUND);
    rig_close(&rig);

    options = eagre_producer_preset("orders");
    options.create_topic = 1;
    rig = rig_open(1, &options);
    rig.server->has_topic = false;
    send_numbers(&rig.sending, 0, 10);
    rig_settle(&rig, 10);
    cr_assert_eq(rig.server->created, 1);
    rig_close(&rig);
}

Test(eagre_send, full_memory_is_a_count_and_not_a_wait, .timeout = 60)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    options.batch_count = 4;
    options.batch_bytes = 1024;
    struct rig rig = rig_open(1, &options);
    struct eagre_stats stats;

    rig.server->is_mute = true;
    send_numbers(&rig.sending, 0, 1);
    uint64_t taken = 1;
    for (uint32_t i = 0; i < 1000; i++) {
        taken += send_some(&rig.sending, taken, 100);
        eagre_poll(rig.sending.client, 0);
        server_poll(rig.server);
    }
    cr_assert(taken >= 4 && taken <= 4 * 9, "four batches of 1,024 bytes hold %lu", taken);
    cr_assert_eq(eagre_pending(rig.sending.producer), taken);
    cr_assert_eq(rig.deliveries->delivered, 0);
    eagre_get_stats(rig.sending.client, &stats, sizeof(stats));
    cr_assert_gt(stats.sends_short, 0);
    rig.server->is_mute = false;
    rig_settle(&rig, taken);
    check_log(rig.server, 0, 0, taken, NULL);
    rig_close(&rig);
}

Test(eagre_send, delivers_each_record_with_its_offset, .timeout = 90)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    struct rig rig = rig_open(1, &options);

    send_numbers(&rig.sending, 0, 20000);
    rig_settle(&rig, 20000);
    cr_assert_eq(rig.deliveries->delivered, 20000);
    cr_assert_eq(rig.deliveries->durability, EAGRE_DURABILITY_DEVICE);
    for (uint64_t i = 0; i < 20000; i++)
        cr_assert(rig.deliveries->times[i] == 1 && rig.deliveries->offset[i] == (int64_t)i);
    check_log(rig.server, 0, 0, 20000, NULL);
    cr_assert_lt(rig.server->batches, 20000 / 5, "records share packets");
    rig_close(&rig);
}

Test(eagre_send, batches_longer_than_a_packet_go_in_pieces, .timeout = 90)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    options.batch_bytes = 1 << 20;
    options.batch_count = 8;
    options.linger_us = 1000000;
    struct rig rig = rig_open(1, &options);

    rig.sending.value_bytes = 5000;
    send_numbers(&rig.sending, 0, 1000);
    rig_settle(&rig, 1000);
    check_log(rig.server, 0, 0, 1000, NULL);
    cr_assert_leq(rig.server->batches, 6, "5 MB in batches of 1 MiB");
    rig_close(&rig);
}

Test(eagre_send, lingering_fills_batches_and_flush_ends_it, .timeout = 90)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    options.linger_us = 200000;
    struct rig rig = rig_open(1, &options);

    send_numbers(&rig.sending, 0, 1);
    uint64_t begin_ns = clock_now_ns(&rig.server->clock);
    rig.deliveries->want = 1;
    cr_assert(server_run(rig.server, rig.sending.client, deliveries_are_there, rig.deliveries, 5));
    uint64_t took_ns = clock_now_ns(&rig.server->clock) - begin_ns;
    cr_assert(took_ns > 150 * NS_PER_MS && took_ns < 2 * NS_PER_S, "%lu", took_ns);
    send_numbers(&rig.sending, 1, 1);
    begin_ns = clock_now_ns(&rig.server->clock);
    rig_settle(&rig, 2);
    cr_assert_lt(clock_now_ns(&rig.server->clock) - begin_ns, 150 * NS_PER_MS);
    rig_close(&rig);
}

Test(eagre_send, keys_choose_partitions_and_others_take_turns, .timeout = 90)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    struct rig rig = rig_open(40, &options);
    struct eagre_record record = eagre_record_of("foobar", 6, "v", 1);

    send_numbers(&rig.sending, 0, 4000);
    rig_settle(&rig, 4000);
    for (uint32_t i = 0; i < 40; i++)
        cr_assert_gt(log_records(rig.server, i), 0, "partition %u has nothing", i);
    uint32_t expected = ((uint32_t)-790332482 & 0x7fffffffu) % 40;
    uint64_t before = log_records(rig.server, expected);
    record.opaque = 4000;
    cr_assert_eq(eagre_send(rig.sending.producer, &record, 1, NULL), 1);
    rig_settle(&rig, 4001);
    cr_assert_eq(log_records(rig.server, expected), before + 1);
    rig_close(&rig);
}

Test(eagre_producer_close, reports_what_is_not_delivered, .timeout = 60)
{
    struct eagre_producer_options options = eagre_producer_preset("orders");
    struct rig rig = rig_open(1, &options);

    rig.server->is_mute = true;
    send_numbers(&rig.sending, 0, 50);
    eagre_producer_close(rig.sending.producer);
    cr_assert_eq(rig.deliveries->failed, 50);
    cr_assert_eq(rig.deliveries->rc[49], EAGRE_CLOSED);
    rig_close(&rig);
}
