/* Goal: the protocol's bytes never change unnoticed, and are those of PROTOCOL.md.
 * Method: a session from JOIN to CLOSE, built here and compared byte by byte with
 * tests/golden/native/packets.hex, which tests/golden/native/check_protocol.py decodes from the
 * document alone. Sealing is done here with OpenSSL and nothing of net/session.
 * EAGRE_GOLDEN_WRITE=1 writes the file instead. */
#include "wire_seeded.h"

#include "engine/base/hash.h"
#include "net/wire/wire_control.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_ID 0x00e29600u
#define PATH GOLDEN_DIR "/packets.hex"

static const struct wire_grant grant = {
    .session = SESSION_ID,
    .epoch = 7,
    .auth = WIRE_AUTH_AEAD,
    .window = 256,
    .datagram_bytes_max = 1400,
    .idle_ms = 10000,
    .broker_id = 1,
    .client_key = {0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .server_key = {0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .client_salt = {0xc1, 0xc2, 0xc3, 0xc4},
    .server_salt = {0x51, 0x52, 0x53, 0x54},
    .port_count = 2,
    .ports = {9095, 9096},
};

static const struct wire_partition partition = {0x1122334455667788, 3, 1};

/* One record "eagre" without a key, producer 4711, epoch 0, sequence 0, no codec. */
static const uint8_t batch[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3d, 0xff, 0xff, 0xff,
    0xff, 0x02, 0xf7, 0xa1, 0x65, 0x3a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
    0x8b, 0xcf, 0xe5, 0x68, 0x00, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x12, 0x67, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x16, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x65, 0x61, 0x67, 0x72, 0x65, 0x00};

/* ---- the file ---- */

static FILE *golden;
static bool is_writing;

static void
golden_open(void)
{
    is_writing = getenv("EAGRE_GOLDEN_WRITE") != NULL;
    golden = fopen(PATH, is_writing ? "w" : "r");
    cr_assert_not_null(golden, "%s", PATH);
    if (is_writing)
        fprintf(golden,
                "# One message of the native protocol a line: name, hex. Written and compared by\n"
                "# tests/unit/net/wire/test_wire_golden.c, decoded by check_protocol.py.\n");
}

static void
golden_line(const char *name, const uint8_t *at, uint32_t count)
{
    static char line[8192];
    static char wanted[8192];
    int used = snprintf(line, sizeof(line), "%s ", name);

    for (uint32_t i = 0; i < count; i++)
        used += snprintf(line + used, sizeof(line) - (size_t)used, "%02x", at[i]);
    if (is_writing) {
        fprintf(golden, "%s\n", line);
        return;
    }
    do
        cr_assert_not_null(fgets(wanted, sizeof(wanted), golden), "%s is missing", name);
    while (wanted[0] == '#');
    wanted[strcspn(wanted, "\n")] = 0;
    cr_assert_str_eq(line, wanted);
}

/* ---- packets ---- */

static uint8_t packet[1400];
static uint32_t packet_count;

static void
begin(uint8_t type, uint8_t flags, uint64_t packet_number, uint64_t sequence)
{
    struct wire_header header = {.type = type,
                                 .flags = flags,
                                 .session = SESSION_ID,
                                 .packet_number = packet_number,
                                 .ack = 1,
                                 .sequence = sequence};

    memset(packet, 0, sizeof(packet));
    wire_header_encode(&header, packet);
    packet_count = wire_clear_bytes(type, flags);
}

static void
add_bytes(const void *at, size_t count)
{
    memcpy(packet + packet_count, at, count);
    packet_count += (uint32_t)count;
}

static void
check_header(void)
{
    struct wire_header header;
    struct bytes frames;

    cr_assert_eq(wire_header_decode(packet, packet_count, &header, &frames), RC_OK);
}

static void
end_plain(const char *name)
{
    put_u16_le(packet + 2, (uint16_t)(packet_count + WIRE_CRC_BYTES));
    put_u32_le(packet + packet_count, hash_crc32c(0, packet, packet_count));
    packet_count += WIRE_CRC_BYTES;
    check_header();
    golden_line(name, packet, packet_count);
}

static void
gcm(const uint8_t *key, const uint8_t *salt, uint64_t number, struct bytes aad, struct bytes text)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    uint8_t *to = (uint8_t *)(uintptr_t)text.at;
    uint8_t iv[12];
    int count;

    memcpy(iv, salt, 4);
    put_u64_le(iv + 4, number);
    cr_assert(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, iv) == 1);
    if (aad.count > 0)
        cr_assert(EVP_EncryptUpdate(context, NULL, &count, aad.at, (int)aad.count) == 1);
    cr_assert(EVP_EncryptUpdate(context, to, &count, text.at, (int)text.count) == 1);
    cr_assert(EVP_EncryptFinal_ex(context, to + text.count, &count) == 1);
    cr_assert(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, to + text.count) == 1);
    EVP_CIPHER_CTX_free(context);
}

static void
end_sealed(const char *name, bool by_client, const uint8_t *key)
{
    uint32_t clear = wire_clear_bytes(packet[0] & 15, packet[1]);
    struct bytes aad = {packet, clear};
    struct bytes text = {packet + clear, packet_count - clear};

    put_u16_le(packet + 2, (uint16_t)(packet_count + WIRE_TAG_BYTES));
    gcm(key, by_client ? grant.client_salt : grant.server_salt, get_u64_le(packet + 8), aad, text);
    packet_count += WIRE_TAG_BYTES;
    check_header();
    golden_line(name, packet, packet_count);
}

/* ---- the session ---- */

static struct bytes
text(const char *of)
{
    return (struct bytes){(const uint8_t *)of, strlen(of)};
}

static void
write_control(void)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = {.version = WIRE_VERSION,
                             .tile = WIRE_TILE_ANY,
                             .datagram_bytes_max = 1400,
                             .user = text("tide"),
                             .secret = text("bore"),
                             .client = text("example")};
    struct wire_refused refused = {58, text("user or secret is wrong")};

    golden_line("control-join", message, wire_join_encode(message, &join));
    golden_line("control-grant", message, wire_grant_encode(message, &grant));
    golden_line("control-refused", message, wire_refused_encode(message, &refused));
    golden_line("control-leave", message, wire_leave_encode(message));
}

static void
add_hello_body(const uint8_t *cookie)
{
    uint32_t left = WIRE_HELLO_BYTES - WIRE_TAG_BYTES - packet_count;

    memcpy(packet + WIRE_HEADER_BYTES, cookie, WIRE_COOKIE_BYTES);
    wire_frame_header(packet + packet_count, WIRE_FRAME_PADDING, 0, (uint16_t)(left - 4));
    packet_count += left;
}

static void
write_handshake(void)
{
    uint8_t cookie[WIRE_COOKIE_BYTES] = {0};
    struct wire_header retry = {
        .type = WIRE_RETRY, .length = WIRE_RETRY_BYTES, .session = SESSION_ID};
    struct wire_ack ack = {.largest_packet = 2, .credit = 257};

    begin(WIRE_HELLO, 0, 1, 0);
    add_hello_body(cookie);
    end_sealed("hello-first", true, grant.client_key);
    for (uint32_t i = 0; i < sizeof(cookie); i++)
        cookie[i] = (uint8_t)(0xa0 + i);
    wire_header_encode(&retry, packet);
    memcpy(packet + WIRE_HEADER_BYTES, cookie, sizeof(cookie));
    golden_line("retry", packet, WIRE_RETRY_BYTES);
    begin(WIRE_HELLO, 0, 2, 0);
    add_hello_body(cookie);
    end_sealed("hello-cookie", true, grant.client_key);
    begin(WIRE_READY, 0, 1, 0);
    packet_count += wire_ack_encode(packet + packet_count, &ack);
    end_sealed("ready", false, grant.server_key);
}

static void
write_batch(void)
{
    struct wire_data data = {.request = 9, .partition = partition, .batch = {batch, sizeof(batch)}};
    struct wire_commit commit = {9, 0, WIRE_COMMIT_DURABLE, 41};
    struct wire_ack ack = {.largest_packet = 3, .delay_us = 80, .credit = 258};
    struct wire_ping ping = {0x0123456789abcdef};
    uint8_t next_key[32] = {0};

    begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED, 3, 1);
    packet_count += wire_data_encode_head(packet + packet_count, &data);
    add_bytes(batch, sizeof(batch));
    end_sealed("data", true, grant.client_key);
    begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED, 2, 1);
    put_u64_le(packet + 16, 2);
    packet_count += wire_ack_encode(packet + packet_count, &ack);
    packet_count += wire_commit_encode(packet + packet_count, 0, &commit);
    end_sealed("commit", false, grant.server_key);
    /* The client's second key. */
    gcm(grant.client_key,
        grant.client_salt,
        UINT64_MAX,
        (struct bytes){0},
        (struct bytes){next_key, 16});
    begin(WIRE_SESSION, WIRE_FLAG_KEY_PHASE, 4, 0);
    packet_count += wire_ping_encode(packet + packet_count, &ping, 0);
    end_sealed("ping-next-key", true, next_key);
}

/* ---- every frame, in packets with a CRC ---- */

static void
write_plain_data(void)
{
    struct wire_data data = {.request = 9, .partition = partition, .batch = {batch, sizeof(batch)}};

    begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN, 3, 1);
    packet_count += wire_data_encode_head(packet + packet_count, &data);
    add_bytes(batch, sizeof(batch));
    end_plain("plain-data");
    for (uint16_t i = 0; i < 2; i++) {
        size_t from = i == 0 ? 0 : 40;
        size_t bytes = i == 0 ? 40 : sizeof(batch) - 40;
        struct wire_data_frag frag = {10, partition, {sizeof(batch), i, 2, {batch + from, bytes}}};
        begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN, 4u + i, 2u + i);
        packet_count += wire_data_frag_encode_head(packet + packet_count, &frag);
        add_bytes(batch + from, bytes);
        end_plain(i == 0 ? "plain-data-frag-0" : "plain-data-frag-1");
    }
}

static void
write_plain_client(void)
{
    struct wire_ping ping = {1};
    struct wire_resolve resolve = {11, 2, text("orders")};
    struct wire_fetch fetch = {12, partition, 41, 65536};
    struct wire_subscribe subscribe = {13, partition, 42, 1000000};
    struct wire_credit credit = {13, 2000000};
    struct wire_call call = {.request = 14, .piece = {4, 0, 1, text("call")}};

    begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN, 6, 4);
    wire_frame_header(packet + packet_count, WIRE_FRAME_PADDING, 0, 3);
    packet_count += WIRE_FRAME_HEADER_BYTES + 3;
    packet_count += wire_ping_encode(packet + packet_count, &ping, 0);
    packet_count += wire_resolve_encode(packet + packet_count, &resolve);
    packet_count += wire_fetch_encode(packet + packet_count, &fetch);
    packet_count += wire_subscribe_encode(packet + packet_count, &subscribe);
    packet_count += wire_credit_encode(packet + packet_count, &credit, WIRE_CREDIT_END);
    packet_count += wire_call_encode_head(packet + packet_count, WIRE_FRAME_CALL, &call);
    add_bytes("call", 4);
    end_plain("plain-client");
}

static void
write_plain_server(void)
{
    struct wire_ack ack = {8, 1000, 300, {5, 0, UINT64_C(1) << 63, 0}};
    struct wire_ping ping = {1};
    struct wire_commit refused = {10, 87, 0, UINT64_MAX};
    struct wire_commit again = {9, 0, WIRE_COMMIT_DURABLE | WIRE_COMMIT_DUPLICATE, 41};
    struct wire_resolved resolved = {.request = 11,
                                     .topic_id = {0xaa, 0xbb},
                                     .partition_count = 4,
                                     .batch_bytes_max = 1048576,
                                     .is_durable = true,
                                     .partition_first = 2,
                                     .entry_count = 2};
    struct wire_fetched fetched = {12, 0, 42, 10, {sizeof(batch), 0, 1, {batch, sizeof(batch)}}};
    struct wire_fetched over = {.request = 13, .status = 1, .piece = {.count = 1}};
    struct wire_call answer = {.request = 14, .piece = {6, 0, 1, text("answer")}};

    begin(WIRE_SESSION, WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN, 5, 3);
    put_u64_le(packet + 16, 2);
    packet_count += wire_ack_encode(packet + packet_count, &ack);
    packet_count += wire_ping_encode(packet + packet_count, &ping, WIRE_PING_REPLY);
    (void)wire_commit_encode(packet + packet_count, 0, &refused);
    packet_count += wire_commit_encode(packet + packet_count, 1, &again);
    packet_count += wire_resolved_encode_head(packet + packet_count, &resolved);
    wire_partition_encode(packet + packet_count, &partition);
    wire_partition_encode(packet + packet_count + 16, &(struct wire_partition){1, 2, 3});
    packet_count += 2 * WIRE_PARTITION_BYTES;
    packet_count += wire_fetched_encode_head(packet + packet_count, &fetched, 0);
    add_bytes(batch, sizeof(batch));
    packet_count += wire_fetched_encode_head(
        packet + packet_count, &over, WIRE_FETCHED_SUBSCRIPTION);
    packet_count += wire_call_encode_head(packet + packet_count, WIRE_FRAME_ANSWER, &answer);
    add_bytes("answer", 6);
    end_plain("plain-server");

    struct wire_close close = {WIRE_CLOSE_SHUTDOWN, text("the server stops")};
    begin(WIRE_SESSION, WIRE_FLAG_PLAIN, 6, 0);
    packet_count += wire_close_encode(packet + packet_count, &close);
    end_plain("plain-close");
}

Test(wire_golden, has_not_changed, .timeout = 10)
{
    golden_open();
    write_control();
    write_handshake();
    write_batch();
    write_plain_data();
    write_plain_client();
    write_plain_server();
    fclose(golden);
}
