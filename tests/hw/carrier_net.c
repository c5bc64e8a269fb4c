/* Kernel sockets in other network namespaces: the far end of carriers that leave this host's
 * stack. */
#include "tests/hw/conformance.h"

#include "hw/nic/nic_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FAR_PORT 40000u
#define NEAR_PORT 9095u

/* Opens a socket in a namespace made by "ip netns add"; a socket stays where it was made. */
static enum rc
open_within(const char *namespace,
            const struct nic_socket_config *config,
            struct nic **ret_nic,
            struct diag_trail *trail)
{
    char path[256];
    enum rc rc = RC_DENIED;

    if (namespace == NULL)
        return nic_socket_open(config, ret_nic, trail);
    (void)snprintf(path, sizeof(path), "/run/netns/%s", namespace);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int away = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || away < 0 || setns(away, CLONE_NEWNET) != 0) {
        diag_trail_add(trail, "namespace %s: %s", namespace, strerror(errno));
        goto out;
    }
    rc = nic_socket_open(config, ret_nic, trail);
    if (setns(home, CLONE_NEWNET) != 0) {
        diag_trail_add(trail, "back to the own namespace: %s", strerror(errno));
        rc = RC_DENIED;
    }
out:
    (void)close(home);
    (void)close(away);
    return rc;
}

enum rc
hw_open_far_socket(const struct hw_options *options, struct nic **ret_nic, struct diag_trail *trail)
{
    const char *host = hw_option(options, "far", NULL);
    struct nic_socket_config config = {.plain = strcmp(hw_option(options, "plain", "no"), "yes") ==
                                                0};
    enum rc rc = nic_address_parse(host, FAR_PORT, &config.local, trail);

    return rc != RC_OK ? rc
                       : open_within(hw_option(options, "far-ns", NULL), &config, ret_nic, trail);
}

enum rc
hw_open_socket_between(const struct hw_options *options,
                       struct hw_pair *ret_pair,
                       struct diag_trail *trail)
{
    const char *host = hw_option(options, "near", NULL);
    struct nic_socket_config config = {0};
    struct nic *near = NULL;
    struct nic *far = NULL;

    enum rc rc = nic_address_parse(host, NEAR_PORT, &config.local, trail);
    if (rc == RC_OK)
        rc = nic_socket_open(&config, &near, trail);
    if (rc == RC_OK)
        rc = hw_open_far_socket(options, &far, trail);
    if (rc != RC_OK) {
        nic_close(near);
        return rc;
    }
    *ret_pair = (struct hw_pair){.near = near, .far = far, .near_address = near->local};
    return RC_OK;
}
