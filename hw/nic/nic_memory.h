/* Two ends in one process with a network in between that misbehaves by seed: for tests and the
 * simulator. netem does not exist on many kernels, and this one is replayed from a number.
 *
 * Datagrams sent into one end come out of the other after a delay on the clock of the world, or
 * not, or twice, or late, or damaged. Both ends belong to one thread. */
#ifndef EAGRE_HW_NIC_NIC_MEMORY_H
#define EAGRE_HW_NIC_NIC_MEMORY_H

#include "hw/clock/clock.h"
#include "hw/nic/nic.h"

#define NIC_MEMORY_ENDS_MAX 4096u /* over the life of one wire; addresses are not used again */
#define NIC_MEMORY_SLOTS_MAX (UINT32_C(1) << 20)

struct nic_memory_faults {
    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm; /* delayed by up to reorder_ns more than its fellows */
    uint32_t corrupt_ppm; /* one to eight bits or a cut end */
    uint64_t delay_ns;    /* of every datagram */
    uint64_t reorder_ns;
    uint32_t datagram_bytes_max; /* longer ones vanish, as on a path with a smaller MTU; 0: none */
};

struct nic_memory_config {
    struct clock *clock; /* borrowed; virtual or real */
    uint64_t seed;
    uint32_t slots; /* datagrams under way to each end, [1, NIC_MEMORY_SLOTS_MAX]; more are lost
                       and counted there as receive_missed */
    uint32_t datagram_bytes_max; /* 0: NIC_DATAGRAM_BYTES */
    struct nic_memory_faults faults;
};

struct nic_memory_net; /* the wire between the ends */

/* RC_OK, RC_INVALID (a number out of its range), RC_NO_MEMORY. Datagrams leave an end at
 * nic_flush(), or when its software queue is full, as with the other bodies: a forgotten flush is
 * found.
 *
 * Allocates: once.  ret_ends[0] has address 10.0.0.1:9095, ret_ends[1] 10.0.0.2:40000; more ends
 * are made by nic_memory_add(). Closing the last end frees the wire. */
enum rc nic_memory_open(const struct nic_memory_config *config,
                        struct nic *ret_ends[2],
                        struct nic_memory_net **ret_net) MUST_USE;
/* One more client end, with the next address (10.0.0.3:40000, ...); so that floods and several
 * sessions can be tested. RC_LIMIT after NIC_MEMORY_ENDS_MAX. */
enum rc nic_memory_add(struct nic_memory_net *net, struct nic **ret_end) MUST_USE;
/* Puts a datagram on the wire that claims to come from anywhere: for forged sources and replayed
 * captures. byte_count [0, 65535]; what is longer than the ends take is counted there as
 * malformed. The same faults apply. */
void nic_memory_inject(struct nic_memory_net *net,
                       const struct nic_address *from,
                       const struct nic_address *to,
                       const void *bytes,
                       uint32_t byte_count);
/* New faults from now on. */
void nic_memory_set_faults(struct nic_memory_net *net, const struct nic_memory_faults *faults);
/* When the next datagram comes out on any end; UINT64_MAX: none under way. */
uint64_t nic_memory_due_ns(const struct nic_memory_net *net);
/* Datagrams under way and buffers not given back: 0 after a run that leaks nothing. */
uint32_t nic_memory_in_use(const struct nic_memory_net *net);

#endif
