/* The calls between the parts of a door, file by file. Included by door_internal.h. All run on the
 * door's core, allocate nothing and never block. */
#ifndef EAGRE_NET_DOOR_DOOR_CALLS_H
#define EAGRE_NET_DOOR_DOOR_CALLS_H

#include "net/door/door_parts.h"

struct door;

/* door_layout.c: memory, laid out by one function for both questions: how much, and where. */
struct door_layout {
    uint8_t *memory; /* NULL: only count */
    uint64_t at;
};
void layout__place(struct door_layout *layout, const struct door_config *config, struct door *door);
enum rc layout__check(const struct door_config *config, struct diag_trail *trail);

/* door_link.c */
/* The next request to fill in, or NULL when the link has no room for it; credits: response slots it
 * may take. */
struct request *link__reserve(struct door *door, uint32_t link_idx, uint32_t credits) MUST_USE;
void link__release(struct door *door, uint32_t link_idx, uint32_t credits);
/* Publishes what was put in since the last call, and wakes. */
void link__publish(struct door *door);
/* Handles up to DOOR_RESPONSES_PER_POLL responses of every link; returns how many. */
uint32_t link__drain(struct door *door);
/* Whether every log tile's rings take a packet full of batches now. */
bool link__has_room(struct door *door);
/* Datagrams that the rings have room for, shared by all senders. */
uint32_t link__room_packets(struct door *door);
bool link__is_quiet(const struct door *door);

/* door_session.c */
/* Grants and revocations from the exchange; returns how many. */
uint32_t session__take_grants(struct door *door);
/* The session of that id, or DOOR_NONE. */
uint32_t session__find(const struct door *door, uint32_t id) MUST_USE;
/* Something is to be sent or looked at in this poll. */
void session__activate(struct door *door, struct door_session *session);
/* Takes over what the session counted since the last call. */
void session__count(struct door *door, struct door_session *session);
/* It is CLOSED, revoked or forgotten: gives everything back. False: the exchange's ring is full,
 * try again. */
bool session__end(struct door *door, struct door_session *session) MUST_USE;
void session__timer_set(struct door *door, struct door_session *session, uint64_t wake_ns);
/* The session whose time has come, or DOOR_NONE. */
uint32_t session__timer_due(const struct door *door);
uint64_t session__timer_next(const struct door *door);
bool session__tell(struct door *door, const struct door_event *event) MUST_USE;

/* door_receive.c */
uint32_t receive__run(struct door *door);
/* One datagram, of our carrier or forwarded. */
void receive__datagram(struct door *door, const struct nic_received *received, bool is_forwarded);
/* Takes what is deliverable of a session, as far as there is room. */
void receive__take(struct door *door, struct door_session *session);
/* Those that waited for room. */
void receive__retry(struct door *door);

/* door_frame.c: the frames of one packet. Closes the session when they make no sense. */
void frame__run(struct door *door, struct door_session *session, struct bytes frames);

/* door_forward.c */
/* False: there is no such door, or no room. */
void forward__send(struct door *door, uint32_t tile, const struct nic_received *received);
uint32_t forward__receive(struct door *door);
bool forward__is_empty(const struct door *door);

/* door_produce.c: RC_OK, or RC_MALFORMED to close the session. */
enum rc
produce__data(struct door *door, struct door_session *session, const struct wire_data *data);
/* A whole batch in a message buffer, which is the batch's from now on. */
void produce__message(struct door *door,
                      struct door_session *session,
                      const struct wire_data *data,
                      uint32_t message);
void produce__refuse(struct door *door,
                     struct door_session *session,
                     const struct wire_data *data,
                     int16_t error);
void produce__answered(struct door *door, const struct response *response);

/* door_message.c */
enum rc
message__piece(struct door *door, struct door_session *session, const struct wire_data_frag *frag);
void message__drop(struct door *door, struct door_session *session);
/* A large buffer for a reader or a reply, or DOOR_NONE: half of them belong to producers. */
uint32_t message__lend(struct door *door) MUST_USE;
void message__lend_end(struct door *door, uint32_t message);
void message__give_back(struct door *door, uint32_t message);

/* door_commit.c */
void commit__queue(struct door *door, struct door_session *session, uint32_t produce_idx);
/* True when nothing is left to be told. */
bool commit__send(struct door *door, struct door_session *session);

/* door_read.c: RC_OK, or RC_MALFORMED to close the session, RC_LIMIT to close it by that name. */
enum rc
read__fetch(struct door *door, struct door_session *session, const struct wire_fetch *fetch);
enum rc read__subscribe(struct door *door,
                        struct door_session *session,
                        const struct wire_subscribe *subscribe);
enum rc read__credit(struct door *door,
                     struct door_session *session,
                     const struct wire_credit *credit,
                     bool ends);
void read__queue(struct door *door, uint32_t reader_idx);
/* What was read is sent, or there is more credit: goes on, waits for credit, or is over. */
void read__resume(struct door *door, uint32_t reader_idx);
/* Sends what is due to the log tiles. */
void read__issue(struct door *door);
/* Looks again at partitions whose marks nobody sends. */
void read__wake_lazy(struct door *door);
void read__answered(struct door *door, const struct response *response);
void read__buffer_drop(struct door *door, struct door_reader *reader);

/* door_read_send.c */
/* Data that one FETCHED frame carries. */
uint32_t read__piece_bytes(const struct door_session *session);
/* True when nothing is left to be sent. */
bool read__send(struct door *door, struct door_session *session);
void read__drop_all(struct door *door, struct door_session *session);
/* Takes it off its session and gives it back; no answer may be owed. */
void read__free(struct door *door, struct door_session *session, uint32_t reader_idx);
/* Gives back what is on no session any longer. */
void read__give(struct door *door, uint32_t reader_idx);

/* door_watch.c */
void watch__listen(struct door *door, uint32_t reader_idx);
void watch__forget(struct door *door, uint32_t reader_idx);
bool watch__may_arm(struct door *door, const struct partition_ref *ref);
void watch__arming(struct door *door, const struct partition_ref *ref);
/* The request with ARM was answered; gives the credits that it no longer needs. */
uint32_t watch__armed(struct door *door, const struct partition_ref *ref, bool armed);
bool watch__is_armed(struct door *door, const struct partition_ref *ref);
void watch__marked(struct door *door, uint32_t link_idx, const struct response *response);
/* A snapshot changes what is known of its partitions. */
void watch__topic(struct door *door, const struct topic_snapshot *snapshot);

/* door_call.c */
enum rc call__piece(struct door *door, struct door_session *session, const struct wire_call *call);
void call__issue(struct door *door);
void call__answered(struct door *door, const struct response *response);
bool call__send(struct door *door, struct door_session *session);
void call__drop_all(struct door *door, struct door_session *session);

/* door_resolve.c */
enum rc
resolve__ask(struct door *door, struct door_session *session, const struct wire_resolve *resolve);
/* RC_LIMIT: the session is owed DOOR_NOTES already. */
enum rc note__add(struct door_session *session, const struct door_note *note) MUST_USE;
bool note__send(struct door *door, struct door_session *session);

/* door_transmit.c */
uint32_t transmit__run(struct door *door);
/* One datagram without a session. */
uint8_t *transmit__buffer(struct door *door, uint32_t *ret_capacity) MUST_USE;
void transmit__put(struct door *door, uint32_t byte_count, const struct nic_address *peer);
/* Hands over what was put; true: something still waits. */
bool transmit__flush(struct door *door);

#endif
