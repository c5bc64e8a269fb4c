/* libeagre-dpdk: hw/ethdev behind the carrier seam. */
#include "net/client/carrier.h"

#include "engine/base/base.h"
#include "hw/ethdev/ethdev.h"

#include <stdio.h>

int
eagre_carrier_dpdk_open(const struct carrier_request *request,
                        struct nic **ret_nic,
                        char *text,
                        size_t text_capacity)
{
    struct diag_trail trail = {0};
    struct ethdev *port = NULL;

    if (request->request_bytes != sizeof(*request) || request->nic_bytes != sizeof(struct nic)) {
        snprintf(text, text_capacity, "libeagre and libeagre-dpdk are of different builds");
        return EAGRE_UNSUPPORTED;
    }
    const struct eagre_config *config = request->config;
    struct ethdev_config port_config = {
        .devargs = config->dpdk_devargs,
        .local = request->local,
        .prefix_bits = config->dpdk_prefix_bits,
        .peer = request->peer,
        .queue_count = 1,
        .datagram_bytes_max = config->datagram_bytes_max,
        .hugepages = config->dpdk_hugepages != 0,
    };
    enum rc rc = ethdev_open(&port_config, &port, ret_nic, &trail);
    if (rc != RC_OK) {
        snprintf(text, text_capacity, "dpdk: %s", trail.text);
        return rc == RC_INVALID     ? EAGRE_INVALID
               : rc == RC_DENIED    ? EAGRE_DENIED
               : rc == RC_NO_MEMORY ? EAGRE_NO_MEMORY
                                    : EAGRE_UNSUPPORTED;
    }
    ethdev_text(port, text, text_capacity);
    return EAGRE_OK;
}
