/* The calls between the files of libeagre; client_inner.h has the types and tells who does what.
 * All: Runs on: the client's thread.  Allocates: nothing but where said.  Blocks: never. */
#ifndef EAGRE_NET_CLIENT_CLIENT_PARTS_H
#define EAGRE_NET_CLIENT_CLIENT_PARTS_H

#include "net/client/client_inner.h"

/* Zeroed memory, or NULL. Only while something is opened. */
void *client_alloc(size_t bytes);
/* The same, touched only as it is used; not aligned further than malloc does. */
void *client_alloc_lazily(size_t bytes);
void client_free(void *memory);
void client_say(struct eagre_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes text for the caller; `to` may be NULL. */
void client_text(char *to, size_t capacity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The next poll looks at what waits for time or for an answer. */
void client_tick_soon(struct eagre_client *client);
/* Not later than at_ns. */
void client_tick_by(struct eagre_client *client, uint64_t at_ns);
/* Of the server's number: what the caller is told. */
int client_rc_of_server(int error);
/* Trying again may help: the server is busy, starting, or changed its mind. */
bool client_error_is_passing(int error);

/* control.c. Allocates: the TLS context; at each connection what OpenSSL needs. */
int client__control_init(struct eagre_client *client, char *why, size_t why_capacity);
void client__control_fini(struct eagre_client *client);
/* Moves the exchange on; opens and ends the session. */
void client__control_step(struct eagre_client *client);
/* Ends the connection and the session; the next try comes after the backoff. */
void client__control_drop(struct eagre_client *client);
uint64_t client__control_deadline(const struct eagre_client *client);
/* Says LEAVE, as far as the socket takes it. */
void client__control_leave(struct eagre_client *client);

/* carrier.c: opens client->nic as the configuration says. Allocates: yes. */
int client__carrier_open(struct eagre_client *client, char *why, size_t why_capacity);
void client__carrier_close(struct eagre_client *client);
/* A vhost-user port lives and dies with the server: opens it anew after that. False: cannot yet.
 * Allocates: yes.  Blocks: up to 2 s. */
bool client__carrier_renew(struct eagre_client *client);
/* No descriptor to sleep on. */
bool client__carrier_is_polled(const struct eagre_client *client);

/* link.c */
int client__link_init(struct eagre_client *client);
void client__link_fini(struct eagre_client *client);
/* client->grant is here: begins the session. False: no memory. Allocates: the cipher's context. */
bool client__link_begin(struct eagre_client *client);
/* The session is over; everybody is told. */
void client__link_end(struct eagre_client *client);
void client__link_receive(struct eagre_client *client);
void client__link_transmit(struct eagre_client *client);
uint64_t client__link_deadline(const struct eagre_client *client);

/* topic.c. Finds or makes the entry; NULL: all are taken. */
struct client_topic *client__topic_get(struct eagre_client *client, const char *name, bool create);
/* Asks again: what is known of it does not hold any more. */
void client__topic_stale(struct eagre_client *client, struct client_topic *topic);
/* Where a partition is, or NULL while it is not known. */
const struct wire_partition *client__topic_place(const struct eagre_client *client,
                                                 const struct client_topic *topic,
                                                 uint32_t partition);
void client__topic_step(struct eagre_client *client);
void client__topic_resolved(struct eagre_client *client, const struct wire_resolved *resolved);
/* The answer of the creating call; error 0: created or there. */
void client__topic_created(struct eagre_client *client, struct client_topic *topic, int error);
void client__topic_session_ended(struct eagre_client *client);

/* call.c */
int client__call_init(struct eagre_client *client);
void client__call_fini(struct eagre_client *client);
void client__call_step(struct eagre_client *client);
void client__call_answer(struct eagre_client *client, const struct wire_call *answer);
/* A subscriber or producer is closed: the answer to its call is for nobody. */
void client__call_disown(struct eagre_client *client, bool is_subscriber, uint32_t owner);
void client__call_session_ended(struct eagre_client *client);

/* partitioner.c: [0, partition_count). */
uint32_t client__partition_of_key(int partitioner,
                                  const void *key,
                                  size_t key_bytes,
                                  uint32_t partition_count);

/* producer.c, deliver.c */
void client__producer_queue(struct eagre_producer *producer, struct producer_partition *partition);
void client__producer_batch_close(struct eagre_producer *producer, struct client_batch *batch);
void client__producer_unlink(struct eagre_producer *producer, struct client_batch *batch);
void client__producer_report(struct eagre_producer *producer,
                             struct client_batch *batch,
                             const struct eagre_delivery *outcome);
void client__producer_fail_all(struct eagre_producer *producer, int rc);
/* The answer of InitProducerId. */
void
client__producer_identified(struct eagre_producer *producer, int64_t id, int16_t epoch, int error);
/* Sends what may be sent as far as the session takes it. */
void client__deliver_send(struct eagre_client *client);
void client__deliver_commit(struct eagre_client *client, const struct wire_commit *commit);
void client__deliver_tick(struct eagre_client *client);
void client__deliver_session_ended(struct eagre_client *client);

/* subscriber.c */
/* Frees it without a word to the server; NULL is allowed. */
void client__subscriber_free(struct eagre_subscriber *subscriber);
void client__subscriber_step(struct eagre_client *client);
void client__subscriber_fetched(struct eagre_client *client, const struct wire_fetched *fetched);
void client__subscriber_session_ended(struct eagre_client *client);
void client__subscriber_fail(struct eagre_subscriber *subscriber, int rc);
void client__part_fail(struct subscriber_part *part, int rc, int server_error);
/* Answers of ListOffsets. */
void client__subscriber_placed(struct eagre_subscriber *subscriber,
                               uint32_t partition,
                               int error,
                               int64_t offset);
void
client__subscriber_ended(struct eagre_subscriber *subscriber, uint32_t partition, int64_t offset);

/* Before a message in a part's ring; 8-byte aligned. */
struct part_item {
    uint32_t message_bytes;
    uint32_t skip; /* 1: the rest of the ring is left out, the item is at its beginning */
    uint64_t high_watermark;
};
_Static_assert(sizeof(struct part_item) == 16, "aligned in the ring");

#endif
