/* One suite for every body of hw/nic: a carrier gives two ends that can reach each other, the
 * checks know nothing else about it. */
#ifndef EAGRE_TESTS_HW_CONFORMANCE_H
#define EAGRE_TESTS_HW_CONFORMANCE_H

#include "hw/nic/nic.h"

/* Two ends. The far one speaks first, so that a near end without a routing table learns where it
 * is. */
struct hw_pair {
    struct nic *near;                /* the body in question */
    struct nic *far;                 /* the same body, or the kernel's */
    struct nic_address near_address; /* where the far end sends to */
    struct nic_address far_address;  /* as the near end saw it: set by the greeting */
    /* Buffers that are neither free nor where the carrier keeps them at rest; NULL: cannot tell. */
    uint32_t (*in_use)(void *ctx);
    void *ctx;
    bool keeps_descriptors; /* opening leaves files open for good (EAL) */
    int ping_fd; /* 0, or a raw ICMP socket of the kernel at the far end, connected to the near
                    address; closed by main.c */
};

/* "key=value" words of the command line. */
struct hw_options {
    char **words;
    int count;
};
/* The value of key, or otherwise. */
const char *hw_option(const struct hw_options *options, const char *key, const char *otherwise);

struct hw_carrier {
    const char *name;
    const char *about;
    enum rc (*open)(const struct hw_options *options,
                    struct hw_pair *ret_pair,
                    struct diag_trail *trail);
};

/* Ends with an entry without a name. */
extern const struct hw_carrier hw_carriers[];

/* Carriers that need a network of their own and the dpdk ones: carrier_net.c, carrier_ethdev.c. */
enum rc hw_open_socket_between(const struct hw_options *options,
                               struct hw_pair *ret_pair,
                               struct diag_trail *trail);
/* Two ports of this process: vhost-user and virtio_user. */
enum rc hw_open_virtio(const struct hw_options *options,
                       struct hw_pair *ret_pair,
                       struct diag_trail *trail);
/* A port of these devargs=, address near=; after= is a command to run when it is open;
 * shared=yes: the kernel keeps the address beside it. */
enum rc hw_open_device(const struct hw_options *options,
                       struct hw_pair *ret_pair,
                       struct diag_trail *trail);
/* A socket for struct hw_pair's ping_fd, or -1. */
int hw_open_far_ping(const struct hw_options *options,
                     const struct nic_address *near,
                     struct diag_trail *trail);
/* A kernel socket at address `far`, port 40000, in namespace `far-ns` when that is given. */
enum rc hw_open_far_socket(const struct hw_options *options,
                           struct nic **ret_nic,
                           struct diag_trail *trail);

struct hw_check {
    const char *name; /* reads as a sentence about a carrier */
    /* Whether it makes sense here; NULL: always. */
    bool (*applies)(const struct hw_pair *pair);
    /* False: says why on stdout. */
    bool (*run)(struct hw_pair *pair);
};
/* In order; the last one closes the far end. Ends with an entry without a name. */
extern const struct hw_check hw_checks[];

/* Lets both ends find each other: false after 20 s. */
bool hw_greet(struct hw_pair *pair);
uint64_t hw_now_ns(void);

#endif
