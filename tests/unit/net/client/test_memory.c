/* Goal: after opening, sending and receiving allocate nothing. Method: the malloc trap of dev
 * builds (hw/mem) is set around every call of a warm client: an allocation, in OpenSSL too, stops
 * the program. Builds without the trap only check that it works. */
#include "records.h"

#include "hw/mem/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t
read_all(struct eagre_subscriber *subscriber)
{
    struct eagre_batch batch;
    struct eagre_received record;
    uint64_t count = 0;

    while (eagre_next(subscriber, &batch) == 1)
        while (eagre_record_next(subscriber, &record) == 1)
            count++;
    return count;
}

/* Sends and reads so many numbers; trapped: the client may not allocate. */
static void
work(struct sending *sending,
     struct eagre_subscriber *subscriber,
     uint64_t first,
     uint64_t count,
     bool trapped)
{
    uint64_t read = 0;
    uint64_t sent = 0;

    for (uint32_t i = 0; i < 10000000 && read < count; i++) {
        if (trapped)
            mem_trap_enable();
        sent += send_some(sending, first + sent, count - sent);
        eagre_poll(sending->client, 0);
        read += read_all(subscriber);
        mem_trap_disable();
        server_poll(sending->server);
    }
    cr_assert_eq(read, count);
}

Test(eagre_client, allocates_nothing_once_it_works, .timeout = 60)
{
    struct server *server = server_open(1);
    struct deliveries *deliveries = deliveries_new();
    struct eagre_config config = server_config(server);
    struct eagre_producer_options options = eagre_producer_preset("orders");
    struct eagre_subscriber_options reading = eagre_subscriber_preset("orders");
    struct eagre_subscriber *subscriber;
    struct sending sending = {.server = server, .value_bytes = 100};

    options.on_delivery = deliveries_note;
    options.context = deliveries;
    cr_assert_eq(eagre_open(&config, &sending.client, NULL, 0), EAGRE_OK);
    cr_assert_eq(eagre_producer_open(sending.client, &options, &sending.producer, NULL, 0),
                 EAGRE_OK);
    cr_assert_eq(eagre_subscribe(sending.client, &reading, &subscriber, NULL, 0), EAGRE_OK);
    work(&sending, subscriber, 0, 1000, false);
    work(&sending, subscriber, 1000, 50000, true);
    eagre_close(sending.client);
    server_close(server);
    free(deliveries);
}
