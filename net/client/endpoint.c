#include "net/client/endpoint.h"

#include "engine/base/bytes.h"
#include "net/client/client_parts.h"

static bool
endpoint_port(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

int
client__endpoint_split(const char *text, uint16_t port_preset, char *host, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    const char *bracket = strrchr(text, ']');
    const char *begin = text;
    size_t count = strlen(text);
    uint16_t port = port_preset;

    if (colon != NULL && strchr(text, ':') != colon && text[0] != '[')
        colon = NULL; /* a bare IPv6 address */
    if (bracket != NULL && colon != NULL && colon < bracket)
        colon = NULL;
    if (colon != NULL) {
        if (!endpoint_port(colon + 1, &port))
            return EAGRE_INVALID;
        count = (size_t)(colon - text);
    }
    if (text[0] == '[') {
        if (count < 2 || text[count - 1] != ']')
            return EAGRE_INVALID;
        begin++;
        count -= 2;
    }
    if (count == 0 || count >= ENDPOINT_HOST_MAX)
        return EAGRE_INVALID;
    bytes_copy(host, ENDPOINT_HOST_MAX, begin, count);
    host[count] = '\0';
    *ret_port = port;
    return EAGRE_OK;
}

int
client__endpoint_parse(const char *text,
                       uint16_t port_preset,
                       struct nic_address *ret_address,
                       char *why,
                       size_t why_capacity)
{
    char host[ENDPOINT_HOST_MAX];
    uint16_t port;
    struct diag_trail trail = {0};

    if (client__endpoint_split(text, port_preset, host, &port) != EAGRE_OK) {
        client_text(why, why_capacity, "%s: must be HOST:PORT", text);
        return EAGRE_INVALID;
    }
    if (nic_address_parse(host, port, ret_address, &trail) != RC_OK) {
        client_text(why, why_capacity, "%s: %s", text, trail.text);
        return EAGRE_UNREACHABLE;
    }
    return EAGRE_OK;
}
