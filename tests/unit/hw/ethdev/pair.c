/* Goal: two ports of one process that tests can open, poll and close in a line each.
 * Method: vhost-user and virtio_user over a socket in a directory of the test. */
#include "tests/unit/hw/ethdev/pair.h"

#include "engine/base/bytes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct nic_address
address_of(const char *host, uint16_t port)
{
    struct nic_address address;
    struct diag_trail trail = {""};

    cr_assert_eq(nic_address_parse(host, port, &address, &trail), RC_OK, "%s", trail.text);
    return address;
}

uint64_t
pair_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t
pair_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* of this thread */
}

void
pair_init(struct pair *pair)
{
    *pair = (struct pair){.dir = "/tmp/eagre-unit-XXXXXX"};
    cr_assert_not_null(mkdtemp(pair->dir));
    (void)snprintf(pair->socket, sizeof(pair->socket), "%s/nic0", pair->dir);
    (void)snprintf(
        pair->server_devargs, sizeof(pair->server_devargs), "net_vhost0,iface=%s", pair->socket);
    (void)snprintf(pair->client_devargs,
                   sizeof(pair->client_devargs),
                   "net_virtio_user0,path=%s",
                   pair->socket);
}

void
pair_fini(struct pair *pair)
{
    (void)unlink(pair->socket);
    cr_expect_eq(rmdir(pair->dir), 0, "something was left in %s", pair->dir);
}

struct ethdev_config
pair_server_config(const struct pair *pair)
{
    return (struct ethdev_config){
        .devargs = pair->server_devargs,
        .local = address_of("10.0.0.1", 9095),
        .prefix_bits = 24,
        .queue_count = 1,
        .memory_bytes = 256 * MIB,
        .runtime_dir = pair->dir,
    };
}

struct ethdev_config
pair_client_config(const struct pair *pair)
{
    struct ethdev_config config = pair_server_config(pair);

    config.devargs = pair->client_devargs;
    config.peer = config.local;
    config.local = address_of("10.0.0.2", 40000);
    return config;
}

static void
open_side(const struct ethdev_config *config, struct ethdev **ret_port, struct nic **ret_queues)
{
    struct diag_trail trail = {""};
    enum rc rc = ethdev_open(config, ret_port, ret_queues, &trail);

    cr_assert_eq(rc, RC_OK, "%s: %s", rc_name(rc), trail.text);
}

static void
close_side(struct nic **queues, uint32_t queue_count)
{
    for (uint32_t i = 0; i < queue_count; i++) {
        nic_close(queues[i]);
        queues[i] = NULL;
    }
}

void
pair_open_server(struct pair *pair, uint32_t queue_count)
{
    struct ethdev_config config = pair_server_config(pair);

    config.queue_count = queue_count;
    pair->queue_count = queue_count;
    open_side(&config, &pair->server_port, pair->server);
}

void
pair_open_client(struct pair *pair, uint32_t queue_count)
{
    struct ethdev_config config = pair_client_config(pair);

    config.queue_count = queue_count;
    open_side(&config, &pair->client_port, pair->client);
}

void
pair_close_server(struct pair *pair)
{
    close_side(pair->server, pair->queue_count);
}

void
pair_close_client(struct pair *pair)
{
    close_side(pair->client, pair->queue_count);
}

static void
poll_side(struct nic **queues, uint32_t queue_count)
{
    struct nic_received received[NIC_BURST];

    for (uint32_t i = 0; i < queue_count; i++) {
        if (queues[i] == NULL)
            continue;
        uint32_t count = nic_receive(queues[i], received, NIC_BURST);
        nic_release(queues[i], received, count);
        (void)nic_flush(queues[i]);
    }
}

void
pair_poll(struct pair *pair, uint32_t ms)
{
    uint64_t end_ns = pair_now_ns() + ms * NS_PER_MS;

    do {
        poll_side(pair->server, pair->queue_count);
        poll_side(pair->client, pair->queue_count);
    } while (pair_now_ns() < end_ns);
}

void
pair_open(struct pair *pair, uint32_t queue_count)
{
    pair_init(pair);
    pair_open_server(pair, queue_count);
    pair_open_client(pair, queue_count);
    uint64_t end_ns = pair_now_ns() + 5 * NS_PER_S;
    /* The last question has its answer when nothing waits any more. */
    while (pair_counter(&pair->server[0]->counters.arp_replies) == 0) {
        cr_assert_lt(pair_now_ns(), end_ns, "no ARP request came through");
        pair_poll(pair, 1);
    }
    pair_poll(pair, 2);
}

void
pair_close(struct pair *pair)
{
    pair_close_client(pair);
    pair_close_server(pair);
    pair_fini(pair);
}

bool
pair_send(struct nic *nic, const struct nic_address *peer, uint64_t number, uint32_t byte_count)
{
    struct nic_sending sending;

    if (nic_reserve(nic, &sending, 1) != 1)
        return false;
    for (uint32_t i = 0; i < byte_count; i++)
        sending.bytes[i] = (uint8_t)(number + i);
    if (byte_count >= sizeof(number))
        put_u64_le(sending.bytes, number);
    sending.byte_count = byte_count;
    sending.peer = *peer;
    nic_send(nic, &sending, 1);
    return true;
}
