#include "net/wire/wire_control.h"

#include "engine/base/check.h"

#define LENGTH_BYTES 4u

_Static_assert(WIRE_CONTROL_PREFIX_BYTES == LENGTH_BYTES + 2, "length, type, zero");
_Static_assert(WIRE_CONTROL_PREFIX_BYTES + WIRE_JOIN_HEAD_BYTES + 3 * 2 + WIRE_USER_MAX +
                       WIRE_SECRET_MAX + WIRE_CONTROL_TEXT_MAX <=
                   WIRE_CONTROL_BYTES_MAX,
               "the longest JOIN fits");
_Static_assert(WIRE_GRANT_HEAD_BYTES == 28 + 2 * WIRE_KEY_BYTES + 2 * WIRE_SALT_BYTES + 16 + 2,
               "PROTOCOL.md section 7");

enum rc
wire_control_next(const uint8_t *at,
                  uint32_t count,
                  uint8_t *ret_type,
                  struct bytes *ret_body,
                  uint32_t *ret_bytes)
{
    if (count < LENGTH_BYTES)
        return RC_AGAIN;
    /* A length that is out of range is told at once, before anybody waits for its bytes. */
    uint32_t length = get_u32_le(at);
    if (length < 2 || length > WIRE_CONTROL_BYTES_MAX - LENGTH_BYTES)
        return RC_MALFORMED;
    if (count < WIRE_CONTROL_PREFIX_BYTES)
        return RC_AGAIN;
    if (at[4] < WIRE_CONTROL_JOIN || at[4] > WIRE_CONTROL_LEAVE || at[5] != 0)
        return RC_MALFORMED;
    if (count - LENGTH_BYTES < length)
        return RC_AGAIN;
    *ret_type = at[4];
    *ret_body = (struct bytes){at + WIRE_CONTROL_PREFIX_BYTES, length - 2};
    *ret_bytes = LENGTH_BYTES + length;
    return RC_OK;
}

/* Starts a message; control_end() writes its length. */
static struct writer
control_begin(uint8_t *to, uint8_t type)
{
    struct writer writer = writer_over(to, WIRE_CONTROL_BYTES_MAX);

    writer_u32_le(&writer, 0);
    writer_u8(&writer, type);
    writer_u8(&writer, 0);
    return writer;
}

static uint32_t
control_end(const struct writer *writer)
{
    CHECK(!writer->failed);
    uint32_t bytes = (uint32_t)writer_count(writer);

    put_u32_le(writer->begin, bytes - LENGTH_BYTES);
    return bytes;
}

/* ---- JOIN ---- */

/* A u16 length and so many bytes; longer than max fails the reader. */
static struct bytes
text_read(struct reader *reader, size_t max)
{
    size_t count = reader_u16_le(reader);

    if (count > max)
        reader->failed = true;
    const uint8_t *at = reader_take(reader, count);
    return (struct bytes){at, at == NULL ? 0 : count};
}

static void
text_write(struct writer *writer, struct bytes text, size_t max)
{
    CHECK(text.count <= max);
    writer_u16_le(writer, (uint16_t)text.count);
    writer_bytes(writer, text.at, text.count);
}

static bool
datagram_bytes_are_good(uint32_t bytes)
{
    return bytes >= WIRE_HELLO_BYTES && bytes <= WIRE_DATAGRAM_BYTES_MAX;
}

enum rc
wire_join_decode(struct bytes body, struct wire_join *ret)
{
    struct reader reader = reader_over(body.at, body.count);
    struct wire_join join = {.version = reader_u16_le(&reader)};

    if (reader.failed)
        return RC_MALFORMED;
    /* What another version says behind its number is not ours to judge. */
    if (join.version != WIRE_VERSION)
        return RC_UNSUPPORTED;
    join.auth = reader_u8(&reader);
    join.tile = reader_u8(&reader);
    join.datagram_bytes_max = reader_u32_le(&reader);
    join.user = text_read(&reader, WIRE_USER_MAX);
    join.secret = text_read(&reader, WIRE_SECRET_MAX);
    join.client = text_read(&reader, WIRE_CONTROL_TEXT_MAX);
    bool in_range = join.auth <= WIRE_AUTH_NONE &&
                    (join.tile < WIRE_TILES_MAX || join.tile == WIRE_TILE_ANY) &&
                    datagram_bytes_are_good(join.datagram_bytes_max);
    if (reader.failed || reader_left(&reader) != 0 || !in_range)
        return RC_MALFORMED;
    *ret = join;
    return RC_OK;
}

uint32_t
wire_join_encode(uint8_t *to, const struct wire_join *join)
{
    struct writer writer = control_begin(to, WIRE_CONTROL_JOIN);

    writer_u16_le(&writer, join->version);
    writer_u8(&writer, join->auth);
    writer_u8(&writer, join->tile);
    writer_u32_le(&writer, join->datagram_bytes_max);
    text_write(&writer, join->user, WIRE_USER_MAX);
    text_write(&writer, join->secret, WIRE_SECRET_MAX);
    text_write(&writer,
               (struct bytes){join->client.at, min_u64(join->client.count, WIRE_CONTROL_TEXT_MAX)},
               WIRE_CONTROL_TEXT_MAX);
    return control_end(&writer);
}

/* ---- GRANT ---- */

static bool
grant_is_good(const struct wire_grant *grant)
{
    bool is_good = grant->auth <= WIRE_AUTH_NONE;

    is_good = is_good && grant->port_count >= 1 && grant->port_count <= WIRE_TILES_MAX;
    is_good = is_good && grant->tile < grant->port_count && (grant->session & 0xff) == grant->tile;
    is_good = is_good && grant->window >= 1 && grant->window <= WIRE_SACK_BITS;
    is_good = is_good && datagram_bytes_are_good(grant->datagram_bytes_max) && grant->idle_ms >= 1;
    for (uint32_t i = 0; is_good && i < grant->port_count; i++)
        is_good = grant->ports[i] != 0;
    return is_good;
}

enum rc
wire_grant_decode(struct bytes body, struct wire_grant *ret)
{
    const uint8_t *at = body.at;

    if (body.count < WIRE_GRANT_HEAD_BYTES)
        return RC_MALFORMED;
    struct wire_grant grant = {
        .session = get_u32_le(at),
        .epoch = get_u32_le(at + 4),
        .auth = at[8],
        .tile = at[9],
        .window = get_u16_le(at + 10),
        .datagram_bytes_max = get_u32_le(at + 12),
        .idle_ms = get_u32_le(at + 16),
        .broker_id = get_u64_le(at + 20),
        .port_count = at[84],
    };
    __builtin_memcpy(grant.client_key, at + 28, WIRE_KEY_BYTES);
    __builtin_memcpy(grant.server_key, at + 44, WIRE_KEY_BYTES);
    __builtin_memcpy(grant.client_salt, at + 60, WIRE_SALT_BYTES);
    __builtin_memcpy(grant.server_salt, at + 64, WIRE_SALT_BYTES);
    __builtin_memcpy(grant.ip, at + 68, sizeof(grant.ip));
    if (at[85] != 0 || grant.port_count > WIRE_TILES_MAX ||
        body.count != WIRE_GRANT_HEAD_BYTES + 2u * grant.port_count)
        return RC_MALFORMED;
    for (uint32_t i = 0; i < grant.port_count; i++)
        grant.ports[i] = get_u16_le(at + WIRE_GRANT_HEAD_BYTES + (size_t)2 * i);
    if (!grant_is_good(&grant))
        return RC_MALFORMED;
    *ret = grant;
    return RC_OK;
}

uint32_t
wire_grant_encode(uint8_t *to, const struct wire_grant *grant)
{
    struct writer writer = control_begin(to, WIRE_CONTROL_GRANT);

    CHECK(grant_is_good(grant));
    writer_u32_le(&writer, grant->session);
    writer_u32_le(&writer, grant->epoch);
    writer_u8(&writer, grant->auth);
    writer_u8(&writer, grant->tile);
    writer_u16_le(&writer, grant->window);
    writer_u32_le(&writer, grant->datagram_bytes_max);
    writer_u32_le(&writer, grant->idle_ms);
    writer_u64_le(&writer, grant->broker_id);
    writer_bytes(&writer, grant->client_key, WIRE_KEY_BYTES);
    writer_bytes(&writer, grant->server_key, WIRE_KEY_BYTES);
    writer_bytes(&writer, grant->client_salt, WIRE_SALT_BYTES);
    writer_bytes(&writer, grant->server_salt, WIRE_SALT_BYTES);
    writer_bytes(&writer, grant->ip, sizeof(grant->ip));
    writer_u8(&writer, grant->port_count);
    writer_u8(&writer, 0);
    for (uint32_t i = 0; i < grant->port_count; i++)
        writer_u16_le(&writer, grant->ports[i]);
    return control_end(&writer);
}

/* ---- REFUSED, LEAVE ---- */

enum rc
wire_refused_decode(struct bytes body, struct wire_refused *ret)
{
    if (body.count < 2 || body.count > 2 + WIRE_CONTROL_TEXT_MAX || get_u16_le(body.at) == 0)
        return RC_MALFORMED;
    ret->code = get_u16_le(body.at);
    ret->text = (struct bytes){body.at + 2, body.count - 2};
    return RC_OK;
}

uint32_t
wire_refused_encode(uint8_t *to, const struct wire_refused *refused)
{
    struct writer writer = control_begin(to, WIRE_CONTROL_REFUSED);

    CHECK(refused->code != 0);
    writer_u16_le(&writer, refused->code);
    writer_bytes(&writer, refused->text.at, min_u64(refused->text.count, WIRE_CONTROL_TEXT_MAX));
    return control_end(&writer);
}

uint32_t
wire_leave_encode(uint8_t *to)
{
    struct writer writer = control_begin(to, WIRE_CONTROL_LEAVE);

    return control_end(&writer);
}
