/* Goal: what a carrier holds back is taken up in time, what is owed to the server is paid when the
 * window allows it, and no batch is left without a word. Method: a carrier laid over the real one
 * that gives or takes as a test wants; a server that lets the window fill. */
#include "records.h"

#include "net/client/client_inner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Stands before the client's own nic. */
struct odd_nic {
    struct nic nic;
    struct nic *real;
    uint32_t junk_bursts; /* full bursts of datagrams of nobody, before the real ones */
    bool is_junk;         /* what was received last */
    bool is_flush_short;  /* something always waits in the carrier */
    bool is_out_of_buffers;
};

static struct odd_nic *
odd_of(struct nic *nic)
{
    return (struct odd_nic *)(void *)nic;
}

static uint32_t
odd_receive(struct nic *nic, struct nic_received *received, uint32_t count)
{
    static const uint8_t junk[WIRE_HEADER_BYTES];
    struct odd_nic *odd = odd_of(nic);

    odd->is_junk = odd->junk_bursts > 0;
    if (!odd->is_junk)
        return nic_receive(odd->real, received, count);
    odd->junk_bursts--;
    for (uint32_t i = 0; i < count; i++)
        received[i] = (struct nic_received){.bytes = junk, .byte_count = sizeof(junk)};
    return count;
}

static void
odd_release(struct nic *nic, struct nic_received *received, uint32_t count)
{
    if (!odd_of(nic)->is_junk)
        nic_release(odd_of(nic)->real, received, count);
}

static uint32_t
odd_reserve(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    return odd_of(nic)->is_out_of_buffers ? 0 : nic_reserve(odd_of(nic)->real, sends, count);
}

static void
odd_send(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    nic_send(odd_of(nic)->real, sends, count);
}

static void
odd_cancel(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    nic_cancel(odd_of(nic)->real, sends, count);
}

static bool
odd_flush(struct nic *nic)
{
    return nic_flush(odd_of(nic)->real) || odd_of(nic)->is_flush_short;
}

static void
odd_close(struct nic *nic)
{
    nic_close(odd_of(nic)->real);
}

static const struct nic_ops odd_ops = {.receive = odd_receive,
                                       .release = odd_release,
                                       .reserve = odd_reserve,
                                       .send = odd_send,
                                       .cancel = odd_cancel,
                                       .flush = odd_flush,
                                       .close = odd_close};

struct rig {
    struct server *server;
    struct deliveries *deliveries;
    struct sending sending;
    struct odd_nic odd;
};

static void
rig_turns(struct rig *rig, uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        eagre_poll(rig->sending.client, 0);
        server_poll(rig->server);
    }
}

static bool
is_quiet(void *context)
{
    struct rig *rig = context;
    struct eagre_client *client = rig->sending.client;

    return client->is_open && client->topics[0].state == TOPIC_KNOWN &&
           eagre_deadline_us(client) > 1000;
}

/* A client at rest with a producer to topic "orders", over the odd carrier. */
static void
rig_open(struct rig *rig, uint32_t partition_count, uint32_t delivery_timeout_ms)
{
    *rig = (struct rig){.server = server_open(partition_count), .deliveries = deliveries_new()};
    struct eagre_config config = server_config(rig->server);
    struct eagre_producer_options options = eagre_producer_preset("orders");

    options.on_delivery = deliveries_note;
    options.context = rig->deliveries;
    options.delivery_timeout_ms = delivery_timeout_ms;
    options.retry_ms = 1;
    cr_assert_eq(eagre_open(&config, &rig->sending.client, NULL, 0), EAGRE_OK);
    cr_assert_eq(
        eagre_producer_open(rig->sending.client, &options, &rig->sending.producer, NULL, 0),
        EAGRE_OK);
    rig->sending.server = rig->server;
    rig->sending.value_bytes = 100;
    cr_assert(server_run(rig->server, rig->sending.client, is_quiet, rig, 20));
    rig->odd.real = rig->sending.client->nic;
    rig->odd.nic = *rig->odd.real;
    rig->odd.nic.ops = &odd_ops;
    rig->sending.client->nic = &rig->odd.nic;
}

static void
rig_close(struct rig *rig)
{
    rig->sending.client->nic = rig->odd.real;
    eagre_close(rig->sending.client);
    server_close(rig->server);
    free(rig->deliveries);
}

Test(link, datagrams_left_in_the_carrier_are_asked_for_at_once, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, 1, 0);
    rig.odd.junk_bursts = 9; /* one more than a poll takes */
    eagre_poll(rig.sending.client, 0);
    cr_assert_eq(rig.odd.junk_bursts, 1);
    cr_assert_eq(eagre_deadline_us(rig.sending.client), 0);
    eagre_poll(rig.sending.client, 0);
    cr_assert_eq(rig.odd.junk_bursts, 0);
    cr_assert_gt(eagre_deadline_us(rig.sending.client), 0, "and then there is peace");
    rig_close(&rig);
}

Test(link, what_the_carrier_did_not_take_is_offered_again_soon, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, 1, 0);
    rig.odd.is_flush_short = true;
    eagre_poll(rig.sending.client, 0);
    cr_assert_leq(eagre_deadline_us(rig.sending.client), 50);
    rig.odd.is_flush_short = false;
    eagre_poll(rig.sending.client, 0);
    cr_assert_gt(eagre_deadline_us(rig.sending.client), 50);
    rig_close(&rig);
}

Test(link, a_carrier_without_buffers_is_not_asked_all_the_time, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, 1, 0);
    rig.odd.is_out_of_buffers = true;
    send_some(&rig.sending, 0, 10);
    eagre_flush(rig.sending.producer);
    for (uint32_t i = 0; i < 10; i++) {
        eagre_poll(rig.sending.client, 0);
        /* Asked right behind the poll; 50 us are long for that, even on a busy machine. */
        if (rig.sending.client->resend_at_ns > clock_now_ns(&rig.sending.client->clock))
            cr_assert_gt(eagre_deadline_us(rig.sending.client), 0);
        cr_assert_gt(rig.sending.client->resend_at_ns, rig.sending.client->now_ns);
    }
    rig.odd.is_out_of_buffers = false;
    rig.deliveries->want = 10;
    cr_assert(server_run(rig.server, rig.sending.client, deliveries_are_there, rig.deliveries, 20));
    cr_assert_eq(rig.deliveries->delivered, 10);
    rig_close(&rig);
}

static uint32_t
subscriptions_used(const struct rig *rig)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < SERVER_PARTITIONS_MAX; i++)
        count += rig->server->subscriptions[i].is_used;
    return count;
}

static bool
is_subscribed(void *context)
{
    return subscriptions_used(context) == 8;
}

static bool
is_unsubscribed(void *context)
{
    struct rig *rig = context;

    return subscriptions_used(rig) == 0 && rig->sending.client->subscribers[0] == NULL;
}

Test(link, the_end_of_a_subscription_waits_for_room_in_the_window, .timeout = 60)
{
    struct rig rig;
    struct eagre_subscriber *subscriber;
    struct eagre_subscriber_options options = eagre_subscriber_preset("orders");
    uint64_t number = 0;

    rig_open(&rig, 8, 0);
    options.partitions_max = 8;
    cr_assert_eq(eagre_subscribe(rig.sending.client, &options, &subscriber, NULL, 0), EAGRE_OK);
    cr_assert(server_run(rig.server, rig.sending.client, is_subscribed, &rig, 20));
    for (uint32_t i = 0; i < 3; i++) { /* a producer that the server has shown to know */
        rig.deliveries->want = number += send_some(&rig.sending, number, 8);
        eagre_flush(rig.sending.producer);
        cr_assert(
            server_run(rig.server, rig.sending.client, deliveries_are_there, rig.deliveries, 20));
    }
    for (uint32_t i = 0; i < 2000; i++) { /* nobody answers: the window fills */
        number += send_some(&rig.sending, number, 100);
        eagre_poll(rig.sending.client, 0);
    }
    cr_assert_null(session_reserve(rig.sending.client->session, 64), "the window is full");
    eagre_unsubscribe(subscriber);
    cr_assert_eq(subscriptions_used(&rig), 8);
    cr_assert(server_run(rig.server, rig.sending.client, is_unsubscribed, &rig, 20),
              "%u subscriptions are left at the server",
              subscriptions_used(&rig));
    rig_close(&rig);
}

Test(link, batches_of_partitions_that_are_no_more_are_reported, .timeout = 60)
{
    struct rig rig;
    uint64_t number = 0;

    rig_open(&rig, 4, 500);
    rig.server->is_mute = true;
    for (int32_t partition = 0; partition < 4; partition++) {
        rig.sending.partition = partition;
        number += send_some(&rig.sending, number, 10);
    }
    rig_turns(&rig, 100);
    for (int32_t partition = 0; partition < 4; partition++) { /* these are open when it happens */
        rig.sending.partition = partition;
        number += send_some(&rig.sending, number, 5);
    }
    server_kill(rig.server);
    rig.server->partition_count = 2; /* deleted, and made again smaller */
    for (uint32_t i = 0; i < 2; i++)
        rig.server->partitions[i].incarnation += 100;
    rig.server->is_mute = false;
    rig.deliveries->want = number;
    cr_assert(server_run(rig.server, rig.sending.client, deliveries_are_there, rig.deliveries, 20),
              "%lu delivered, %lu failed of %lu",
              rig.deliveries->delivered,
              rig.deliveries->failed,
              number);
    cr_assert_geq(rig.deliveries->failed, 2 * 15, "those of partitions 2 and 3");
    cr_assert_eq(eagre_pending(rig.sending.producer), 0);
    rig.server->partition_count = 4; /* whose logs server_close() frees */
    rig_close(&rig);
}
