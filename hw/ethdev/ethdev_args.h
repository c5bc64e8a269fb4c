/* What a port's devargs say, before EAL sees them, and the sizes that follow from them. Pure but
 * for ethdev__clear_stale_socket(). Shared inside hw/ethdev only. */
#ifndef EAGRE_HW_ETHDEV_ETHDEV_ARGS_H
#define EAGRE_HW_ETHDEV_ETHDEV_ARGS_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define ETHDEV_NAME_MAX 64u
#define ETHDEV_PATH_MAX 108u   /* of a unix socket */
#define ETHDEV_TEXT_MAX 384u   /* devargs with what was added */
#define ETHDEV_POOL_CACHE 256u /* buffers that a core keeps at hand */

enum ethdev_kind {
    ETHDEV_VHOST,       /* the server side of a virtual cable, in shared memory */
    ETHDEV_VIRTIO_USER, /* its client side */
    ETHDEV_AF_XDP,      /* a kernel interface, shared with the kernel */
    ETHDEV_TAP,         /* a new kernel interface */
    ETHDEV_PCI,         /* a device by its bus address */
    ETHDEV_OTHER        /* any other virtual device */
};

struct ethdev_args {
    enum ethdev_kind kind;
    char name[ETHDEV_NAME_MAX];        /* of the device, up to the first comma */
    char text[ETHDEV_TEXT_MAX];        /* all, with defaults added that the driver sets worse */
    char listen_path[ETHDEV_PATH_MAX]; /* unix socket that the driver will create; "": none */
    char object_path[ETHDEV_PATH_MAX]; /* AF_XDP: the port filter's object file; "": none */
};

/* RC_INVALID with the cause in trail: unreadable, too long, or a required key is missing. */
enum rc ethdev__args_parse(const char *devargs,
                           uint32_t queue_count,
                           struct ethdev_args *ret_args,
                           struct diag_trail *trail) MUST_USE;

/* Copies the value of ",key=" into value. False: no such key; value is then "". */
bool ethdev__args_value(const char *devargs, const char *key, char *value, size_t capacity);

/* Removes a socket file at path when nobody listens behind it. RC_OK also when there is none;
 * RC_BUSY when somebody does; RC_INVALID when it is not a socket; RC_DENIED. */
enum rc ethdev__clear_stale_socket(const char *path, struct diag_trail *trail) MUST_USE;

/* Descriptors of each ring of one queue. */
uint32_t ethdev__descriptor_count(enum ethdev_kind kind);
/* Buffers of one queue's pool: whatever rings, caches and the software queue can hold at once
 * (hotpath section 1.3), as 2^k - 1. */
uint32_t ethdev__pool_count(enum ethdev_kind kind);
/* Bytes of a buffer that takes a whole frame with datagram_bytes of UDP payload, headroom included.
 */
uint32_t ethdev__room_bytes(uint32_t datagram_bytes);
/* What EAL is told to reserve without hugepages: this port twice (a second one may be added later)
 * and what drivers take. Address space; resident when touched. */
uint64_t ethdev__memory_bytes(enum ethdev_kind kind, uint32_t queue_count, uint32_t room_bytes);

#endif
