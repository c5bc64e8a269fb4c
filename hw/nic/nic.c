/* Addresses of peers: compare, print, parse, classify. */
#include "hw/nic/nic.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2. */
static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool
address_is_ipv4(const struct nic_address *address)
{
    return memcmp(address->ip, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

bool
nic_address_equal(const struct nic_address *a, const struct nic_address *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

void
nic_address_text(const struct nic_address *address, char *text, size_t capacity)
{
    char ip[INET6_ADDRSTRLEN] = "?";

    CHECK(capacity > 0);
    if (address_is_ipv4(address)) {
        (void)inet_ntop(AF_INET, address->ip + 12, ip, sizeof(ip));
        (void)snprintf(text, capacity, "%s:%u", ip, address->port);
    } else {
        (void)inet_ntop(AF_INET6, address->ip, ip, sizeof(ip));
        (void)snprintf(text, capacity, "[%s]:%u", ip, address->port);
    }
}

enum rc
nic_address_parse(const char *host,
                  uint16_t port,
                  struct nic_address *ret_address,
                  struct diag_trail *trail)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    struct nic_address address = {.port = port};

    if (host == NULL || host[0] == '\0') {
        diag_trail_add(trail, "no address given");
        return RC_INVALID;
    }
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0) {
        diag_trail_add(trail, "%s: %s", host, gai_strerror(error));
        return error == EAI_AGAIN ? RC_AGAIN : RC_NOT_FOUND;
    }
    enum rc rc = RC_OK;
    if (found->ai_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const void *)found->ai_addr;

        bytes_copy(address.ip, sizeof(address.ip), mapped_prefix, sizeof(mapped_prefix));
        bytes_copy(address.ip + 12, 4, &ipv4->sin_addr, sizeof(ipv4->sin_addr));
    } else if (found->ai_family == AF_INET6) {
        const struct sockaddr_in6 *ipv6 = (const void *)found->ai_addr;

        bytes_copy(address.ip, sizeof(address.ip), &ipv6->sin6_addr, sizeof(ipv6->sin6_addr));
    } else {
        diag_trail_add(trail, "%s: neither an IPv4 nor an IPv6 address", host);
        rc = RC_UNSUPPORTED;
    }
    freeaddrinfo(found);
    if (rc == RC_OK)
        *ret_address = address;
    return rc;
}

bool
nic_address_is_loopback(const struct nic_address *address)
{
    static const uint8_t one[16] = {[15] = 1};

    if (address_is_ipv4(address))
        return address->ip[12] == 127;
    return memcmp(address->ip, one, sizeof(one)) == 0;
}

bool
nic_address_is_private(const struct nic_address *address)
{
    const uint8_t *ip = address->ip;

    if (nic_address_is_loopback(address))
        return true;
    if (!address_is_ipv4(address)) {
        bool unique_local = (ip[0] & 0xfe) == 0xfc;                /* fc00::/7, RFC 4193 */
        bool link_local = ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80; /* fe80::/10 */

        return unique_local || link_local;
    }
    bool ten = ip[12] == 10; /* RFC 1918 */
    bool seventeen = ip[12] == 172 && (ip[13] & 0xf0) == 16;
    bool nineteen = ip[12] == 192 && ip[13] == 168;
    bool link_local = ip[12] == 169 && ip[13] == 254; /* RFC 3927 */

    return ten || seventeen || nineteen || link_local;
}
