/* Clients of the fixture: a real session each, frames kept as they came. */
#include "tests/unit/net/door/fixture.h"

#include "engine/record/record_builder.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define CLIENT_PACKETS 512u

static struct wire_grant
client_keys(uint32_t id)
{
    struct wire_grant grant = {.session = id, .auth = WIRE_AUTH_AEAD, .window = 256};

    memset(grant.client_key, (int)(id >> 8 & 0xff) + 1, sizeof(grant.client_key));
    memset(grant.server_key, (int)(id >> 8 & 0xff) + 3, sizeof(grant.server_key));
    return grant;
}

struct fixture_client *
fixture_grant(struct fixture *fixture, struct nic *nic)
{
    struct fixture_client *client = &fixture->clients[fixture->client_count];
    size_t pool_bytes = session_pool_footprint(CLIENT_PACKETS, NIC_DATAGRAM_BYTES);

    cr_assert_lt(fixture->client_count, FIXTURE_CLIENTS);
    client->id = (0x1234 + fixture->client_count * 0x777) << 8;
    fixture->client_count++;
    const struct wire_grant keys = client_keys(client->id);
    struct door_grant grant = {.session_id = client->id, .datagram_bytes_max = NIC_DATAGRAM_BYTES};
    cr_assert_eq(session_cipher_create(&keys, true, &client->cipher), RC_OK);
    cr_assert_eq(session_cipher_create(&keys, false, &grant.cipher), RC_OK);
    client->pool = session_pool_init(
        kept(aligned_alloc(64, round_up(pool_bytes, 64))), CLIENT_PACKETS, 256, NIC_DATAGRAM_BYTES);
    client->session = kept(aligned_alloc(64, round_up(session_footprint(), 64)));
    client->scratch = kept(malloc(NIC_DATAGRAM_BYTES));
    client->nic = nic;
    const struct session_config config = {.role = SESSION_CLIENT,
                                          .session_id = client->id,
                                          .pool = client->pool,
                                          .cipher = client->cipher,
                                          .datagram_bytes_max = NIC_DATAGRAM_BYTES};
    memset(client->session, 0, session_footprint());
    session_init(client->session, &config, clock_now_ns(&fixture->clock));
    client->stingy = fixture->next_is_stingy;
    session_grant(client->session, client->stingy ? 0 : 256);
    cr_assert_eq(ring_push(&fixture->grants, &grant, 1), 1u);
    return client;
}

struct fixture_client *
fixture_join(struct fixture *fixture)
{
    struct nic *nic = fixture->client_nic;

    if (fixture->client_count > 0)
        cr_assert_eq(nic_memory_add(fixture->net, &nic), RC_OK);
    struct fixture_client *client = fixture_grant(fixture, nic);
    for (uint32_t i = 0; i < 4000 && session_state(client->session) != SESSION_OPEN; i++)
        fixture_run(fixture, FIXTURE_STEP_NS);
    cr_assert_eq(session_state(client->session), SESSION_OPEN, "the session did not open");
    return client;
}

static void
client_keep_frames(struct fixture_client *client, struct bytes frames)
{
    struct wire_frame frame;

    while (wire_frame_next(&frames, &frame)) {
        cr_assert_lt(frame.type, WIRE_FRAME_TYPES, "the door sent a frame that makes no sense");
        if (frame.type < WIRE_FRAME_DATA)
            continue;
        cr_assert_lt(client->frame_count, FIXTURE_FRAMES);
        struct fixture_frame *keep = &client->frames[client->frame_count++];
        *keep = (struct fixture_frame){.type = frame.type,
                                       .flags = frame.flags,
                                       .count = (uint32_t)frame.body.count,
                                       .body = kept(malloc(frame.body.count + 1))};
        memcpy(keep->body, frame.body.at, frame.body.count);
    }
}

static void
client_receive(struct fixture *fixture, struct fixture_client *client)
{
    struct nic_received received[NIC_BURST];
    uint32_t count = nic_receive(client->nic, received, NIC_BURST);
    struct bytes frames;

    for (uint32_t i = 0; i < count; i++) {
        if (client->deaf)
            continue;
        (void)session_receive(client->session,
                              received[i].bytes,
                              received[i].byte_count,
                              client->scratch,
                              UINT32_MAX,
                              clock_now_ns(&fixture->clock));
        while (session_take(client->session, UINT32_MAX, &frames))
            client_keep_frames(client, frames);
    }
    if (count > 0)
        nic_release(client->nic, received, count);
    session_grant(client->session, client->stingy ? 0 : 256);
}

void
fixture_client_step(struct fixture *fixture, struct fixture_client *client)
{
    uint64_t now_ns = clock_now_ns(&fixture->clock);

    client_receive(fixture, client);
    if (session_deadline(client->session) <= now_ns)
        session_tick(client->session, now_ns);
    for (uint32_t i = 0; i < NIC_BURST; i++) {
        struct nic_sending send;
        if (nic_reserve(client->nic, &send, 1) == 0)
            break;
        send.byte_count = session_transmit(client->session, now_ns, send.bytes, send.capacity);
        send.peer = fixture->door_nic->local;
        if (send.byte_count == 0) {
            nic_cancel(client->nic, &send, 1);
            break;
        }
        nic_send(client->nic, &send, 1);
    }
    (void)nic_flush(client->nic);
}

void
fixture_send(struct fixture *fixture,
             struct fixture_client *client,
             const uint8_t *frame,
             uint32_t bytes)
{
    uint8_t *at = NULL;

    for (uint32_t i = 0; i < 20000; i++) {
        at = session_reserve(client->session, bytes);
        if (at != NULL)
            break;
        fixture_run(fixture, FIXTURE_STEP_NS);
    }
    cr_assert_not_null(at, "no window for a frame");
    memcpy(at, frame, bytes);
    session_commit(client->session, bytes);
}

struct bytes
fixture_batch(uint32_t value_bytes, uint32_t number)
{
    static uint8_t memory[2u << 20];
    static uint8_t value[2u << 20];
    struct record_builder builder;
    const struct record_builder_options options = RECORD_BUILDER_PLAIN;
    const struct record record = {.timestamp_ms = 5, .value = {value, value_bytes}};

    memset(value, (int)(number & 0xff), value_bytes);
    if (value_bytes >= 4)
        put_u32_le(value, number);
    record_builder_begin(&builder, memory, sizeof(memory), &options);
    cr_assert(record_builder_add(&builder, &record));
    return (struct bytes){memory, record_builder_finish(&builder)};
}

void
fixture_produce(struct fixture *fixture,
                struct fixture_client *client,
                uint32_t request,
                uint32_t slot,
                struct bytes batch)
{
    uint8_t frame[NIC_DATAGRAM_BYTES];
    const struct wire_data data = {
        .request = request, .partition = fixture_partition(fixture, slot), .batch = batch};
    uint32_t head = wire_data_encode_head(frame, &data);

    cr_assert_leq(head + batch.count, sizeof(frame));
    memcpy(frame + head, batch.at, batch.count);
    fixture_send(fixture, client, frame, (uint32_t)(head + batch.count));
}

void
fixture_produce_pieces(struct fixture *fixture,
                       struct fixture_client *client,
                       uint32_t request,
                       uint32_t slot,
                       struct bytes batch)
{
    uint8_t frame[NIC_DATAGRAM_BYTES];
    uint32_t room = session_frame_bytes_max(client->session) - WIRE_FRAME_HEADER_BYTES -
                    WIRE_DATA_FRAG_HEAD_BYTES;
    uint32_t count = (uint32_t)((batch.count + room - 1) / room);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = (uint32_t)min_u64(batch.count - (size_t)i * room, room);
        const struct wire_data_frag frag = {
            .request = request,
            .partition = fixture_partition(fixture, slot),
            .piece = {.total_bytes = (uint32_t)batch.count,
                      .index = (uint16_t)i,
                      .count = (uint16_t)count,
                      .bytes = {batch.at + (size_t)i * room, bytes}},
        };
        uint32_t head = wire_data_frag_encode_head(frame, &frag);
        memcpy(frame + head, frag.piece.bytes.at, bytes);
        fixture_send(fixture, client, frame, head + bytes);
    }
}

void
fixture_call(struct fixture *fixture,
             struct fixture_client *client,
             uint32_t request,
             struct bytes message)
{
    uint8_t frame[NIC_DATAGRAM_BYTES];
    uint32_t room = session_frame_bytes_max(client->session) - WIRE_FRAME_HEADER_BYTES -
                    WIRE_CALL_HEAD_BYTES;
    uint32_t count = (uint32_t)((message.count + room - 1) / room);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = (uint32_t)min_u64(message.count - (size_t)i * room, room);
        const struct wire_call call = {
            .request = request,
            .piece = {.total_bytes = (uint32_t)message.count,
                      .index = (uint16_t)i,
                      .count = (uint16_t)count,
                      .bytes = {message.at + (size_t)i * room, bytes}},
        };
        uint32_t head = wire_call_encode_head(frame, WIRE_FRAME_CALL, &call);
        memcpy(frame + head, call.piece.bytes.at, bytes);
        fixture_send(fixture, client, frame, head + bytes);
    }
}

/* ---- what came ---- */

const struct fixture_frame *
fixture_frame(const struct fixture_client *client, uint8_t type, uint32_t idx)
{
    for (uint32_t i = 0; i < client->frame_count; i++)
        if (client->frames[i].type == type && idx-- == 0)
            return &client->frames[i];
    return NULL;
}

uint32_t
fixture_count(const struct fixture_client *client, uint8_t type)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < client->frame_count; i++)
        count += client->frames[i].type == type ? 1 : 0;
    return count;
}

static uint32_t
client_commits(const struct fixture_frame *keep, struct wire_frame *ret_frame)
{
    uint32_t count = 0;

    *ret_frame = (struct wire_frame){
        .type = keep->type, .flags = keep->flags, .body = {keep->body, keep->count}};
    if (keep->type == WIRE_FRAME_COMMIT)
        cr_assert_eq(wire_commit_count(ret_frame, &count), RC_OK);
    return count;
}

bool
fixture_commit(const struct fixture_client *client, uint32_t request, struct wire_commit *ret)
{
    struct wire_frame frame;

    for (uint32_t i = 0; i < client->frame_count; i++) {
        uint32_t count = client_commits(&client->frames[i], &frame);
        for (uint32_t k = 0; k < count; k++) {
            wire_commit_at(&frame, k, ret);
            if (ret->request == request)
                return true;
        }
    }
    return false;
}

uint32_t
fixture_commits(const struct fixture_client *client)
{
    struct wire_frame frame;
    uint32_t sum = 0;

    for (uint32_t i = 0; i < client->frame_count; i++)
        sum += client_commits(&client->frames[i], &frame);
    return sum;
}
