/* What the files of this folder share: the structs of a session and of its pool, and the functions
 * between the files. Included by this folder and its tests only.
 *
 *   session.c             life, states, timers             session_handshake.c  HELLO, RETRY, READY
 *   session_receive.c     a datagram in, order, taking     session_send.c       building, sending
 *   session_ack.c         what the peer acknowledged, loss session_congestion.c round trip, window
 *   session_pool.c        slots
 *
 * Sequences on the sending side, each a border of a half-open range:
 *
 *     send_first        send_unsent      send_next        min(credit, send_first + window)
 *         | sent, in flight | queued, never |  may be begun    |
 *         | or lost         | sent          |                  |
 *
 * and on the receiving side:
 *
 *     take_next            arrived_next          arrived_end      granted
 *         | in slots, in order | gaps and slots     |  may come      |  refused
 */
#ifndef EAGRE_NET_SESSION_SESSION_INNER_H
#define EAGRE_NET_SESSION_SESSION_INNER_H

#include "net/session/session.h"
#include "net/wire/wire_frame.h"

#define SESSION_NO_SLOT UINT32_MAX
#define SESSION_RING_MASK (SESSION_WINDOW_MAX - 1)
#define SESSION_CWND_FIRST 32u
#define SESSION_CWND_LEAST 2u
#define SESSION_PROBE_PACKETS                                          \
    2u /* sent at once after a probe timeout, whatever the window says \
        */
#define SESSION_PROBE_MAX_NS NS_PER_S
#define SESSION_BASE_WINDOW_NS (10 * NS_PER_S) /* the least round trip is looked for in so much */
#define SESSION_PACKETS_MAX (UINT64_C(1) << 62)
#define SESSION_TOKEN_OWN UINT64_MAX /* of our own PINGs */
#define SESSION_CLOSE_TEXT 128u

_Static_assert((SESSION_WINDOW_MAX & SESSION_RING_MASK) == 0, "a power of two");

enum session_slot_state {
    SESSION_SLOT_FREE,
    SESSION_SLOT_BUILDING,  /* frames are being written */
    SESSION_SLOT_QUEUED,    /* complete, never sent */
    SESSION_SLOT_IN_FLIGHT, /* sent, not acknowledged; in list in_flight */
    SESSION_SLOT_LOST,      /* to be sent again; in list lost */
    SESSION_SLOT_ARRIVED,   /* received, waits for its turn */
    SESSION_SLOT_TAKEN,     /* its frames are lent to the user until the next call */
};

struct session_slot {
    uint64_t sequence;
    uint64_t packet_number; /* of its last transmission */
    uint64_t sent_ns;
    uint32_t previous; /* of its list, SESSION_NO_SLOT at the end */
    uint32_t next;     /* of its list, or of the free list */
    uint32_t byte_count;
    uint32_t state; /* enum session_slot_state */
};

struct session_pool {
    uint32_t slot_count;
    uint32_t slot_bytes; /* stride of bytes */
    uint32_t reorder_max;
    uint32_t reorder_used;
    uint32_t used;
    uint32_t fresh;      /* slots [fresh, slot_count) were never used, their memory never touched */
    uint32_t free_first; /* newest first */
    struct session_slot *slots; /* [slot_count] */
    uint8_t *bytes;             /* [slot_count][slot_bytes] */
};

struct session_list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

struct session_replay {
    uint64_t top;                            /* largest packet number received, 0: none */
    uint64_t seen[SESSION_REPLAY_BITS / 64]; /* bit: packet number modulo SESSION_REPLAY_BITS */
};

/* The sending direction. */
struct session_sender {
    uint64_t first;  /* oldest sequence not acknowledged by the cumulative ack */
    uint64_t unsent; /* oldest sequence never sent */
    uint64_t next;   /* the sequence that the next complete packet gets */
    uint64_t credit; /* the peer takes sequences below this */
    uint64_t next_packet;
    uint64_t largest_acked; /* packet number */
    uint32_t building;      /* slot under construction */
    uint32_t reserved_bytes;
    struct session_list in_flight; /* in the order of packet numbers */
    struct session_list lost;
    uint32_t probes_allowed; /* packets that may go out beyond the window */
    uint32_t probe_backoff;
    uint32_t credit_backoff;
    uint64_t credit_probed_ns; /* the last ACK frame, or the last probe for credit */
    uint64_t sent_ns;          /* the last packet of any kind */
    uint64_t timed_packet;     /* the last unsequenced packet that will be acknowledged at once */
    uint64_t timed_ns;
    uint64_t key_first_packet; /* of this key generation */
    uint64_t key_since_ns;
    uint64_t key_ping_ns;               /* the last PING for the sake of turning the key */
    uint32_t slots[SESSION_WINDOW_MAX]; /* of sequences, modulo */
};

/* The receiving direction. */
struct session_receiver {
    uint64_t take_next;    /* the next sequence to hand to the user */
    uint64_t arrived_next; /* all below have arrived */
    uint64_t arrived_end;  /* one above the largest that has arrived */
    uint64_t granted;      /* sequences below this may come; as last announced */
    uint32_t grant;        /* packets ahead of take_next that may be announced */
    uint32_t taken;        /* slot lent to the user */
    uint64_t received_ns;  /* the last authentic packet */
    uint64_t top_ns;       /* when replay.top came */
    uint64_t ack_at_ns;    /* NO_DEADLINE: none is owed */
    uint32_t ack_count;    /* sequenced packets since the last ACK frame */
    bool ack_now;          /* an ACK frame is owed at once */
    bool has_direct;       /* direct waits to be taken: the sequence take_next */
    struct bytes direct;
    struct session_replay replay;
    uint32_t slots[SESSION_WINDOW_MAX]; /* of sequences, modulo */
};

struct session_path {
    uint64_t rtt_ns; /* smoothed, 0: no sample yet */
    uint64_t rtt_deviation_ns;
    uint64_t base_ns;        /* least round trip of this and the last SESSION_BASE_WINDOW_NS */
    uint64_t base_recent_ns; /* least of the present one */
    uint64_t base_since_ns;
    uint64_t shrunk_ns;       /* when the window was last made smaller for delay */
    uint64_t recovery_packet; /* losses of packets below it are of an episode already answered */
    uint32_t window;          /* packets in flight */
    uint32_t window_acked;    /* acknowledged since it last grew */
};

struct session_ping_state {
    uint64_t token;
    uint64_t reply_token;
    bool due;         /* the user's PING is to be sent */
    bool own_due;     /* a PING of ours is to be sent */
    bool outstanding; /* the user's PING was asked for and not answered */
    bool answered;    /* session_pong() has something to tell */
    bool reply_due;
};

struct session {
    struct session_config config;
    enum session_state state;
    bool ready_due;
    bool close_due;
    uint16_t close_code;
    uint32_t trailer_bytes;
    struct session_counters counters;
    struct session_ping_state ping;
    struct session_path path;
    /* What the datagram in hand acknowledged. */
    uint64_t newest_acked_packet;
    uint64_t newest_acked_sent_ns;
    uint32_t acked_count;
    /* The client's handshake. */
    uint32_t hello_count;
    bool has_retried; /* one RETRY was answered at once */
    uint64_t hello_at_ns;
    uint8_t cookie[WIRE_COOKIE_BYTES];
    char close_text[SESSION_CLOSE_TEXT];
    struct session_sender send;
    struct session_receiver receive;
};
_Static_assert(sizeof(struct session) <= 4096, "thousands of sessions");

/* session.c */
void session__move(struct session *session, enum session_state next);
/* Becomes CLOSED, gives the slots back. tell: one CLOSE is owed to the peer. */
void session__end(struct session *session, uint16_t code, struct bytes text, bool tell);
void session__end_protocol(struct session *session);
/* The session is OPEN from now on. */
void session__open(struct session *session, uint64_t now_ns);

/* session_pool.c */
uint32_t session__slot_take(struct session_pool *pool, enum session_slot_state state);
/* Of the share for packets out of order; SESSION_NO_SLOT when that is used up. */
uint32_t session__slot_take_reorder(struct session_pool *pool);
void session__slot_give(struct session_pool *pool, uint32_t slot_idx);
void session__list_append(struct session_pool *pool, struct session_list *list, uint32_t slot_idx);
void session__list_remove(struct session_pool *pool, struct session_list *list, uint32_t slot_idx);
static ALWAYS_INLINE uint8_t *
session__slot_bytes(const struct session_pool *pool, uint32_t slot_idx)
{
    return pool->bytes + (size_t)slot_idx * pool->slot_bytes;
}

/* session_receive.c */
bool session__replay_is_new(const struct session_replay *replay, uint64_t packet_number);
void session__replay_mark(struct session_replay *replay, uint64_t packet_number);
/* An authentic packet came: window, counters, clocks. */
void session__mark_received(struct session *session, uint64_t packet_number, uint64_t now_ns);
/* Gives back what session_take() lent last. */
void session__return_taken(struct session *session);

/* session_ack.c. False: the peer acknowledges what was never sent. */
bool session__on_ack_number(struct session *session, uint64_t ack);
bool session__on_ack_frame(struct session *session,
                           uint64_t ack_number,
                           const struct wire_ack *ack,
                           uint64_t now_ns);
/* Moves the oldest packets in flight to the lost ones after a probe timeout. */
void session__probe(struct session *session);

/* session_send.c */
/* Whether a sequenced packet may go out now. */
bool session__may_send_data(const struct session *session);
/* Fills the ACK frame's struct with what is owed and promises the credit in it. */
void session__fill_ack(struct session *session, uint64_t now_ns, struct wire_ack *ret_ack);
/* Seals [0, byte_count) and counts it as sent; the bytes of the datagram. */
uint32_t session__seal(struct session *session,
                       uint8_t *datagram,
                       uint32_t header_bytes,
                       uint32_t byte_count,
                       uint64_t now_ns);
/* Header of the next packet number at datagram; its bytes. */
uint32_t session__begin_packet(struct session *session, uint8_t type, uint8_t *datagram);
/* Owes the peer an ACK frame if there is credit worth telling. */
void session__offer_credit(struct session *session);
bool session__is_out_of_credit(const struct session *session);

/* session_congestion.c */
void session__path_init(struct session_path *path, const struct session_config *config);
void session__path_sample(struct session *session, uint64_t sample_ns, uint64_t now_ns);
void session__path_acked(struct session *session, uint32_t packet_count);
void session__path_lost(struct session *session, uint64_t packet_number);
/* srtt + 4 deviations + ack delay, doubled so often, between the floor and one second. */
uint64_t session__probe_timeout_ns(const struct session *session, uint32_t backoff);

/* session_handshake.c */
bool session__on_retry(struct session *session, struct bytes cookie, uint64_t now_ns);
uint32_t session__send_hello(struct session *session, uint64_t now_ns, uint8_t *datagram);
uint32_t session__send_ready(struct session *session, uint64_t now_ns, uint8_t *datagram);

#endif
