/* tidy: length, the only installed header */
/* libeagre: the native client of the Eagre streaming engine. C17, and C++.
 *
 * Thread-free and non-blocking: the library starts no thread and owns no loop; everything happens
 * inside eagre_poll(), which the caller calls. One client and everything opened from it belong to
 * one thread at a time; different clients are independent of each other. Memory is taken when
 * something is opened; sending and receiving allocate nothing (a lost connection is made anew, for
 * which OpenSSL allocates). Exceptions are named at their functions.
 *
 *     struct eagre_config config = eagre_config_preset("127.0.0.1:9095");
 *     struct eagre_client *client;
 *     char why[256];
 *     config.connect_timeout_ms = 5000;
 *     if (eagre_open(&config, &client, why, sizeof(why)) != EAGRE_OK) ...
 *
 *     struct eagre_producer_options options = eagre_producer_preset("orders");
 *     struct eagre_producer *producer;
 *     options.on_delivery = delivered;                    // what became of each batch
 *     if (eagre_producer_open(client, &options, &producer, why, sizeof(why)) != EAGRE_OK) ...
 *     while (taken < count) {
 *         taken += eagre_send(producer, records + taken, count - taken, NULL);
 *         eagre_poll(client, 0);                          // full is a count, not a wait
 *     }
 *     eagre_flush_wait(producer, 30000);
 *     eagre_close(client);                                // and all that was opened from it
 *
 * Promises. A batch stays in the client's memory until the server said what became of it. When the
 * connection ends or the server is started anew, the client joins again by itself, sends every
 * batch that was not answered once more, in order, under the same producer id, epoch and sequence
 * (so nothing is lost and nothing is stored twice), and goes on with subscriptions at the next
 * offset. Order within a partition is the order of eagre_send().
 *
 * Functions that can fail return enum eagre_rc; outputs are written only with EAGRE_OK. Strings
 * are UTF-8, borrowed for the call unless said otherwise. Options are structs that a _preset()
 * function fills; a zero takes the preset named in brackets.
 *
 * A callback may call eagre_send(), eagre_flush(), eagre_next() and all that only asks; it must not
 * call eagre_poll(), a _wait or a close. */
#ifndef EAGRE_EAGRE_H
#define EAGRE_EAGRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EAGRE_API_VERSION 1
#define EAGRE_PARTITION_ANY (-1)       /* the partitioner decides; or: all partitions */
#define EAGRE_OFFSET_UNKNOWN INT64_MIN /* stored before, and where is no longer known */
#define EAGRE_TIMESTAMP_NOW INT64_MIN  /* the clock's time when the record is taken */

struct eagre_client;
struct eagre_producer;
struct eagre_subscriber;

/* Numbers never change their meaning. */
enum eagre_rc {
    EAGRE_OK = 0,
    EAGRE_AGAIN = 1,        /* not now: poll, then ask again */
    EAGRE_TIMED_OUT = 2,    /* of a batch that was sent: whether it is stored is not known */
    EAGRE_INVALID = 3,      /* an argument or option is out of its range */
    EAGRE_NO_MEMORY = 4,    /* when something is opened */
    EAGRE_LIMIT = 5,        /* a limit of the options or of the server is reached */
    EAGRE_TOO_LARGE = 6,    /* record or batch is longer than the batch or the topic allows */
    EAGRE_UNREACHABLE = 7,  /* nobody answers at the address */
    EAGRE_DENIED = 8,       /* credentials, certificate or rights */
    EAGRE_UNSUPPORTED = 9,  /* version, carrier or codec */
    EAGRE_NOT_FOUND = 10,   /* no such topic or partition */
    EAGRE_OFFSET_GONE = 11, /* the offset to begin at is below or above what is kept */
    EAGRE_REFUSED = 12, /* the server refused the batch: invalid, or against the topic's rules */
    EAGRE_SEQUENCE_LOST =
        13, /* the server forgot this producer; whether the batch is stored is not known */
    EAGRE_CORRUPT = 14, /* received records do not have the form they must have */
    EAGRE_CLOSED = 15,  /* closed by the caller before it was done */
};
/* One short English sentence without a full stop; static, never NULL. */
const char *eagre_rc_text(int rc);
/* Of the library that is linked, as in "0.1.0"; static. */
const char *eagre_version(void);

/* ------------------------------------------------------------------ client */

enum eagre_carrier {
    EAGRE_CARRIER_SOCKET = 0, /* UDP of the kernel */
    EAGRE_CARRIER_DPDK = 1,   /* any ethdev; libeagre-dpdk.so.0 is loaded for it */
};
enum eagre_auth {
    EAGRE_AUTH_AEAD = 0, /* AES-128-GCM */
    EAGRE_AUTH_NONE = 1, /* a checksum only; granted where the server's operator allows it */
};
enum eagre_tls {
    EAGRE_TLS_OFF = 0,        /* clear text, of which the keys are a part: loopback only */
    EAGRE_TLS_ON = 1,         /* TLS 1.3; certificate and name are checked */
    EAGRE_TLS_UNVERIFIED = 2, /* TLS 1.3 without a check: tests only */
};

struct eagre_config {
    size_t struct_bytes; /* sizeof(struct eagre_config) */
    const char *server;  /* "host:port" of the control exchange; IPv6 in [brackets] */
    const char *user;    /* NULL: none */
    const char *secret;
    const char *client_name;     /* for people; ["libeagre"] */
    int tls;                     /* enum eagre_tls */
    const char *tls_ca_file;     /* PEM; [the system's authorities] */
    const char *tls_server_name; /* [the host of `server`] */
    int auth;                    /* enum eagre_auth that is wished for; the server decides */
    int carrier;                 /* enum eagre_carrier */
    const char *local_address;   /* "10.0.0.2" or "10.0.0.2:40000"; socket: [any]; dpdk: needed */
    const char *data_address;    /* "10.0.0.1": where data go; [what the server says] */
    const char *dpdk_devargs;    /* as "net_virtio_user0,path=DIR/nic0"; dpdk only */
    uint32_t dpdk_prefix_bits;   /* of the local address [24] */
    int dpdk_hugepages;          /* 0: --no-huge */
    uint32_t connect_timeout_ms; /* eagre_open() waits so long for the session; 0: not at all */
    uint32_t reconnect_min_ms;   /* [50] doubled after each failure up to the largest */
    uint32_t reconnect_max_ms;   /* [2000] */
    uint32_t datagram_bytes_max; /* [1400] 1200 .. 8900 */
    uint32_t packets_max;        /* [512] packets kept until the server has them; 64 .. 65536 */
    uint32_t topics_max;         /* [16] */
    uint32_t partitions_max;     /* [1024] of all topics */
    uint32_t producers_max;      /* [16] */
    uint32_t subscribers_max;    /* [16] */
};
static inline struct eagre_config
eagre_config_preset(const char *server)
{
    struct eagre_config config;
    memset(&config, 0, sizeof(config));
    config.struct_bytes = sizeof(config);
    config.server = server;
    return config;
}

enum eagre_state {
    EAGRE_STATE_CONNECTING = 0, /* the control exchange is under way, or waits for its next try */
    EAGRE_STATE_OPENING = 1,    /* keys are there; the data path is being opened */
    EAGRE_STATE_OPEN = 2,       /* everything flows */
    EAGRE_STATE_REFUSED = 3,    /* the server refuses for good: see eagre_why(); over */
};

/* Makes a client. With connect_timeout_ms it polls until the session is open and fails otherwise;
 * without, it returns at once and eagre_poll() goes on. Names are resolved here.
 *
 * config      Borrowed; its strings are copied.
 * ret_client  Owned by the caller until eagre_close().
 * why         [why_capacity] Text of a failure; NULL: not wanted.
 *
 * EAGRE_OK, _INVALID, _NO_MEMORY, _UNREACHABLE, _DENIED, _UNSUPPORTED, _TIMED_OUT.
 * Allocates: yes.  Blocks: on the resolver, and up to connect_timeout_ms. */
int eagre_open(const struct eagre_config *config,
               struct eagre_client **ret_client,
               char *why,
               size_t why_capacity);

/* Reports what is not delivered with EAGRE_CLOSED, tells the server, and frees client, producers
 * and subscribers. NULL is allowed. Blocks: never; flush first. */
void eagre_close(struct eagre_client *client);

/* Does everything there is to do: connects, receives, calls back, sends, watches time.
 *
 * timeout_us  0: never waits. Else waits at most so long when there is nothing to do (on the dpdk
 *             carrier by polling).
 * Returns how much was done: datagrams received and sent, deliveries called back; 0 for nothing. */
uint32_t eagre_poll(struct eagre_client *client, uint32_t timeout_us);

/* For an epoll or poll loop of the caller: readable when eagre_poll() has something to do; -1 on
 * the dpdk carrier, which must be polled. Owned by the client. Besides, eagre_poll() is to be
 * called when eagre_deadline_us() from now have passed, and after sending. */
int eagre_fd(const struct eagre_client *client);
/* Microseconds until eagre_poll() has something to do; 0: now; UINT64_MAX: nothing waits. */
uint64_t eagre_deadline_us(struct eagre_client *client);

int eagre_get_state(const struct eagre_client *client); /* enum eagre_state */
/* Why the client is not open, or what ended the last session; "" when nothing did. Borrowed until
 * the next eagre_poll(). */
const char *eagre_why(const struct eagre_client *client);
/* What carries the datagrams, in one line; borrowed as above. */
const char *eagre_carrier_text(const struct eagre_client *client);

/* A round trip of the transport, without log or disk. One at a time: EAGRE_AGAIN while another is
 * under way or the session is not open. */
int eagre_ping(struct eagre_client *client);
/* The round trip of the last ping; EAGRE_AGAIN: not yet, and lost when the session ended. */
int eagre_pong(struct eagre_client *client, uint64_t *ret_ns);

struct eagre_stats {
    uint64_t sent_packets;
    uint64_t sent_bytes; /* of UDP payload */
    uint64_t received_packets;
    uint64_t received_bytes;
    uint64_t retransmitted_packets;
    uint64_t dropped_packets;   /* forged, damaged, replayed, or without room */
    uint64_t send_syscalls;     /* made by the carrier; 0 on dpdk */
    uint64_t sessions;          /* opened since eagre_open() */
    uint64_t records_taken;     /* by eagre_send() */
    uint64_t records_delivered; /* reported without error */
    uint64_t records_failed;
    uint64_t batches_sent; /* again counts again */
    uint64_t batches_repeated;
    uint64_t batches_duplicate; /* the server had it already */
    uint64_t sequence_resets;   /* a partition went on under a new producer id: eagre_send() */
    uint64_t sends_short;       /* eagre_send() took less than it was given */
    uint64_t records_received;  /* given out by eagre_record_next() */
    uint64_t batches_received;
    uint64_t rtt_ns; /* smoothed round trip of the transport */
};
/* Copies struct_bytes = sizeof(struct eagre_stats) bytes. */
void
eagre_get_stats(const struct eagre_client *client, struct eagre_stats *ret, size_t struct_bytes);

/* ------------------------------------------------------------------- topic */

struct eagre_topic_info {
    uint8_t topic_id[16];
    uint32_t partition_count;
    uint32_t batch_bytes_max; /* that the server takes on this way */
    int is_durable;           /* 1: a delivery means on stable storage; 0: in the server's memory */
};
/* What is known of a topic; asked again by itself when the server says that it changed. create: 1
 * lets the server create it if it may. EAGRE_AGAIN: asked for, poll and ask again; EAGRE_NOT_FOUND,
 * _DENIED, _LIMIT (topics_max, partitions_max), _INVALID (name). */
int eagre_get_topic_info(struct eagre_client *client,
                         const char *topic,
                         int create,
                         struct eagre_topic_info *ret);

/* ---------------------------------------------------------------- producer */

struct eagre_header {
    const char *key; /* UTF-8 */
    size_t key_bytes;
    const void *value; /* NULL: null */
    size_t value_bytes;
};

struct eagre_record {
    const void *key; /* NULL: null */
    size_t key_bytes;
    const void *value; /* NULL: null */
    size_t value_bytes;
    const struct eagre_header *headers; /* [header_count] */
    uint32_t header_count;
    int32_t partition;    /* or EAGRE_PARTITION_ANY */
    int64_t timestamp_ms; /* since 1970 UTC, or EAGRE_TIMESTAMP_NOW */
    uint64_t opaque;      /* the caller's; comes back with the delivery */
};
static inline struct eagre_record
eagre_record_of(const void *key, size_t key_bytes, const void *value, size_t value_bytes)
{
    struct eagre_record record;
    memset(&record, 0, sizeof(record));
    record.key = key;
    record.key_bytes = key_bytes;
    record.value = value;
    record.value_bytes = value_bytes;
    record.partition = EAGRE_PARTITION_ANY;
    record.timestamp_ms = EAGRE_TIMESTAMP_NOW;
    return record;
}

enum eagre_durability {
    EAGRE_DURABILITY_DEVICE = 0, /* on stable storage */
    EAGRE_DURABILITY_MEMORY = 1, /* in the server's memory, as the topic's eagre.durability says */
};

/* What became of one batch: records that eagre_send() took one after the other. */
struct eagre_delivery {
    int rc; /* EAGRE_OK: stored; _TIMED_OUT, _TOO_LARGE, _REFUSED, _SEQUENCE_LOST, _NOT_FOUND,
               _DENIED, _CLOSED */
    int server_error; /* the server's number (a Kafka error code) behind it; 0: none */
    int32_t partition;
    uint32_t record_count;
    const uint64_t *opaques; /* [record_count], in order; borrowed for the call */
    int64_t first_offset;    /* of the first record; the others follow; or EAGRE_OFFSET_UNKNOWN */
    int durability;          /* enum eagre_durability */
    int is_duplicate;        /* 1: it had been stored by an earlier try, whose answer was lost */
    uint64_t elapsed_ns;     /* since its first record was taken */
};

enum eagre_partitioner {
    EAGRE_PARTITIONER_MURMUR2 = 0,  /* of the key, as Kafka's Java clients; both doors agree */
    EAGRE_PARTITIONER_XXH3 = 1,     /* XXH3-64 of the key */
    EAGRE_PARTITIONER_EXPLICIT = 2, /* every record names its partition */
};

struct eagre_producer_options {
    size_t struct_bytes; /* sizeof(struct eagre_producer_options) */
    const char *topic;   /* copied */
    int create_topic;    /* 1: let the server create it if it may */
    int partitioner; /* enum eagre_partitioner; without a key: by turns, a new one for each batch */
    uint32_t batch_bytes;         /* [what one packet carries] up to 1 MiB: sent in fragments */
    uint32_t batch_count;         /* [256] batches in memory: filling, waiting, unanswered */
    uint32_t linger_us;           /* [0: sent with the next poll] wait so long to fill a batch */
    uint32_t delivery_timeout_ms; /* [120000] from the first record taken to the answer */
    uint32_t retry_ms;            /* [20] before a refused batch is sent again; doubled up to 1 s */
    void (*on_delivery)(const struct eagre_delivery *delivery, void *context); /* from eagre_poll()
                                                                                */
    void *context;
};
static inline struct eagre_producer_options
eagre_producer_preset(const char *topic)
{
    struct eagre_producer_options options;
    memset(&options, 0, sizeof(options));
    options.struct_bytes = sizeof(options);
    options.topic = topic;
    return options;
}

/* Opens a producer with an id of its own; idempotence is always on. Topic and id are fetched by
 * eagre_poll(); until then eagre_send() takes nothing. Memory: batch_count x (batch_bytes + 8 bytes
 * per record that may be in one).
 * EAGRE_OK, _INVALID, _NO_MEMORY, _LIMIT.  Allocates: yes.  Blocks: never. */
int eagre_producer_open(struct eagre_client *client,
                        const struct eagre_producer_options *options,
                        struct eagre_producer **ret_producer,
                        char *why,
                        size_t why_capacity);
/* Reports what is not delivered with EAGRE_CLOSED and frees. NULL is allowed. */
void eagre_producer_close(struct eagre_producer *producer);

/* Takes records, in order, and copies them; never waits.
 *
 * records  [count], borrowed for the call.
 * ret_why  When not all were taken, why not the next one: EAGRE_AGAIN (no room, or topic and id are
 *          not there yet: poll), _TOO_LARGE, _NOT_FOUND (partition or topic), _INVALID, _DENIED.
 *          NULL: not wanted.
 * Returns how many were taken, [0, count]. Taken is not stored: that is what on_delivery says.
 *
 * Should a server come back without what it had confirmed in its memory only (a topic of
 * eagre.durability=memory, after a crash), it no longer knows the producer's sequence. The
 * partition then goes on, in order, under a new producer id, counted in sequence_resets; batches
 * of which it cannot be known whether they are stored are reported with EAGRE_SEQUENCE_LOST and
 * not sent again, so that nothing is ever stored twice or out of order. */
uint32_t eagre_send(struct eagre_producer *producer,
                    const struct eagre_record *records,
                    uint32_t count,
                    int *ret_why);
/* Ends filling: what was taken so far is sent with the next eagre_poll(), without linger. */
void eagre_flush(struct eagre_producer *producer);
/* Records taken and not reported yet. */
uint64_t eagre_pending(const struct eagre_producer *producer);
/* Flushes and polls until nothing is pending: EAGRE_OK, _TIMED_OUT, _DENIED (the client is
 * refused). Blocks: up to timeout_ms. */
int eagre_flush_wait(struct eagre_producer *producer, uint32_t timeout_ms);

/* -------------------------------------------------------------- subscriber */

enum eagre_start {
    EAGRE_START_EARLIEST = 0, /* the first record that is kept */
    EAGRE_START_LATEST = 1,   /* what is written from now on */
    EAGRE_START_OFFSET = 2,   /* start_value is an offset */
    EAGRE_START_TIME = 3, /* start_value is ms since 1970 UTC: the first record of then or later;
                             the end when there is none */
};

struct eagre_subscriber_options {
    size_t struct_bytes; /* sizeof(struct eagre_subscriber_options) */
    const char *topic;   /* copied */
    int32_t partition;   /* or EAGRE_PARTITION_ANY for all there are when it is opened */
    int start;           /* enum eagre_start */
    int64_t start_value;
    uint32_t receive_bytes;  /* [1 MiB] of each partition, that may be on their way or wait: its
                                credit; 64 KiB .. 64 MiB, at least the topic's longest batch */
    uint32_t partitions_max; /* [16] */
    uint32_t unpacked_bytes; /* [8 MiB] longest batch after decompression */
};
static inline struct eagre_subscriber_options
eagre_subscriber_preset(const char *topic)
{
    struct eagre_subscriber_options options;
    memset(&options, 0, sizeof(options));
    options.struct_bytes = sizeof(options);
    options.topic = topic;
    options.partition = EAGRE_PARTITION_ANY;
    return options;
}

/* Opens a subscriber. Memory: partitions_max x (3/2 receive_bytes + 2.5 MiB) + unpacked_bytes, of
 * which only what is used is touched.
 * EAGRE_OK, _INVALID, _NO_MEMORY, _LIMIT.  Allocates: yes.  Blocks: never. */
int eagre_subscribe(struct eagre_client *client,
                    const struct eagre_subscriber_options *options,
                    struct eagre_subscriber **ret_subscriber,
                    char *why,
                    size_t why_capacity);
/* NULL is allowed. */
void eagre_unsubscribe(struct eagre_subscriber *subscriber);

struct eagre_batch {
    int rc; /* EAGRE_OK; else this partition is over (partition -1: the whole subscription):
               _NOT_FOUND, _OFFSET_GONE, _TOO_LARGE, _CORRUPT, _DENIED, _LIMIT, _UNSUPPORTED */
    int server_error; /* the server's number behind it; 0: none */
    int32_t partition;
    uint32_t record_count; /* at most; records before the first offset asked for are left out */
    int64_t first_offset;
    int64_t last_offset;
    int64_t max_timestamp_ms;
    int64_t high_watermark; /* the offset behind the last record that was readable then */
    const void *bytes;      /* the RecordBatch (Kafka, magic 2) as it is stored */
    size_t byte_count;
};
/* The next batch, in place. It is valid until the next call for this subscriber, which gives its
 * room back to the server as credit. Compressed batches are unpacked (inside zlib, snappy, LZ4 or
 * zstd, which allocate). Transaction markers are left out. Returns 1, or 0: nothing now. */
int eagre_next(struct eagre_subscriber *subscriber, struct eagre_batch *ret_batch);

struct eagre_received {
    int64_t offset;
    int64_t timestamp_ms;
    const void *key; /* NULL: null; all borrowed as long as the batch */
    size_t key_bytes;
    const void *value; /* NULL: null */
    size_t value_bytes;
    uint32_t header_count;
    const void *headers; /* eagre_header_next() reads them */
    size_t headers_bytes;
    int32_t partition;
};
/* The next record of the batch that eagre_next() gave. Returns 1, or 0 at its end. */
int eagre_record_next(struct eagre_subscriber *subscriber, struct eagre_received *ret_record);
/* Takes the first header off the record. Returns 1, or 0 when none is left. */
int eagre_header_next(struct eagre_received *record, struct eagre_header *ret_header);

struct eagre_position {
    int64_t next_offset;    /* after the last batch given out; or where it will begin */
    int64_t high_watermark; /* the end as last heard of */
};
/* EAGRE_OK; EAGRE_AGAIN: the place to begin at is not known yet; EAGRE_NOT_FOUND: not a partition
 * of this subscriber. */
int eagre_get_position(const struct eagre_subscriber *subscriber,
                       int32_t partition,
                       struct eagre_position *ret);
/* Partitions of this subscriber; 0 while the topic is not known yet. */
uint32_t eagre_subscriber_partitions(const struct eagre_subscriber *subscriber);

#ifdef __cplusplus
}
#endif

#endif
