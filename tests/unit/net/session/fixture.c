/* See fixture.h. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

static void
end_init(struct pair *pair,
         struct end *end,
         enum session_role role,
         const struct pair_options *options)
{
    struct session_config config = options->config;
    uint32_t slots = options->slots != 0 ? options->slots : 1024;
    uint32_t reorder_max = options->reorder_max != 0 ? options->reorder_max : slots / 2;

    *end = (struct end){.room_bytes = UINT32_MAX};
    void *memory = aligned_alloc(64, round_up(session_pool_footprint(slots, PAIR_DATAGRAM), 64));
    end->pool = session_pool_init(memory, slots, reorder_max, PAIR_DATAGRAM);
    cr_assert_eq(session_cipher_create(&pair->grant, role == SESSION_CLIENT, &end->cipher), RC_OK);
    config.role = role;
    config.session_id = PAIR_SESSION;
    config.pool = end->pool;
    config.cipher = end->cipher;
    config.datagram_bytes_max = PAIR_DATAGRAM;
    if (config.delay_target_ns == 0)
        config.delay_target_ns = UINT64_MAX;
    end->session = aligned_alloc(64, session_footprint());
    session_init(end->session, &config, pair->now_ns);
}

void
pair_init(struct pair *pair, const struct pair_options *options)
{
    static const struct pair_options none;
    uint8_t secret[32];

    options = options != NULL ? options : &none;
    *pair = (struct pair){
        .now_ns = 1000 * PAIR_SECOND_NS,
        .client_address = {.ip = {[10] = 0xff, 0xff, 10, 0, 0, 2}, .port = 40000},
        .grant = {.session = PAIR_SESSION, .auth = options->auth},
    };
    memset(secret, 7, sizeof(secret));
    memset(pair->grant.client_key, 1, WIRE_KEY_BYTES);
    memset(pair->grant.server_key, 2, WIRE_KEY_BYTES);
    memset(pair->grant.client_salt, 3, WIRE_SALT_BYTES);
    memset(pair->grant.server_salt, 4, WIRE_SALT_BYTES);
    cr_assert_eq(cookie_jar_create(secret, &pair->jar), RC_OK);
    end_init(pair, &pair->client, SESSION_CLIENT, options);
    end_init(pair, &pair->server, SESSION_SERVER, options);
}

void
pair_open(struct pair *pair, const struct pair_options *options)
{
    pair_init(pair, options);
    pair_exchange(pair);
    cr_assert_eq(session_state(pair->client.session), SESSION_OPEN);
    cr_assert_eq(session_state(pair->server.session), SESSION_OPEN);
}

static void
end_fini(struct end *end)
{
    session_fini(end->session);
    session_fini(end->session);
    cr_assert_eq(session_pool_used(end->pool), 0);
    cr_assert_eq(end->pool->reorder_used, 0);
    session_cipher_destroy(end->cipher);
    free(end->pool);
    free(end->session);
}

void
pair_fini(struct pair *pair)
{
    end_fini(&pair->client);
    end_fini(&pair->server);
    cookie_jar_destroy(pair->jar);
}

bool
pair_transmit(struct pair *pair, struct end *end, struct datagram *ret)
{
    ret->byte_count = session_transmit(end->session, pair->now_ns, ret->bytes, PAIR_DATAGRAM);
    return ret->byte_count > 0;
}

/* What the net tile does with a HELLO. */
static enum session_received
door_hello(struct pair *pair, const struct datagram *datagram, const uint8_t *cookie)
{
    struct datagram retry;

    if (cookie != NULL &&
        cookie_is_good(pair->jar, cookie, &pair->client_address, PAIR_SESSION, pair->now_ns))
        return session_accept_hello(
                   pair->server.session, datagram->bytes, datagram->byte_count, pair->now_ns)
                   ? SESSION_RECEIVED
                   : SESSION_DROPPED;
    retry.byte_count = cookie_retry(
        pair->jar, &pair->client_address, PAIR_SESSION, pair->now_ns, retry.bytes);
    cr_assert_leq(retry.byte_count, datagram->byte_count, "amplification");
    pair->retries++;
    pair_deliver(pair, &pair->client, &retry);
    return SESSION_DROPPED;
}

enum session_received
pair_deliver(struct pair *pair, struct end *end, const struct datagram *datagram)
{
    const uint8_t *cookie;

    if (end == &pair->server &&
        cookie_in_hello(datagram->bytes, datagram->byte_count, &cookie) == RC_OK)
        return door_hello(pair, datagram, cookie);
    enum session_received received = session_receive(end->session,
                                                     datagram->bytes,
                                                     datagram->byte_count,
                                                     end->scratch,
                                                     end->room_bytes,
                                                     pair->now_ns);
    end_take(end);
    return received;
}

uint32_t
pair_exchange(struct pair *pair)
{
    struct datagram datagram;
    uint32_t moved = 0;
    bool any;

    do {
        any = false;
        while (pair_transmit(pair, &pair->client, &datagram)) {
            pair_deliver(pair, &pair->server, &datagram);
            any = true;
            cr_assert_lt(++moved, 100000, "the ends never come to rest");
        }
        while (pair_transmit(pair, &pair->server, &datagram)) {
            pair_deliver(pair, &pair->client, &datagram);
            any = true;
            cr_assert_lt(++moved, 100000, "the ends never come to rest");
        }
    } while (any);
    return moved;
}

void
pair_advance(struct pair *pair, uint64_t ns)
{
    pair->now_ns += ns;
    session_tick(pair->client.session, pair->now_ns);
    session_tick(pair->server.session, pair->now_ns);
}

void
pair_run(struct pair *pair, uint64_t ns)
{
    uint64_t end_ns = pair->now_ns + ns;

    while (pair->now_ns < end_ns) {
        pair_exchange(pair);
        pair_advance(pair, min_u64(end_ns - pair->now_ns, NS_PER_MS));
    }
    pair_exchange(pair);
}

uint32_t
end_write(struct end *end, uint32_t count, uint32_t frame_bytes)
{
    uint32_t written = 0;

    for (; written < count; written++) {
        uint8_t *at = session_reserve(end->session, frame_bytes);
        if (at == NULL)
            break;
        memset(at, 0, frame_bytes);
        wire_frame_header(
            at, WIRE_FRAME_DATA, 0, (uint16_t)(frame_bytes - WIRE_FRAME_HEADER_BYTES));
        put_u64_le(at + WIRE_FRAME_HEADER_BYTES, end->written++);
        session_commit(end->session, frame_bytes);
    }
    return written;
}

void
end_take(struct end *end)
{
    struct bytes frames;
    struct wire_frame frame;

    while (session_take(end->session, end->room_bytes, &frames)) {
        cr_assert_gt(frames.count, 0);
        cr_assert_gt(frames.at[0], WIRE_FRAME_CLOSE, "begins with a frame of the user's");
        while (wire_frame_next(&frames, &frame)) {
            if (frame.type <= WIRE_FRAME_CLOSE)
                continue;
            cr_assert_eq(get_u64_le(frame.body.at), end->read, "in order, once");
            end->read++;
        }
        cr_assert_neq(frame.type, WIRE_FRAME_TYPES);
        end->packets_taken++;
    }
}

void
forge(struct end *from, const struct wire_header *header, struct bytes frames, struct datagram *ret)
{
    uint32_t clear_bytes = wire_clear_bytes(header->type, header->flags);

    wire_header_encode(header, ret->bytes);
    if (frames.count > 0)
        memcpy(ret->bytes + clear_bytes, frames.at, frames.count);
    ret->byte_count = session_cipher_seal(from->cipher,
                                          ret->bytes,
                                          clear_bytes,
                                          clear_bytes + (uint32_t)frames.count,
                                          header->packet_number);
}

struct wire_header
next_header(struct end *end)
{
    return (struct wire_header){
        .type = WIRE_SESSION,
        .session = PAIR_SESSION,
        .packet_number = end->session->send.next_packet++,
        .ack = 1,
    };
}
