/* Carriers through hw/ethdev: without a privilege virtio_user and vhost-user as two ports of this
 * process, and any other device with a kernel socket at its far end. */
#include "tests/hw/conformance.h"

#include "hw/ethdev/ethdev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEAR_PORT 9095u
#define MEMORY_BYTES ((uint32_t)(192 * MIB)) /* the first port brings what the second one uses */

static char directory[64];

/* The socket file is gone with its port; what is left is the directory. */
static void
directory_remove(void)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/nic0", directory);
    (void)unlink(path);
    (void)rmdir(directory);
}

/* Of the near port, a vhost-user one: nothing is posted there while nothing is under way. */
static uint32_t
buffers_in_use(void *ctx)
{
    struct ethdev_stats stats;

    return ethdev_stats(ctx, &stats) == RC_OK ? (uint32_t)stats.buffers_in_use : UINT32_MAX;
}

struct port {
    struct ethdev *port;
    struct nic *nic;
};

static enum rc
open_port(const struct ethdev_config *wanted, struct port *ret_port, struct diag_trail *trail)
{
    struct ethdev_config config = *wanted;
    char text[512];

    config.prefix_bits = 24;
    config.queue_count = 1;
    config.memory_bytes = MEMORY_BYTES;
    enum rc rc = ethdev_open(&config, &ret_port->port, &ret_port->nic, trail);
    if (rc == RC_OK) {
        ethdev_text(ret_port->port, text, sizeof(text));
        printf("     %s\n", text);
    }
    return rc;
}

/* As the far end is told: it finds the hardware address by ARP. */
static struct nic_address
without_mac(struct nic_address address)
{
    memset(address.mac, 0, sizeof(address.mac));
    return address;
}

enum rc
hw_open_virtio(const struct hw_options *options, struct hw_pair *ret_pair, struct diag_trail *trail)
{
    struct ethdev_config near_config = {0};
    struct ethdev_config far_config = {0};
    struct port near = {0};
    struct port far = {0};
    char near_devargs[128];
    char far_devargs[128];

    (void)options;
    (void)snprintf(directory, sizeof(directory), "/tmp/eagre-hw-XXXXXX");
    if (mkdtemp(directory) == NULL) {
        diag_trail_add(trail, "no directory for the socket");
        return RC_DENIED;
    }
    (void)atexit(directory_remove);
    (void)snprintf(near_devargs, sizeof(near_devargs), "net_vhost0,iface=%s/nic0", directory);
    (void)snprintf(far_devargs, sizeof(far_devargs), "net_virtio_user0,path=%s/nic0", directory);
    near_config.devargs = near_devargs;
    far_config.devargs = far_devargs;
    enum rc rc = nic_address_parse("10.7.0.1", NEAR_PORT, &near_config.local, trail);
    if (rc == RC_OK)
        rc = nic_address_parse("10.7.0.2", 40000, &far_config.local, trail);
    if (rc == RC_OK)
        rc = open_port(&near_config, &near, trail);
    far_config.peer = near_config.local;
    if (rc == RC_OK)
        rc = open_port(&far_config, &far, trail);
    if (rc != RC_OK) {
        nic_close(near.nic);
        return rc;
    }
    *ret_pair = (struct hw_pair){.near = near.nic,
                                 .far = far.nic,
                                 .near_address = without_mac(near.nic->local),
                                 .in_use = buffers_in_use,
                                 .ctx = near.port,
                                 .keeps_descriptors = true};
    return RC_OK;
}

enum rc
hw_open_device(const struct hw_options *options, struct hw_pair *ret_pair, struct diag_trail *trail)
{
    struct ethdev_config config = {.devargs = hw_option(options, "devargs", NULL)};
    const char *after = hw_option(options, "after", NULL);
    struct port near = {0};
    struct nic *far = NULL;
    bool shared = strcmp(hw_option(options, "shared", "no"), "yes") == 0;
    int ping_fd = shared ? 0 : -1; /* the kernel keeps the address, and answers */

    enum rc rc = nic_address_parse(
        hw_option(options, "near", NULL), NEAR_PORT, &config.local, trail);
    if (rc == RC_OK)
        rc = open_port(&config, &near, trail);
    if (rc == RC_OK && after != NULL && system(after) != 0) {
        diag_trail_add(trail, "%s failed", after);
        rc = RC_DENIED;
    }
    if (rc == RC_OK)
        rc = hw_open_far_socket(options, &far, trail);
    if (rc == RC_OK && !shared)
        ping_fd = hw_open_far_ping(options, &config.local, trail);
    if (rc != RC_OK || ping_fd < 0) {
        nic_close(far);
        nic_close(near.nic);
        return rc != RC_OK ? rc : RC_DENIED;
    }
    *ret_pair = (struct hw_pair){.near = near.nic,
                                 .far = far,
                                 .near_address = without_mac(near.nic->local),
                                 .ping_fd = ping_fd,
                                 .keeps_descriptors = true};
    return RC_OK;
}
