/* A stream of numbered datagrams from one end to the other whose lengths and bytes follow from
 * their number, so that the receiver knows what must come next. */
#ifndef EAGRE_TESTS_HW_FLOW_H
#define EAGRE_TESTS_HW_FLOW_H

#include "tests/hw/conformance.h"

struct flow {
    struct nic *from;
    struct nic *to;
    const struct nic_address *peer;   /* where it is sent to */
    const struct nic_address *source; /* what the receiver must see; NULL: not looked at */
    uint32_t count;
    uint32_t window; /* datagrams under way at most */
    uint32_t send_burst;
    uint32_t receive_burst;
    uint32_t (*size_of)(const struct flow *flow, uint32_t number); /* [1, size_max] */
    uint32_t size_max;
    /* progress */
    uint32_t sent;
    uint32_t received;
    uint64_t bytes;
    bool broken; /* and said so */
};

/* A flow from the near end to the far one, or back, with common values. */
struct flow flow_make(struct hw_pair *pair, bool to_far, uint32_t count);

/* Runs one or two flows (second may be NULL) until all has arrived; false, and said why, when
 * something is wrong or nothing moves for 5 s. An end that only sends must receive nothing. */
bool flow_run(struct flow *first, struct flow *second);

/* Sends up to `most` more datagrams, and nothing else; gives how many. */
uint32_t flow_send(struct flow *flow, uint32_t most);

/* Writes the number into the first bytes and a pattern behind it. */
void flow_fill(uint8_t *bytes, uint32_t byte_count, uint32_t number);
/* Whether bytes are what flow_fill() made of that number. */
bool flow_matches(const uint8_t *bytes, uint32_t byte_count, uint32_t number);
/* The number of a datagram of at least 4 bytes. */
uint32_t flow_number(const uint8_t *bytes);

/* Takes and forgets what arrives at an end until nothing came for quiet_ns, polling once at least;
 * gives how many. */
uint64_t flow_drain(struct nic *nic, uint64_t quiet_ns);
/* Flushes until nothing waits or 3 s passed, receiving at both ends all the while; true when
 * nothing waits. */
bool flow_settle(struct nic *nic, struct nic *other);

#endif
