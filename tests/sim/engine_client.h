/* Scripted Kafka clients of a simulated server: what real ones do, with every answer checked.
 *
 * A client is an actor. It connects, asks for the metadata of its topics until they are there, and
 * then does its work; when the connection is lost or an answer does not come, it connects anew.
 *   admin     creates the topics; deletes and creates the volatile one again
 *   producer  sends a fixed number of batches per partition, some requests ahead of the answers.
 *             Idempotent ones send what is unacknowledged again, plain ones do so or give up
 *   consumer  follows partitions by long-poll fetches until everything acknowledged was read
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_ENGINE_CLIENT_H
#define EAGRE_TESTS_SIM_ENGINE_CLIENT_H

#include "engine_model.h"
#include "engine_rig.h"
#include "engine_stream.h"

#define CLIENT_LANES_MAX 4u
#define CLIENT_LANE_BATCHES_MAX 256u
#define CLIENTS_MAX 16u

enum client_kind { CLIENT_ADMIN, CLIENT_PRODUCER, CLIENT_CONSUMER };

/* What all clients of a world share. */
struct client_world {
    struct sim_world *world;
    struct engine_rig *rig;
    struct engine_model *model;
    bool storage_errors;  /* a storage error may be answered: disk faults since the last start */
    bool calm;            /* nothing is broken any more: an answer that stays away is a breach */
    bool producers_done;  /* all of them */
    uint64_t patience_ns; /* for an answer, before a client gives the connection up */
};

/* Batches of one producer to one partition, or a consumer's place in one. */
struct client_lane {
    uint32_t topic;
    uint32_t partition;
    /* producer: batches [acked, made) are unacknowledged, [sent, made) not under way */
    uint32_t batches[CLIENT_LANE_BATCHES_MAX]; /* numbers, in order */
    uint32_t batch_count;                      /* unacknowledged */
    uint32_t sent_count;                       /* of these, under way or just failed */
    uint32_t made;                             /* ever */
    int32_t sequence;                          /* records ever made: the next base sequence */
    /* consumer */
    int64_t offset; /* next to read */
    int64_t least;  /* of the high watermark, when the request under way was sent */
    bool lost;      /* the offset is out of range: ask for the earliest */
};

struct client_script {
    enum client_kind kind;
    uint32_t number;
    bool is_idempotent;  /* producer */
    bool is_stubborn;    /* plain producer: sends unacknowledged batches again */
    uint32_t flight_max; /* requests under way */
    uint32_t batches;    /* producer: per lane; admin: deletions of the volatile topic */
    uint32_t records_max;
    uint32_t value_bytes_max;
    uint64_t think_ns;    /* longest pause between requests */
    int16_t version_less; /* versions below the last served one, where the API has them */
    int32_t wait_ms_max;  /* consumer */
    int32_t min_bytes;
};

enum client_state {
    CLIENT_DOWN,  /* connects at wake_ns */
    CLIENT_HELLO, /* asks for metadata until every topic is there */
    CLIENT_IDENT, /* idempotent producer: waits for its id */
    CLIENT_RUN,
    CLIENT_DONE,
};

struct client {
    struct client_world *of;
    struct client_script script;
    struct sim_rng rng;
    struct stream stream;
    enum client_state state;
    uint64_t wake_ns;
    uint32_t server; /* which start of it the connection is to */
    bool knows_auto; /* the topics that come by asking are there; now the others */
    struct client_lane lanes[CLIENT_LANES_MAX];
    uint32_t lane_count;
    /* producer */
    int64_t producer_id; /* -1: none yet */
    int16_t producer_epoch;
    bool has_failed; /* something under way was refused: send again when all are answered */
    struct client_flight {
        uint64_t number;
        uint32_t batches[CLIENT_LANES_MAX]; /* number by lane; 0: none */
    } flights[STREAM_PENDING_MAX];
    uint64_t request_next;
    uint32_t refused; /* answers that were no success, for the trace */
    /* admin */
    uint32_t topic_at; /* next to create */
    uint32_t deleted;
    bool is_deleting;
};

void client_init(struct client *client,
                 struct client_world *of,
                 const struct client_script *script,
                 uint64_t seed);
void client_fini(struct client *client);
void client_add_lane(struct client *client, uint32_t topic, uint32_t partition);
/* The actor's functions. */
uint32_t client_step(void *object);
uint64_t client_due_ns(void *object);
/* The same client may be told to look again, when the world has changed. */
void client_poke(struct client *client);

/* ---- between the files of the client ---- */

uint64_t client__now(const struct client *client);
/* Sends a request in the client's version of that API; returns its number. */
uint64_t client__ask(struct client *client, enum kafka_api_key key, const void *message);
int16_t client__version(const struct client *client, enum kafka_api_key key);
/* Gives the connection up and comes back after a while. */
void client__again(struct client *client, bool reset);
bool client__fail(struct client *client, const char *what, int16_t error);
/* An error after which a client tries again: the server or the topic is not there for the moment.
 */
bool client__may_retry(const struct client *client, int16_t error);
struct bytes client__name(const struct engine_topic *topic);

void client__producer_begin(struct client *client);
void client__producer_run(struct client *client);
bool client__producer_answer(struct client *client, const struct stream_answer *answer);
void client__producer_lost(struct client *client);
void client__consumer_run(struct client *client);
bool client__consumer_answer(struct client *client, const struct stream_answer *answer);
void client__admin_run(struct client *client);
bool client__admin_answer(struct client *client, const struct stream_answer *answer);

#endif
