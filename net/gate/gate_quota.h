/* Limits of clients at the gate (KIP-13, KIP-124, KIP-219). The answer that goes beyond a limit
 * leaves at once and tells the pause; then its connection begins no request for that long. Private
 * to net/gate; accounts are in quota_table.h. All of it: Runs on: the gate's core.  Allocates:
 * nothing.  Blocks: never. */
#ifndef EAGRE_NET_GATE_GATE_QUOTA_H
#define EAGRE_NET_GATE_GATE_QUOTA_H

#include "net/gate/gate_connection.h"

/* Finds whom the request whose header was just parsed is charged to. */
void quota__header(struct gate *gate, uint32_t connection);
/* Charges a request or its answer, mutes the connection when need be, and gives the pause to be
 * told, in ms; 0: none. */
uint32_t quota__charge(struct gate *gate,
                       const struct gate_slot *slot,
                       enum quota_kind kind,
                       uint64_t amount);
/* The same, written into an answer of control where it has a place for it. spent_ns: core time. */
void quota__control_answer(struct gate *gate, struct gate_slot *slot, uint64_t spent_ns);
/* Core time spent on a connection since begun_ns; 0: not measured. */
uint64_t quota__time_begin(struct gate *gate);
void quota__time_end(struct gate *gate, uint32_t connection, uint64_t begun_ns);
/* Bytes that a Fetch answer should not exceed. */
uint64_t quota__fetch_bytes_max(struct gate *gate, const struct gate_slot *slot);
/* Lets the connections go on whose pause is over; returns how many. */
uint32_t quota__unmute(struct gate *gate);
/* Takes over what control told of a client's limits. */
void quota__told(struct gate *gate, const struct quota_snapshot *snapshot);
/* A closed connection pauses no more. */
void quota__closed(struct gate *gate, struct gate_connection *connection);
static ALWAYS_INLINE bool
quota__is_muted(const struct gate_connection *connection, uint64_t now_ns)
{
    return UNLIKELY(connection->muted) && connection->muted_until_ns > now_ns;
}

#endif
