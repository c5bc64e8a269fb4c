/* A scripted user of a log: appends of all sizes, idempotent producers that resend, reads, opens,
 * trims and drops, drawn from the workload stream. An actor of the world; outlives the processes
 * whose log it uses. */
#ifndef EAGRE_TESTS_SIM_LOG_CLIENT_H
#define EAGRE_TESTS_SIM_LOG_CLIENT_H

#include "log_rig.h"

#define CLIENT_PRODUCERS_MAX 16u
#define CLIENT_IN_FLIGHT 5u /* what Kafka's producers keep under way */

/* One idempotent producer of one partition. Batches leave in order; what is not acknowledged is
 * resent after a restart. */
struct client_producer {
    uint32_t partition;
    int64_t id;
    int16_t epoch;
    int32_t sequence; /* of the next batch */
    struct model_batch queue[CLIENT_IN_FLIGHT];
    uint32_t count;
    uint32_t sent;           /* of them, in this process' life */
    struct model_batch last; /* the last acknowledged; id 0: none */
};

/* Weights of the kinds of operations, drawn per seed. */
struct client_weights {
    uint32_t append;
    uint32_t produce;
    uint32_t read;
    uint32_t open;
    uint32_t trim;
    uint32_t drop;
};

struct log_client {
    struct log_rig *rig;
    struct sim_rng *rng;
    struct client_weights weights;
    uint32_t batch_bytes_max;
    uint32_t partitions_max; /* open at a time */
    uint64_t think_ns;
    uint64_t due_ns;
    uint64_t operations; /* done */
    uint64_t operations_max;
    uint64_t again_since_ns; /* 0: the last append was not put off */
    struct client_producer producers[CLIENT_PRODUCERS_MAX];
    uint32_t producer_count;
};

/* Draws what kind of user it is. */
void log_client_init(struct log_client *client, struct log_rig *rig);
/* Offers every partition of the model that is not dropped to a log that has just started, and
 * finishes drops. Settles. */
bool log_client_restart(struct log_client *client);
/* Adds the actor; it goes on until operations_max. */
void log_client_add(struct log_client *client, uint64_t operations);
/* done() for sim_world_run(): the operations are over or something is wrong. */
bool log_client_is_done(void *client);

#endif
