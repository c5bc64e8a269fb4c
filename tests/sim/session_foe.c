/* A foe on the path: it keeps what it sees and injects it again, whole, damaged, edited or sent
 * back to where it came from, and makes packets up. It has no key: whatever it does, the judge of
 * session_rig.h must not notice. Without encryption a foe can forge anything, so on plain sessions
 * it only repeats and damages: that is all that a CRC is for. */
#include "session_rig.h"

#include <string.h>

enum deed {
    DEED_REPLAY,
    DEED_FLIP,
    DEED_CUT,
    DEED_LENGTHEN,
    DEED_PLAIN_LAST = DEED_LENGTHEN,
    DEED_REFLECT,
    DEED_EDIT_HEADER,
    DEED_INVENT,
    DEED_RETRY,
    DEED_COUNT,
};

static uint32_t
below(struct session_rig *rig, uint32_t bound)
{
    return (uint32_t)clock_random_below(&rig->dice, bound);
}

static void
inject(struct session_rig *rig, bool to_client, const uint8_t *bytes, uint32_t byte_count)
{
    const struct nic_address *client = &rig->client.nic->local;
    const struct nic_address *server = &rig->server.nic->local;

    rig->foe_injected++;
    nic_memory_inject(
        rig->net, to_client ? server : client, to_client ? client : server, bytes, byte_count);
}

/* Numbers in the header moved: packet number, ack, sequence, flags, type. */
static void
edit_header(struct session_rig *rig, uint8_t *bytes)
{
    static const uint8_t places[] = {0, 1, 8, 9, 15, 16, 17, 23, 24, 25};
    uint32_t place = places[below(rig, sizeof(places))];

    bytes[place] = (uint8_t)(bytes[place] + 1 + below(rig, 255));
}

/* Any number, small ones as likely as large ones. */
static uint64_t
some_number(struct session_rig *rig)
{
    uint64_t number = clock_random(&rig->dice);
    return number >> below(rig, 64);
}

static void
invent(struct session_rig *rig, uint8_t *bytes, uint32_t *byte_count)
{
    struct wire_header header = {
        .type = WIRE_SESSION,
        .flags = WIRE_FLAG_SEQUENCED,
        .length = (uint16_t)*byte_count,
        .session = rig->client.session->config.session_id,
    };

    header.packet_number = some_number(rig);
    header.ack = some_number(rig);
    header.sequence = some_number(rig);
    if (*byte_count >= 64)
        wire_header_encode(&header, bytes);
}

static void
send_back_cookie(struct session_rig *rig)
{
    uint8_t retry[WIRE_RETRY_BYTES];
    struct wire_header header = {
        .type = WIRE_RETRY,
        .length = WIRE_RETRY_BYTES,
        .session = rig->client.session->config.session_id,
    };

    wire_header_encode(&header, retry);
    memset(retry + WIRE_HEADER_BYTES, (int)below(rig, 256), WIRE_COOKIE_BYTES);
    inject(rig, true, retry, sizeof(retry));
}

static void
strike(struct session_rig *rig)
{
    uint32_t kept = min_u32(rig->foe_count, SESSION_RIG_FOE_KEEPS);
    uint32_t at = below(rig, kept);
    bool to_client = !rig->foe[at].from_client;
    uint32_t byte_count = rig->foe[at].byte_count;
    uint8_t bytes[SESSION_RIG_DATAGRAM];

    memcpy(bytes, rig->foe[at].bytes, sizeof(bytes));
    switch ((enum deed)below(rig, rig->sealed ? DEED_COUNT : DEED_PLAIN_LAST + 1)) {
    case DEED_FLIP:
        bytes[below(rig, byte_count)] ^= (uint8_t)BIT(below(rig, 8));
        break;
    case DEED_CUT:
        byte_count = 1 + below(rig, byte_count);
        break;
    case DEED_LENGTHEN:
        byte_count += below(rig, SESSION_RIG_DATAGRAM - byte_count + 1);
        break;
    case DEED_REFLECT:
        to_client = !to_client;
        break;
    case DEED_EDIT_HEADER:
        edit_header(rig, bytes);
        break;
    case DEED_INVENT:
        invent(rig, bytes, &byte_count);
        break;
    case DEED_RETRY:
        send_back_cookie(rig);
        return;
    case DEED_REPLAY:
    case DEED_COUNT:
        break;
    }
    inject(rig, to_client, bytes, byte_count);
}

void
session_foe_look(struct session_rig *rig,
                 const struct station *from,
                 const uint8_t *bytes,
                 uint32_t byte_count)
{
    if (rig->foe_ppm == 0)
        return;
    uint32_t at = rig->foe_count++ % SESSION_RIG_FOE_KEEPS;
    rig->foe[at].byte_count = byte_count;
    rig->foe[at].from_client = from == &rig->client;
    memset(rig->foe[at].bytes, 0, sizeof(rig->foe[at].bytes));
    memcpy(rig->foe[at].bytes, bytes, byte_count);
    while (below(rig, 1000000) < rig->foe_ppm)
        strike(rig);
}
