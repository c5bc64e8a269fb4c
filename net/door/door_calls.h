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
void
door_layout__place(struct door_layout *layout, const struct door_config *config, struct door *door);
enum rc door_layout__check(const struct door_config *config, struct diag_trail *trail);

/* door_link.c */
/* The next request to fill in, or NULL when the link has no room for it; credits: response slots it
 * may take. */
struct request *door_link__reserve(struct door *door, uint32_t link_idx, uint32_t credits) MUST_USE;
void door_link__release(struct door *door, uint32_t link_idx, uint32_t credits);
/* Publishes what was put in since the last call, and wakes. */
void door_link__publish(struct door *door);
/* Handles up to DOOR_RESPONSES_PER_POLL responses of every link; returns how many. */
uint32_t door_link__drain(struct door *door);
/* Whether every log tile's rings take a packet full of batches now. */
bool door_link__has_room(struct door *door);
/* Datagrams that the rings have room for, shared by all senders. */
uint32_t door_link__room_packets(struct door *door);
bool door_link__is_quiet(const struct door *door);

/* door_session.c */
/* Grants and revocations from the exchange; returns how many. */
uint32_t door_session__take_grants(struct door *door);
/* The session of that id, or DOOR_NONE. */
uint32_t door_session__find(const struct door *door, uint32_t id) MUST_USE;
/* Something is to be sent or looked at in this poll. */
void door_session__activate(struct door *door, struct door_session *session);
/* Takes over what the session counted since the last call. */
void door_session__count(struct door *door, struct door_session *session);
/* It is CLOSED, revoked or forgotten: gives everything back. False: the exchange's ring is full,
 * try again. */
bool door_session__end(struct door *door, struct door_session *session) MUST_USE;
void door_session__timer_set(struct door *door, struct door_session *session, uint64_t wake_ns);
/* The session whose time has come, or DOOR_NONE. */
uint32_t door_session__timer_due(const struct door *door);
uint64_t door_session__timer_next(const struct door *door);
bool door_session__tell(struct door *door, const struct door_event *event) MUST_USE;

/* door_receive.c */
uint32_t door_receive__run(struct door *door);
/* One datagram, of our carrier or forwarded. */
void
door_receive__datagram(struct door *door, const struct nic_received *received, bool is_forwarded);
/* Takes what is deliverable of a session, as far as there is room. */
void door_receive__take(struct door *door, struct door_session *session);
/* Those that waited for room. */
void door_receive__retry(struct door *door);

/* door_frame.c: the frames of one packet. Closes the session when they make no sense. False: the
 * rest waits for a large buffer or window, and nothing more of this session is to be taken before
 * it. */
bool door_frame__run(struct door *door, struct door_session *session, struct bytes frames);
/* The rest that waited; true when nothing waits any longer. */
bool door_frame__run_stash(struct door *door, struct door_session *session);
/* Whether the rest of a packet can be kept now. */
bool door_frame__can_wait(const struct door *door, const struct door_session *session);
void door_frame__stash_drop(struct door *door, struct door_session *session);

/* door_forward.c */
/* False: there is no such door, or no room. */
void door_forward__send(struct door *door, uint32_t tile, const struct nic_received *received);
uint32_t door_forward__receive(struct door *door);
bool door_forward__is_empty(const struct door *door);

/* door_produce.c: RC_OK, or RC_MALFORMED to close the session. */
enum rc
door_produce__data(struct door *door, struct door_session *session, const struct wire_data *data);
/* A whole batch in a message buffer, which is the batch's from now on. */
void door_produce__message(struct door *door,
                           struct door_session *session,
                           const struct wire_data *data,
                           uint32_t message);
void door_produce__refuse(struct door *door,
                          struct door_session *session,
                          const struct wire_data *data,
                          int16_t error);
void door_produce__answered(struct door *door, const struct response *response);

/* door_message.c: also RC_AGAIN, when there is no buffer and the frame can wait. */
enum rc door_message__piece(struct door *door,
                            struct door_session *session,
                            const struct wire_data_frag *frag);
void door_message__drop(struct door *door, struct door_session *session);
/* A large buffer for a reader or a reply, or DOOR_NONE: half of them belong to producers. */
uint32_t door_message__lend(struct door *door) MUST_USE;
void door_message__lend_end(struct door *door, uint32_t message);
void door_message__give_back(struct door *door, uint32_t message);

/* door_commit.c */
void door_commit__queue(struct door *door, struct door_session *session, uint32_t produce_idx);
/* True when nothing is left to be told. */
bool door_commit__send(struct door *door, struct door_session *session);

/* door_read.c: RC_OK, or RC_MALFORMED to close the session, RC_LIMIT to close it by that name. */
enum rc
door_read__fetch(struct door *door, struct door_session *session, const struct wire_fetch *fetch);
enum rc door_read__subscribe(struct door *door,
                             struct door_session *session,
                             const struct wire_subscribe *subscribe);
enum rc door_read__credit(struct door *door,
                          struct door_session *session,
                          const struct wire_credit *credit,
                          bool ends);
void door_read__queue(struct door *door, uint32_t reader_idx);
/* What was read is sent, or there is more credit: goes on, waits for credit, or is over. */
void door_read__resume(struct door *door, uint32_t reader_idx);
/* Sends what is due to the log tiles. */
void door_read__issue(struct door *door);
/* Looks again at partitions whose marks nobody sends. */
void door_read__wake_lazy(struct door *door);
void door_read__answered(struct door *door, const struct response *response);
void door_read__buffer_drop(struct door *door, struct door_reader *reader);

/* door_read_send.c */
/* Data that one FETCHED frame carries. */
uint32_t door_read__piece_bytes(const struct door_session *session);
/* True when nothing is left to be sent. */
bool door_read__send(struct door *door, struct door_session *session);
void door_read__drop_all(struct door *door, struct door_session *session);
/* Takes it off its session and gives it back; no answer may be owed. */
void door_read__free(struct door *door, struct door_session *session, uint32_t reader_idx);
/* Gives back what is on no session any longer. */
void door_read__give(struct door *door, uint32_t reader_idx);

/* door_watch.c */
void door_watch__listen(struct door *door, uint32_t reader_idx);
void door_watch__forget(struct door *door, uint32_t reader_idx);
bool door_watch__may_arm(struct door *door, const struct partition_ref *ref);
void door_watch__arming(struct door *door, const struct partition_ref *ref);
/* The request with ARM was answered; gives the credits that it no longer needs. */
uint32_t door_watch__armed(struct door *door, const struct partition_ref *ref, bool armed);
bool door_watch__is_armed(struct door *door, const struct partition_ref *ref);
void door_watch__marked(struct door *door, uint32_t link_idx, const struct response *response);
/* A snapshot changes what is known of its partitions. */
void door_watch__topic(struct door *door, const struct topic_snapshot *snapshot);

/* door_call.c */
enum rc
door_call__piece(struct door *door, struct door_session *session, const struct wire_call *call);
void door_call__issue(struct door *door);
void door_call__answered(struct door *door, const struct response *response);
bool door_call__send(struct door *door, struct door_session *session);
void door_call__drop_all(struct door *door, struct door_session *session);

/* door_resolve.c */
enum rc door_resolve__ask(struct door *door,
                          struct door_session *session,
                          const struct wire_resolve *resolve);
/* Whether one more short answer can be owed; those that are go out now as far as there is window.
 */
bool door_note__has_room(struct door *door, struct door_session *session) MUST_USE;
/* What is to become of a frame whose answer has no room: RC_AGAIN, or RC_LIMIT where the rest of
 * its packet cannot be kept. */
enum rc door_note__wait(const struct door *door, const struct door_session *session) MUST_USE;
/* RC_OK, or as door_note__wait(): nothing was added then. */
enum rc door_note__add(struct door *door,
                       struct door_session *session,
                       const struct door_note *note) MUST_USE;
bool door_note__send(struct door *door, struct door_session *session);

/* door_transmit.c */
uint32_t door_transmit__run(struct door *door);
/* One datagram without a session. */
uint8_t *door_transmit__buffer(struct door *door, uint32_t *ret_capacity) MUST_USE;
void door_transmit__put(struct door *door, uint32_t byte_count, const struct nic_address *peer);
/* Hands over what was put; true: something still waits. */
bool door_transmit__flush(struct door *door);

#endif
