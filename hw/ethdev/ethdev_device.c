/* Adding and removing one DPDK device by its devargs. */
#include "hw/ethdev/ethdev_port.h"

#include "hw/ethdev/ethdev_eal.h"

#include <errno.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_version.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Debian puts libxdp's own programs here and tells nobody. */
#define XDP_OBJECTS "/usr/lib/x86_64-linux-gnu/bpf"

enum rc
ethdev__device_fail(struct diag_trail *trail, int error, const char *text)
{
    const char *words = ethdev__eal_words();

    error = error < 0 ? -error : error;
    diag_trail_add(trail,
                   "%s: %s%s%s%s",
                   text,
                   error > 1 ? strerror(error) : "the driver refuses",
                   words[0] != '\0' ? " (" : "",
                   words,
                   words[0] != '\0' ? ")" : "");
    switch (error) {
    case ENOMEM:
    case ENOBUFS:
        return RC_NO_MEMORY;
    case EACCES:
        return RC_DENIED;
    case EINVAL:
        return RC_INVALID;
    default: /* 1 is what drivers return for anything, so it cannot be read as EPERM */
        return RC_UNSUPPORTED;
    }
}

/* What the driver's failure means for a port of this kind. */
static enum rc
explain_probe(const struct ethdev_args *args, int error, struct diag_trail *trail)
{
    char path[ETHDEV_PATH_MAX];

    enum rc rc = ethdev__device_fail(trail, error, args->text);
    if (args->kind == ETHDEV_VIRTIO_USER && args->listen_path[0] == '\0' &&
        ethdev__args_value(args->text, "path", path, sizeof(path))) {
        diag_trail_add(trail, "nobody serves a port at %s", path);
        return RC_NOT_FOUND;
    }
    return rc;
}

enum rc
ethdev__device_add(const struct ethdev_args *args, uint16_t *ret_port_id, struct diag_trail *trail)
{
    struct rte_dev_iterator iterator;
    uint16_t port_id = ETHDEV_NO_PORT;

    if (rte_eth_dev_get_port_by_name(args->name, &port_id) == 0 && args->kind != ETHDEV_PCI) {
        diag_trail_add(trail, "this process has a port %s already", args->name);
        return RC_EXISTS;
    }
    if (args->kind == ETHDEV_AF_XDP && getenv("LIBXDP_OBJECT_PATH") == NULL &&
        access(XDP_OBJECTS, R_OK) == 0)
        (void)setenv("LIBXDP_OBJECT_PATH", XDP_OBJECTS, 0);

    int result = rte_dev_probe(args->text);
    if (result != 0 && !(args->kind == ETHDEV_PCI && result == -EEXIST))
        return explain_probe(args, result, trail);
    if (rte_eth_dev_get_port_by_name(args->name, &port_id) != 0) {
        /* Named otherwise by its driver: the first port on that device. */
        RTE_ETH_FOREACH_MATCHING_DEV(port_id, args->text, &iterator)
        {
            rte_eth_iterator_cleanup(&iterator);
            break;
        }
        if (port_id == RTE_MAX_ETHPORTS)
            return explain_probe(args, ENODEV, trail);
    }
    *ret_port_id = port_id;
    return RC_OK;
}

void
ethdev__device_remove(uint16_t port_id)
{
    struct rte_eth_dev_info info = {.device = NULL};

    (void)rte_eth_dev_stop(port_id);
    int result = rte_eth_dev_info_get(port_id, &info);
    (void)rte_eth_dev_close(port_id);
    if (result == 0 && info.device != NULL)
        (void)rte_dev_remove(info.device);
}
