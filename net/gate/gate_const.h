/* Fixed sizes of the gate; what an operator may choose is in struct gate_limits (gate.h). */
#ifndef EAGRE_NET_GATE_GATE_CONST_H
#define EAGRE_NET_GATE_GATE_CONST_H

#include "engine/base/base.h"

#define GATE_NONE UINT32_MAX
#define GATE_BASE_BYTES 4096u            /* receive block that a connection always has */
#define GATE_SEND_BYTES 4096u            /* where small replies are gathered */
#define GATE_UNPROVEN_BYTES (16u * 1024) /* before the first valid request */
#define GATE_SLOT_INLINE_BYTES \
    512u /* reply of one partition with the longest topic name, and of ApiVersions */
#define GATE_FETCH_INLINE_BYTES 768u /* entries and names of a small Fetch */
#define GATE_FETCH_REQUEST_BYTES_MAX (256u * 1024)
#define GATE_ENTRY_BITS 20u /* reply holes and fetch entries in a ctx */
#define GATE_SLOTS_MAX 32768u
#define GATE_BLOCKS_MAX 65536u
#define GATE_ARM_COMMITTED (UINT64_C(1) << 36) /* in that ctx: waits for the last stable offset */
#define GATE_ARM_SLOT 0xffffu                  /* ctx of a REQUEST_ARM: belongs to no slot */
#define GATE_RATE_MIN_BYTES 4096u /* per second: a transfer that keeps this up is never cut off */
#define GATE_LINK_RESERVE 64u     /* response slots kept for what is unsolicited */
#define GATE_RESPONSES_PER_POLL 512u
#define GATE_TAG_ACCEPT \
    (UINT64_C(1) << 48) /* own part of io tags; the connection is in the low bits */
#define GATE_TAG_RECEIVE (UINT64_C(2) << 48)
#define GATE_TAG_SEND (UINT64_C(3) << 48)
#define GATE_TAG_KIND (UINT64_C(0xff) << 48)
#define GATE_ACCEPT_RETRY_NS (100 * NS_PER_MS)
#define GATE_SWEEP_NS (100 * NS_PER_MS)
/* How long a heartbeat may lie in control's ring before control is woken for it. Time-outs of
 * members are thousands of times longer, and a thousand groups' heartbeats then share wake-ups. */
#define GATE_PATIENCE_NS (2 * NS_PER_MS)
#define GATE_UNMUTE_NS (1 * NS_PER_MS) /* pauses end no finer than that */
#define GATE_UNARMED_POLL_NS (20 * NS_PER_MS)

#endif
