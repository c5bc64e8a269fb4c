/* The port filter of an AF_XDP port (xdp/port_filter.bpf.c): finding its parameters in the object
 * file and filling them in. Shared inside hw/ethdev only. */
#ifndef EAGRE_HW_ETHDEV_ETHDEV_FILTER_H
#define EAGRE_HW_ETHDEV_ETHDEV_FILTER_H

#include "hw/ethdev/ethdev_args.h"

#define ETHDEV_FILTER_BYTES_MAX (256 * KIB) /* of an object file */

struct ethdev_filter {
    uint32_t ip; /* host order */
    uint16_t port_first;
    uint16_t port_count;
};

/* Writes filter behind the magic in object [byte_count]. False: no such place, or more than one,
 * and nothing is changed: a program of the user's own. */
bool ethdev__filter_fill(uint8_t *object, size_t byte_count, const struct ethdev_filter *filter);

/* When args name our program, puts a copy for this port into a new file and its path into args.
 * ret_path [capacity]: the copy, to be removed when the port is started; "" when there is none.
 * RC_INVALID, RC_NOT_FOUND, RC_DENIED with the cause in trail. */
enum rc ethdev__filter_prepare(struct ethdev_args *args,
                               const struct ethdev_filter *filter,
                               char *ret_path,
                               size_t capacity,
                               struct diag_trail *trail) MUST_USE;

#endif
