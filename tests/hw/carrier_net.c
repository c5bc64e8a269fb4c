/* Kernel sockets in other network namespaces: the far end of carriers that leave this host's
 * stack. */
#include "tests/hw/conformance.h"

#include "hw/nic/nic_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAR_PORT 40000u
#define NEAR_PORT 9095u

/* Steps into a namespace made by "ip netns add"; sockets stay where they are made. Gives the way
 * back, or -1. NULL: stays. */
static int
namespace_enter(const char *namespace, struct diag_trail *trail)
{
    char path[256];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (namespace == NULL || home < 0)
        return home;
    (void)snprintf(path, sizeof(path), "/run/netns/%s", namespace);
    int away = open(path, O_RDONLY | O_CLOEXEC);
    if (away < 0 || setns(away, CLONE_NEWNET) != 0) {
        diag_trail_add(trail, "namespace %s: %s", namespace, strerror(errno));
        (void)close(home);
        home = -1;
    }
    (void)close(away);
    return home;
}

static void
namespace_leave(int home)
{
    if (setns(home, CLONE_NEWNET) != 0 && errno != EPERM) /* an ordinary user never left */
        abort();
    (void)close(home);
}

enum rc
hw_open_far_socket(const struct hw_options *options, struct nic **ret_nic, struct diag_trail *trail)
{
    const char *host = hw_option(options, "far", NULL);
    struct nic_socket_config config = {.plain = strcmp(hw_option(options, "plain", "no"), "yes") ==
                                                0};
    int home = namespace_enter(hw_option(options, "far-ns", NULL), trail);

    if (home < 0)
        return RC_DENIED;
    enum rc rc = nic_address_parse(host, FAR_PORT, &config.local, trail);
    if (rc == RC_OK)
        rc = nic_socket_open(&config, ret_nic, trail);
    namespace_leave(home);
    return rc;
}

int
hw_open_far_ping(const struct hw_options *options,
                 const struct nic_address *near,
                 struct diag_trail *trail)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    int home = namespace_enter(hw_option(options, "far-ns", NULL), trail);

    if (home < 0)
        return -1;
    memcpy(&name.sin_addr, near->ip + 12, sizeof(name.sin_addr));
    int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof(name)) != 0) {
        diag_trail_add(trail, "raw socket: %s", strerror(errno));
        (void)close(fd);
        fd = -1;
    }
    namespace_leave(home);
    return fd;
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
