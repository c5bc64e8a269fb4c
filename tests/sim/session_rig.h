/* Two native sessions on a bad wire, with a user at each end who writes numbered records, takes
 * what comes, stalls and trickles; and, when asked, a foe who sees everything and injects what it
 * likes.
 *
 * One thread, one virtual clock, everything drawn from the seed. The judge looks at every step:
 *
 *   - each record is taken once and in order, with the value that its number demands
 *   - no datagram carries a sequence beyond what the other end has granted
 *   - the share of slots for packets out of order is never exceeded
 *   - neither end closes the session
 *
 * and at the end: everything written was taken, nothing is unacknowledged, no slot of a pool and no
 * datagram of the wire is in use. */
#ifndef EAGRE_TESTS_SIM_SESSION_RIG_H
#define EAGRE_TESTS_SIM_SESSION_RIG_H

#include "hw/nic/nic_memory.h"
#include "net/session/cookie.h"
#include "net/session/session_inner.h"

#define SESSION_RIG_DATAGRAM 1400u
#define SESSION_RIG_FOE_KEEPS 256u

struct session_rig_options {
    uint64_t seed;
    uint64_t records; /* both directions together */
    bool verbose;
};

enum station_mood {
    STATION_BUSY,     /* takes everything */
    STATION_STALLED,  /* no room, no credit */
    STATION_TRICKLES, /* one packet of room and credit at a time */
    STATION_MOODS,
};

/* One end and its user. */
struct station {
    const char *name;
    struct nic *nic;
    struct session *session;
    struct session_pool *pool;
    struct session_cipher *cipher;
    struct nic_address peer;
    enum station_mood mood;
    uint64_t mood_until_ns;
    uint64_t key;      /* of the records it writes */
    uint64_t peer_key; /* of those it takes */
    uint64_t written;
    uint64_t write_goal;
    uint64_t taken;
    uint64_t take_goal;
    uint8_t scratch[SESSION_RIG_DATAGRAM];
};

struct session_rig {
    struct session_rig_options options;
    struct clock clock;
    struct clock dice; /* the users' and the foe's */
    struct nic_memory_net *net;
    struct cookie_jar *jar;
    struct station client;
    struct station server;
    uint64_t trace; /* hash of everything that happened, in order */
    uint64_t steps;
    bool sealed;      /* AEAD */
    uint32_t foe_ppm; /* injections per datagram sent */
    uint64_t foe_injected;
    uint32_t foe_count; /* kept so far */
    struct {
        uint32_t byte_count;
        bool from_client;
        uint8_t bytes[SESSION_RIG_DATAGRAM];
    } foe[SESSION_RIG_FOE_KEEPS];
    char why[256]; /* the first thing that was wrong; empty: good */
};

/* What a run adds to the totals. */
struct session_rig_sum {
    uint64_t records;
    uint64_t packets;
    uint64_t retransmitted;
    uint64_t rekeys;
    uint64_t replayed;
    uint64_t forged;
    uint64_t injected;
    uint64_t stalls;
};

/* Runs one seed to its end and judges. False: rig->why says what was wrong. The rig is to be zero
 * or used before; it needs no cleaning. */
bool session_rig_run(struct session_rig *rig,
                     const struct session_rig_options *options,
                     struct session_rig_sum *sum);

/* session_foe.c: looks at a datagram that an end sends, and perhaps injects something. */
void session_foe_look(struct session_rig *rig,
                      const struct station *from,
                      const uint8_t *bytes,
                      uint32_t byte_count);

#endif
