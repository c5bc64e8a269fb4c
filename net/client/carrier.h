/* The seam to the carrier that is a library of its own: libeagre itself must not depend on DPDK,
 * whose EAL brings threads and drivers. libeagre-dpdk.so.0 exports one function of this type under
 * the name CARRIER_DPDK_SYMBOL; a program that has hw/ethdev linked in (the command line) sets it
 * with client__carrier_dpdk_set() and needs no library. */
#ifndef EAGRE_NET_CLIENT_CARRIER_H
#define EAGRE_NET_CLIENT_CARRIER_H

#include "eagre/eagre.h"
#include "hw/nic/nic.h"

#define CARRIER_DPDK_LIBRARY "libeagre-dpdk.so.0"
#define CARRIER_DPDK_SYMBOL "eagre_carrier_dpdk_open"

struct carrier_request {
    size_t request_bytes; /* sizeof both structs: library and caller are of one build */
    size_t nic_bytes;
    const struct eagre_config *config;
    struct nic_address local;
    struct nic_address peer;
};

/* EAGRE_OK, _INVALID, _DENIED, _NO_MEMORY, _UNSUPPORTED. text: [text_capacity] what runs, or why
 * not. Allocates: yes.  Blocks: up to 2 s. */
typedef int carrier_open_function(const struct carrier_request *request,
                                  struct nic **ret_nic,
                                  char *text,
                                  size_t text_capacity);

/* For the whole process, before eagre_open(). */
void client__carrier_dpdk_set(carrier_open_function *open_function);

/* Exported by libeagre-dpdk; in carrier_dpdk.c. */
carrier_open_function eagre_carrier_dpdk_open;

#endif
