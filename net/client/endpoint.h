/* "host:port", "[::1]:9095" or "host" into an address. */
#ifndef EAGRE_NET_CLIENT_ENDPOINT_H
#define EAGRE_NET_CLIENT_ENDPOINT_H

#include "eagre/eagre.h"
#include "hw/nic/nic.h"

#define ENDPOINT_HOST_MAX 200u

/* Splits; host: [ENDPOINT_HOST_MAX]. port_preset: when none is written; 0: one must be.
 * EAGRE_OK, _INVALID. */
int client__endpoint_split(const char *text, uint16_t port_preset, char *host, uint16_t *ret_port);
/* Splits and resolves. EAGRE_OK, _INVALID, _UNREACHABLE (name unknown). port_preset as the port
 * when none is written, 0 included. Blocks: on the resolver. */
int client__endpoint_parse(const char *text,
                           uint16_t port_preset,
                           struct nic_address *ret_address,
                           char *why,
                           size_t why_capacity);

#endif
