/* Connections, the blocks they receive into, and their requests in order. Private to net/gate.
 *
 *   FREE -> OPEN -> CLOSING -> CLOSED -> FREE        OPEN -> DRAINING -> CLOSING when the gate
 * stops
 *
 * A connection has at most one receive and one send under way, and its memory is given back only
 * when both are over. */
#ifndef EAGRE_NET_GATE_GATE_CONNECTION_H
#define EAGRE_NET_GATE_GATE_CONNECTION_H

#include "engine/pool/buddy.h"
#include "hw/io/io.h"
#include "net/gate/gate_const.h"
#include "net/kafka/kafka_frame.h"
#include "net/kafka/kafka_produce.h"
#include "net/gate/quota_table.h"
#include "net/request/topic_snapshot.h"
#include "net/gate/gate.h"

/* Contiguous memory that a connection receives into; requests in flight point into it. */
struct gate_block {
    uint8_t *at;
    uint32_t bytes;
    uint32_t refs; /* one of the connection while it is current, one per unanswered request */
    bool lent; /* out of the pool's second half: for what was asked only, never to wait for more in
                */
};

enum slot_kind { SLOT_PRODUCE, SLOT_FETCH, SLOT_CONTROL, SLOT_LOCAL };
enum slot_flag {
    SLOT_OPEN = 1,     /* its request is still being read */
    SLOT_NO_REPLY = 2, /* acks=0 */
    SLOT_FAILED = 4,   /* some partition was answered with an error */
};

/* A request between its first byte and the last byte of its reply; first in, first out on its
 * connection. */
struct gate_slot {
    uint32_t next;        /* of the same connection */
    uint32_t next_retry;  /* CONTROL: on gate.control_wait */
    uint32_t connection;  /* GATE_NONE: the client is gone, only answers are awaited */
    uint32_t outstanding; /* responses owed by other tiles */
    uint16_t generation;  /* 12 bits in a ctx */
    uint8_t kind;         /* enum slot_kind */
    uint8_t flags;        /* enum slot_flag */
    int16_t version;
    int16_t api_key;
    int32_t correlation_id;
    uint32_t block;       /* CONTROL: receive block of the frame */
    const uint8_t *frame; /* CONTROL: without the size field */
    uint32_t frame_bytes;
    uint64_t begin_ns;          /* its request was wholly received */
    uint32_t fetch;             /* FETCH: its gate_fetch */
    struct quota_client client; /* whom its answer is charged to */
    uint32_t request_bytes;     /* size field included */
    uint32_t reply_bytes;       /* ready to be sent, size field included */
    uint32_t reply_capacity;
    uint32_t reply_wanted;    /* CONTROL: room that its answer needs */
    uint8_t *reply;           /* reply_inline or a block of reply_pool */
    struct buddy *reply_pool; /* NULL: inline */
    uint8_t reply_inline[GATE_SLOT_INLINE_BYTES];
};

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_OPEN,     /* reads and answers */
    CONNECTION_DRAINING, /* reads nothing more, answers what it owes, then closes */
    CONNECTION_CLOSING,  /* shut down; io requests are still under way */
    CONNECTION_CLOSED, /* descriptor given back; requests in flight still point into its base block
                        */
    CONNECTION_STATE_COUNT
};

enum intake_state {
    INTAKE_HEADER,  /* size field and request header */
    INTAKE_WHOLE,   /* the rest of a frame that is taken as a whole */
    INTAKE_PRODUCE, /* the next item of a Produce body */
    INTAKE_RECORDS, /* records of a partition: header first, then all of them */
    INTAKE_SKIP,    /* bytes that nobody wants; then skip_next */
};

enum intake_wait {
    WAIT_NONE,
    WAIT_SLOT,   /* connection.requests_max or gate.requests_max */
    WAIT_LINK,   /* rings of a log tile or of control */
    WAIT_INGEST, /* receive memory, first come first served */
    WAIT_STATE,  /* memory for a large request's bookkeeping */
};

struct gate_connection {
    /* what every receive touches */
    int fd;
    uint32_t generation;
    uint8_t state;  /* enum connection_state */
    uint8_t intake; /* enum intake_state */
    uint8_t skip_next;
    uint8_t wait; /* enum intake_wait */
    bool receiving;
    bool sending;
    bool proven;       /* a valid request was seen */
    bool queued_ready; /* on gate.ready */
    bool queued_send;  /* on gate.send */
    bool queued_wait;  /* on gate.wait */
    uint32_t next_ready;
    uint32_t next_send;
    uint32_t next_wait;
    uint32_t block;         /* current gate_block */
    uint32_t parse;         /* in the block: first byte not consumed */
    uint32_t end;           /* in the block: first byte not received */
    uint32_t need;          /* bytes from parse on that the next step needs in one piece */
    uint32_t receive_bytes; /* size of the next block, adaptive */
    uint32_t receive_asked;
    /* the request being read */
    struct kafka_request_header header; /* client_id is not kept */
    struct kafka_produce_parser parser;
    uint32_t slot; /* the open slot */
    uint32_t skip_left;
    uint32_t records_bytes;
    bool records_checked; /* these records passed the checks and wait for a link */
    int32_t partition;
    uint32_t topic;         /* in the topic table, or TOPIC_NONE */
    uint64_t topic_version; /* of the table when topic was looked up */
    bool topic_named;       /* topic is right for topic_name */
    bool transactional;
    int16_t acks;
    uint8_t topic_name_count;
    char topic_name[TOPIC_NAME_MAX + 1];
    /* requests in order */
    uint32_t slot_first;
    uint32_t slot_last;
    uint32_t slot_count;
    /* sending */
    uint32_t sending_slots; /* complete slots, from the first on, that the send under way covers */
    uint32_t iovec_count;
    uint32_t iovec_at;
    struct iovec iovecs[IO_IOVEC_MAX];
    /* deadlines; NO_DEADLINE: none */
    uint64_t active_ns; /* last sign of life */
    uint64_t receive_deadline_ns;
    uint64_t send_deadline_ns;
    uint64_t wait_deadline_ns;
    /* limits of its client */
    struct quota_client client; /* of the request header read last */
    uint64_t client_hash;       /* of its client id, by which client was looked up */
    uint32_t client_version;    /* of the limits then */
    bool client_known;
    bool muted;        /* counted as such, and on gate.muted */
    bool queued_muted; /* on gate.muted */
    uint32_t next_muted;
    struct quota_client muted_for;
    uint64_t muted_until_ns; /* no request is begun before */
    uint8_t peer[TCP_ADDRESS_BYTES];
    uint32_t fetch_hint; /* bytes of response memory for the next single-partition read */
};

struct gate;
/* connection.c */
/* Opens a connection on fd; false: connections.max. */
bool connection__open(struct gate *gate, int fd) MUST_USE;
/* Ends it: nothing is read or sent any more, memory is given back when its io is over. Closing
 * twice is allowed. */
void connection__close(struct gate *gate, uint32_t idx, enum gate_close_reason reason);
void connection__received(struct gate *gate, uint32_t idx, int32_t result);
void connection__sent(struct gate *gate, uint32_t idx, int32_t result);
/* When it must be looked at, NO_DEADLINE: never; what is then due. */
uint64_t connection__deadline(const struct gate *gate, const struct gate_connection *connection);
void connection__expire(struct gate *gate, uint32_t idx);
/* Goes on with reading in this or the next poll. */
void connection__make_ready(struct gate *gate, uint32_t idx);
/* Takes back what the last reference to a block was. */
void connection__block_drop(struct gate *gate, uint32_t block_idx);
/* Reads no more; closes when nothing is owed. */
void connection__drain(struct gate *gate, uint32_t idx);
/* Closes when draining and nothing is owed. */
void connection__drained(struct gate *gate, uint32_t idx);

/* intake.c */
/* Parses what was received, as far as it goes, and arms the next receive. */
void intake__run(struct gate *gate, uint32_t idx);
/* Leaves the waiting state (the connection closes or got what it waited for). */
void intake__wait_end(struct gate *gate, struct gate_connection *connection);

enum step {
    STEP_ON,     /* something was consumed: go on */
    STEP_MORE,   /* connection.need bytes are needed from parse on */
    STEP_CLOSED, /* the connection is closing */
    STEP_MUTED,  /* the next request is not begun before muted_until_ns */
    STEP_WAIT_SLOT,
    STEP_WAIT_LINK,
    STEP_WAIT_INGEST,
    STEP_WAIT_STATE,
};

/* produce.c: steps of a Produce request, and the answer to a batch. */
enum step produce__begin(struct gate *gate, uint32_t idx);
enum step produce__item(struct gate *gate, uint32_t idx);
enum step produce__records(struct gate *gate, uint32_t idx);
void produce__answered(struct gate *gate, const struct response *response);

/* produce_reply.c: the reply grows while the request is read; results are filled into holes of it.
 */
#define PRODUCE_REPLY_HEAD_BYTES 16u
#define PRODUCE_REPLY_TOPIC_BYTES (TOPIC_NAME_MAX + 16u)
#define PRODUCE_REPLY_PARTITION_BYTES 48u
#define PRODUCE_REPLY_TAIL_BYTES 8u
void
produce_reply__head(struct writer *writer, int16_t version, int32_t correlation, uint32_t topics);
void produce_reply__topic(struct writer *writer,
                          int16_t version,
                          struct bytes name,
                          uint32_t partitions);
void produce_reply__topic_end(struct writer *writer, int16_t version);
/* Writes a partition that says "unknown error"; returns where its hole is, from writer->begin on.
 */
uint32_t produce_reply__partition(struct writer *writer, int16_t version, int32_t partition);
/* Ends the frame and fills in its size. */
void produce_reply__tail(struct writer *writer, int16_t version, uint32_t throttle_ms);
/* Fills a hole in. */
void produce_reply__fill(uint8_t *hole, int16_t version, const struct kafka_produce_result *result);

/* slot.c */
/* A new slot at the end of the connection's requests, or GATE_NONE when a limit is reached. */
uint32_t slot__open(struct gate *gate, uint32_t connection, enum slot_kind kind) MUST_USE;
/* Makes room for more bytes behind reply_bytes; false: no memory now. */
bool slot__room(struct gate *gate, struct gate_slot *slot, uint32_t more) MUST_USE;
/* Writer over the free part of the reply, to be followed by slot__written(). */
struct writer slot__writer(struct gate_slot *slot);
/* Its request is read: nothing more will be owed than is now. */
void slot__complete(struct gate *gate, uint32_t idx);
/* One response came; the slot may be finished by it. */
void slot__answered(struct gate *gate, uint32_t idx);
/* True when nothing is missing for its reply. */
bool slot__is_done(struct gate *gate, const struct gate_slot *slot);
/* After a change of its state: sends, or gives back an orphan. */
void slot__settle(struct gate *gate, uint32_t idx);
/* Gives the requests of a closed connection up. */
void slot__orphan_all(struct gate *gate, uint32_t connection);
/* Takes sent slots from the front. */
void slot__pop_sent(struct gate *gate, uint32_t connection);
/* Builds one send out of the done slots at the front. */
void slot__send(struct gate *gate, uint32_t connection);
void slot__queue_send(struct gate *gate, uint32_t connection);

/* control_request.c: requests that the control tile answers. */
enum step control_request__begin(struct gate *gate, uint32_t idx);
void control_request__answered(struct gate *gate, const struct response *response);
/* Tries again what could not be sent or had no memory. */
void control_request__retry(struct gate *gate);

#endif
