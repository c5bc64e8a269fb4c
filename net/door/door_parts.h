/* Sizes of the door, and the small structs that its parts hand to each other: batches under way,
 * readers, calls, sessions. See door_internal.h. */
#ifndef EAGRE_NET_DOOR_DOOR_PARTS_H
#define EAGRE_NET_DOOR_DOOR_PARTS_H

#include "net/door/door.h"
#include "net/request/topic_snapshot.h"
#include "net/wire/wire_frame.h"

#define DOOR_NONE UINT32_MAX
#define DOOR_ALIGN 4096u
#define DOOR_BURSTS 4u /* of NIC_BURST datagrams in one poll, while they come full */
#define DOOR_RESPONSES_PER_POLL 256u
#define DOOR_GRANTS_PER_POLL 32u
#define DOOR_LINK_RESERVE 64u /* response slots left to topics and late marks */
#define DOOR_NOTES 16u        /* short answers that one session may be owed */
#define DOOR_MESSAGE_BYTES WIRE_MESSAGE_BYTES_MAX
#define DOOR_READ_BYTES ((uint32_t)(128 * KIB))
#define DOOR_CALL_REQUEST_BYTES ((uint32_t)(16 * KIB))
#define DOOR_CALL_REPLY_BYTES ((uint32_t)(64 * KIB))
#define DOOR_STOP_NS (2 * NS_PER_S)
#define DOOR_RETRY_BURST 64u           /* RETRYs that a session may cause at once, */
#define DOOR_RETRY_NS (10 * NS_PER_MS) /* and one more in this time */
#define DOOR_EPOCH_NS (10 * NS_PER_MS) /* in which senders are counted, to share the room */
#define DOOR_POLL_NS (200 * NS_PER_US) /* between looks at a carrier that cannot be waited for */
#define DOOR_POLL_IDLE_NS NS_PER_MS    /* the same after DOOR_IDLE_ROUNDS empty ones */
#define DOOR_IDLE_ROUNDS 10u
/* Behind the last thing done no nap begins for so long: the answer of a log tile, or the client's
 * next request, comes sooner than a nap ends. A core of its own spins longer by itself. */
#define DOOR_POLL_BUSY_NS (20 * NS_PER_US)
#define DOOR_SEND_RETRY_NS (50 * NS_PER_US)
#define DOOR_TAG_WAIT 1u /* own part of the io tag of IO_POLL */
/* Smallest batch with its frame: no datagram holds more frames that need a place each. */
#define DOOR_DATA_FRAME_MIN (WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES + 1u)

/* Bits [63:56] of the ctx of a request: whose it is; [31:0]: index of that. */
enum door_ctx { DOOR_CTX_PRODUCE = 1, DOOR_CTX_READ, DOOR_CTX_CALL };

static ALWAYS_INLINE uint64_t
door__ctx(enum door_ctx kind, uint32_t idx)
{
    return (uint64_t)kind << 56 | idx;
}

struct door_list {
    uint32_t first;
    uint32_t last;
};

/* A ring pair to a log tile or to control. */
struct door_link {
    struct ring *requests;
    struct ring *responses;
    struct waker *waker;
    struct byte_ring *bytes; /* NULL: control */
    uint32_t credits;        /* response slots spoken for */
    uint32_t credits_max;
    uint32_t armed; /* of these, for marks */
    bool dirty;     /* something was put in and not yet published */
};

/* What is known of a partition, by (log tile, slot): from the topics' snapshots, and who waits for
 * its mark. */
struct door_place {
    uint64_t incarnation; /* 0: none is here */
    uint64_t armed_incarnation;
    uint32_t batch_bytes_max;
    uint32_t watchers; /* first door_reader that waits for a mark */
    uint32_t arming;   /* requests with ARM under way */
    bool is_memory;
    bool armed; /* a mark is certain to come */
    bool early; /* a mark overtook the answer to the request that armed it */
};

/* A batch between its admission and the packet that tells its result. */
struct door_produce {
    uint32_t session;
    uint32_t generation;
    uint32_t next;    /* of the session's results */
    uint32_t message; /* buffer that the batch lies in, or DOOR_NONE: in the byte ring */
    uint32_t request;
    uint16_t log_tile;
    bool is_memory;
    uint16_t status;
    uint16_t flags;
    uint64_t base_offset;
};

enum reader_state {
    READER_QUEUED,   /* on the door's list: wants a buffer and a place in the log tile's ring */
    READER_READING,  /* its request is under way; the log tile may write into the buffer */
    READER_SENDING,  /* on the session's list: pieces go out as window allows */
    READER_WATCHING, /* a subscription at the tail: a mark or a timer wakes it */
    READER_STARVED,  /* a subscription without credit */
};

/* A FETCH, or a subscription. */
struct door_reader {
    uint32_t session; /* DOOR_NONE: orphan, only its answer is awaited */
    uint32_t next;    /* of the session's readers */
    uint32_t next_queued;
    uint32_t next_sending;
    uint32_t next_watcher; /* of the partition's place */
    uint32_t previous_watcher;
    uint8_t state; /* enum reader_state */
    bool is_subscription;
    bool is_watching;
    bool asked_arm;
    bool ended;       /* CREDIT with END came: goes away at the next step */
    uint16_t status;  /* Kafka error code to be told */
    uint32_t request; /* the client's name of it */
    struct partition_ref ref;
    uint64_t offset;
    uint64_t credit_bytes; /* subscription: in all */
    uint64_t sent_bytes;
    uint32_t max_bytes;    /* FETCH */
    uint32_t bytes_needed; /* 0, or what the first batch needs beyond DOOR_READ_BYTES */
    uint32_t buffer;       /* of the read buffers */
    uint32_t message;      /* of the large buffers */
    uint8_t *data;
    uint32_t data_bytes;
    uint32_t piece_at; /* bytes handed out */
    uint16_t piece_index;
    uint16_t piece_count;
    uint64_t high_watermark;
    uint64_t start_offset;
};

enum call_state { CALL_ARRIVING, CALL_QUEUED, CALL_ASKED, CALL_SENDING };

struct door_call {
    uint32_t session;     /* DOOR_NONE: orphan */
    uint32_t next;        /* of the session's calls */
    uint32_t next_queued; /* on the door's list, or on the session's answers */
    uint8_t state;        /* enum call_state */
    uint16_t status;
    uint16_t piece_index;
    uint16_t piece_count;
    uint32_t request;
    uint32_t total_bytes;  /* of the request */
    uint32_t message;      /* large buffer of the reply, or DOOR_NONE */
    uint32_t reply_wanted; /* 0: the small reply will do */
    uint32_t reply_bytes;
    uint32_t piece_at;
};

enum door_note_kind { DOOR_NOTE_RESOLVED, DOOR_NOTE_ANSWER, DOOR_NOTE_FETCHED };
/* A short answer that waits for window. */
struct door_note {
    uint8_t kind;
    uint8_t flags; /* of FETCHED */
    uint16_t status;
    uint32_t request;
    uint32_t first; /* RESOLVED */
    uint8_t topic_id[16];
};

struct door_session {
    struct session *session; /* its own memory beside the table */
    struct session_cipher *cipher;
    uint32_t id;
    uint32_t generation;
    bool in_use;
    bool opened;  /* DOOR_OPENED was told */
    bool revoked; /* its control connection is gone */
    bool is_active;
    bool is_stuck;           /* a packet whose turn it is waits for room */
    struct nic_address peer; /* validated by a cookie */
    uint64_t give_back_ns;   /* GRANTED: when nobody came */
    uint64_t retry_at_ns;    /* the RETRYs sent, DOOR_RETRY_NS each, reach up to here */
    uint64_t progress;       /* as it was seen last: what was acknowledged, and pieces */
    uint64_t progress_ns;    /* when it moved, or nothing was owed */
    uint32_t pieces;         /* of batches and calls that came */
    uint64_t wake_ns;
    uint32_t heap_at;
    uint32_t next_active;
    uint32_t next_stuck;
    uint64_t data_epoch;
    uint32_t produces;        /* batches whose result is not told */
    struct door_list results; /* of door_produce */
    uint32_t readers;         /* first of all */
    uint32_t subscriptions;   /* how many of them */
    uint32_t fetches;         /* the others */
    uint32_t read_buffers;    /* that its readers hold */
    struct door_list sending; /* readers with pieces to send */
    uint32_t calls;           /* first of all */
    uint32_t call_count;      /* how many */
    uint32_t call_arriving;   /* DOOR_NONE: none, or its pieces are not kept */
    uint16_t call_next;       /* 0: none is under way */
    uint16_t call_status;     /* it is refused by this as soon as it is complete */
    uint32_t call_bytes;      /* of it that have come */
    struct wire_call call_first;
    struct door_list answers; /* calls with pieces to send */
    uint32_t message;         /* of the batch that arrives in pieces, or DOOR_NONE */
    uint32_t stash;           /* frames of a packet that wait for a large buffer, or DOOR_NONE */
    uint32_t stash_bytes;
    bool message_skip;   /* its pieces are not kept: it will be refused */
    uint16_t piece_next; /* 0: none is under way */
    struct wire_data_frag piece_first;
    uint32_t message_bytes;
    struct door_note notes[DOOR_NOTES];
    uint32_t note_first;
    uint32_t note_count;
    struct session_counters counted; /* what the door's counters already hold */
};

struct door_forwarded {
    uint64_t ticket;
    uint32_t byte_count;
    struct nic_address peer;
};

#endif
