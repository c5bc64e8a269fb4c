/* What can carry datagrams between two ends: one line per carrier at the end. */
#include "tests/hw/conformance.h"

#include "hw/nic/nic_memory.h"
#include "hw/nic/nic_socket.h"

static uint32_t
memory_in_use(void *ctx)
{
    return nic_memory_in_use(ctx);
}

static enum rc
open_memory(const struct hw_options *options, struct hw_pair *ret_pair, struct diag_trail *trail)
{
    static struct clock clock;
    struct nic *ends[2];
    struct nic_memory_net *net;

    (void)options;
    clock_init_real(&clock);
    enum rc rc = nic_memory_open(
        &(struct nic_memory_config){.clock = &clock, .seed = 1, .slots = 4096}, ends, &net);
    if (rc != RC_OK) {
        diag_trail_add(trail, "%s", rc_text(rc));
        return rc;
    }
    *ret_pair = (struct hw_pair){.near = ends[0],
                                 .far = ends[1],
                                 .near_address = ends[0]->local,
                                 .in_use = memory_in_use,
                                 .ctx = net};
    return RC_OK;
}

/* Two sockets of this host, at near_host and far_host. */
static enum rc
open_sockets(const char *near_host,
             const char *far_host,
             struct nic_socket_config near_config,
             struct nic_socket_config far_config,
             struct hw_pair *ret_pair)
{
    struct diag_trail trail = {""};
    struct nic *near = NULL;
    struct nic *far = NULL;
    enum rc rc = nic_address_parse(far_host, 0, &far_config.local, &trail);

    if (rc == RC_OK && near_host != NULL)
        rc = nic_address_parse(near_host, 0, &near_config.local, &trail);
    if (rc == RC_OK)
        rc = nic_socket_open(&near_config, &near, &trail);
    if (rc == RC_OK)
        rc = nic_socket_open(&far_config, &far, &trail);
    if (rc != RC_OK) {
        nic_close(near);
        return rc;
    }
    *ret_pair = (struct hw_pair){.near = near, .far = far, .near_address = near->local};
    if (near_host == NULL) { /* open to any address: reached at the far end's own */
        ret_pair->near_address = far->local;
        ret_pair->near_address.port = near->port;
    }
    return RC_OK;
}

#define SOCKET_CARRIER(name, near_host, far_host, near_config, far_config)                    \
    static enum rc open_##name(                                                               \
        const struct hw_options *options, struct hw_pair *ret_pair, struct diag_trail *trail) \
    {                                                                                         \
        enum rc rc = open_sockets(near_host,                                                  \
                                  far_host,                                                   \
                                  (struct nic_socket_config)near_config,                      \
                                  (struct nic_socket_config)far_config,                       \
                                  ret_pair);                                                  \
                                                                                              \
        (void)options;                                                                        \
        if (rc != RC_OK)                                                                      \
            diag_trail_add(trail, "%s", rc_text(rc));                                         \
        return rc;                                                                            \
    }
#define PLAIN         \
    {                 \
        .plain = true \
    }
#define TRAINS         \
    {                  \
        .plain = false \
    }
#define JUMBO                                        \
    {                                                \
        .datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX \
    }
SOCKET_CARRIER(socket, "127.0.0.1", "127.0.0.1", TRAINS, TRAINS)
SOCKET_CARRIER(socket_plain, "127.0.0.1", "127.0.0.1", PLAIN, PLAIN)
SOCKET_CARRIER(socket_mixed, "127.0.0.1", "127.0.0.1", TRAINS, PLAIN)
SOCKET_CARRIER(socket_jumbo, "127.0.0.1", "127.0.0.1", JUMBO, JUMBO)
SOCKET_CARRIER(socket_ipv6, "::1", "::1", TRAINS, TRAINS)
SOCKET_CARRIER(socket_any, NULL, "127.0.0.1", TRAINS, TRAINS)

const struct hw_carrier hw_carriers[] = {
    {"memory", "nothing but memory", open_memory},
    {"socket", "UDP on loopback, with UDP_SEGMENT and UDP_GRO", open_socket},
    {"socket-plain", "UDP on loopback, one datagram at a time", open_socket_plain},
    {"socket-mixed", "UDP on loopback, trains on one side only", open_socket_mixed},
    {"socket-jumbo", "UDP on loopback, datagrams of up to 8,900 bytes", open_socket_jumbo},
    {"socket-ipv6", "UDP on ::1", open_socket_ipv6},
    {"socket-any", "a socket open to any address of both families", open_socket_any},
    {"socket-between", "UDP between two network namespaces", hw_open_socket_between},
    {"virtio", "virtio_user on a vhost-user port, in one process", hw_open_virtio},
    {"device", "a DPDK port and a kernel socket behind it", hw_open_device},
    {NULL, NULL, NULL},
};
