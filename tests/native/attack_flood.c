/* The host that does not behave: many datagrams at a steady rate, from one socket, of one kind.
 *
 *   attack_flood --port P --kind unknown|tag|hello|random --session ID --rate R --seconds S
 *
 * unknown: frames of sessions that nobody has; tag: of the session ID, with a tag that is wrong;
 * hello: HELLOs of the session ID without a cookie; random: arbitrary bytes. Prints "sent N
 * datagrams B bytes received M datagrams C bytes longest L" at the end. --source 127.0.0.x binds
 * another loopback address; --spoof PORT writes the headers itself, so that datagrams seem to come
 * from that port (needs CAP_NET_RAW; exit status 77 without). */
#include "engine/base/bytes.h"
#include "hw/clock/clock.h"
#include "net/wire/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BURST 32u
#define FRAME_BYTES 1200u
#define HEADER_BYTES 28u /* IPv4 and UDP, of a spoofed datagram */
#define SKIPPED 77

struct flood {
    uint16_t port;
    uint16_t spoof; /* 0: not */
    const char *kind;
    const char *source;
    uint32_t session;
    uint32_t rate;
    uint32_t seconds;
    int fd;
    uint64_t packet_number;
    uint64_t sent;
    uint64_t sent_bytes;
    uint64_t received;
    uint64_t received_bytes;
    uint64_t longest;
    uint8_t datagrams[BURST][HEADER_BYTES + FRAME_BYTES];
};

static struct flood flood;
static struct clock wall;

static uint32_t
make(uint8_t *at)
{
    bool hello = strcmp(flood.kind, "hello") == 0;
    uint32_t bytes = hello ? WIRE_HELLO_BYTES : 256;
    struct wire_header header = {
        .type = hello ? WIRE_HELLO : WIRE_SESSION,
        .length = (uint16_t)bytes,
        .session = flood.session,
        /* New to any session, so that the tag is what tells. */
        .packet_number = (UINT64_C(1) << 40) + ++flood.packet_number,
    };

    for (uint32_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t noise = clock_random(&wall);
        memcpy(at + i, &noise, sizeof(noise));
    }
    if (strcmp(flood.kind, "random") == 0)
        return 1 + (uint32_t)clock_random_below(&wall, bytes);
    if (strcmp(flood.kind, "unknown") == 0)
        header.session = ((uint32_t)clock_random(&wall) & ~UINT32_C(0xff)) | (flood.session & 0xff);
    if (hello)
        memset(at + WIRE_HEADER_BYTES, 0, WIRE_COOKIE_BYTES);
    wire_header_encode(&header, at);
    return bytes;
}

/* IPv4 (RFC 791) and UDP (RFC 768) headers; the kernel fills in length, checksum and identification
 * of the first, and a UDP checksum of 0 means none. */
static void
make_headers(uint8_t *at, uint32_t payload_bytes)
{
    memset(at, 0, HEADER_BYTES);
    at[0] = 0x45;
    at[8] = 64; /* time to live */
    at[9] = IPPROTO_UDP;
    put_u32_be(at + 12, INADDR_LOOPBACK);
    put_u32_be(at + 16, INADDR_LOOPBACK);
    put_u16_be(at + 20, flood.spoof);
    put_u16_be(at + 22, flood.port);
    put_u16_be(at + 24, (uint16_t)(8 + payload_bytes));
}

static struct iovec
make_part(uint8_t *at)
{
    if (flood.spoof == 0)
        return (struct iovec){at, make(at)};
    uint32_t bytes = make(at + HEADER_BYTES);
    make_headers(at, bytes);
    return (struct iovec){at, HEADER_BYTES + bytes};
}

static void
send_burst(void)
{
    struct mmsghdr messages[BURST] = {0};
    struct iovec parts[BURST];

    for (uint32_t i = 0; i < BURST; i++) {
        parts[i] = make_part(flood.datagrams[i]);
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = sendmmsg(flood.fd, messages, BURST, 0);
    for (int i = 0; i < count; i++) {
        flood.sent++;
        flood.sent_bytes += parts[i].iov_len;
    }
}

static void
receive_all(void)
{
    uint8_t datagram[65536];
    ssize_t count;

    while ((count = recv(flood.fd, datagram, sizeof(datagram), MSG_DONTWAIT)) >= 0) {
        flood.received++;
        flood.received_bytes += (uint64_t)count;
        flood.longest = max_u64(flood.longest, (uint64_t)count);
    }
}

static void
read_options(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long number = strtoul(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--port") == 0)
            flood.port = (uint16_t)number;
        else if (strcmp(argv[i], "--spoof") == 0)
            flood.spoof = (uint16_t)number;
        else if (strcmp(argv[i], "--kind") == 0)
            flood.kind = argv[i + 1];
        else if (strcmp(argv[i], "--source") == 0)
            flood.source = argv[i + 1];
        else if (strcmp(argv[i], "--session") == 0)
            flood.session = (uint32_t)number;
        else if (strcmp(argv[i], "--rate") == 0)
            flood.rate = (uint32_t)number;
        else if (strcmp(argv[i], "--seconds") == 0)
            flood.seconds = (uint32_t)number;
    }
}

static void
open_socket(void)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(flood.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    flood.fd = flood.spoof != 0 ? socket(AF_INET, SOCK_RAW, IPPROTO_RAW)
                                : socket(AF_INET, SOCK_DGRAM, 0);
    if (flood.fd < 0 && flood.spoof != 0 && errno == EPERM)
        exit(SKIPPED);
    if (flood.fd < 0 || inet_pton(AF_INET, flood.source, &own.sin_addr) != 1 ||
        bind(flood.fd, (struct sockaddr *)&own, sizeof(own)) != 0 ||
        connect(flood.fd, (struct sockaddr *)&server, sizeof(server)) != 0) {
        perror("attack_flood");
        exit(1);
    }
}

int
main(int argc, char **argv)
{
    flood = (struct flood){.kind = "unknown", .source = "127.0.0.1", .rate = 1000, .seconds = 1};
    read_options(argc, argv);
    clock_init_real(&wall);
    open_socket();
    uint64_t begin_ns = clock_now_ns(&wall);
    uint64_t end_ns = begin_ns + flood.seconds * NS_PER_S;
    for (uint64_t bursts = 0; clock_now_ns(&wall) < end_ns; bursts++) {
        send_burst();
        receive_all();
        uint64_t due_ns = begin_ns + (bursts + 1) * BURST * NS_PER_S / flood.rate;
        uint64_t now_ns = clock_now_ns(&wall);
        struct timespec wait = {0,
                                due_ns > now_ns ? (long)min_u64(due_ns - now_ns, NS_PER_S - 1) : 0};
        (void)ppoll(NULL, 0, &wait, NULL);
    }
    struct pollfd last = {flood.fd, POLLIN, 0};
    while (poll(&last, 1, 200) > 0)
        receive_all();
    printf("sent %lu datagrams %lu bytes received %lu datagrams %lu bytes longest %lu\n",
           (unsigned long)flood.sent,
           (unsigned long)flood.sent_bytes,
           (unsigned long)flood.received,
           (unsigned long)flood.received_bytes,
           (unsigned long)flood.longest);
    return 0;
}
