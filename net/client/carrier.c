#include "net/client/carrier.h"

#include "hw/nic/nic_socket.h"
#include "net/client/client_parts.h"
#include "net/client/endpoint.h"

#include <dlfcn.h>
#include <stdio.h>

static carrier_open_function *carrier_dpdk;

void
client__carrier_dpdk_set(carrier_open_function *open_function)
{
    carrier_dpdk = open_function;
}

static int
carrier_rc(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return EAGRE_OK;
    case RC_INVALID:
        return EAGRE_INVALID;
    case RC_DENIED:
        return EAGRE_DENIED;
    case RC_NO_MEMORY:
        return EAGRE_NO_MEMORY;
    default:
        return EAGRE_UNSUPPORTED;
    }
}

static int
carrier_open_socket(struct eagre_client *client,
                    const struct nic_address *local,
                    char *why,
                    size_t why_capacity)
{
    struct nic_socket_config socket_config = {
        .local = *local, .datagram_bytes_max = client->config.datagram_bytes_max};
    struct diag_trail trail = {0};
    enum rc rc = nic_socket_open(&socket_config, &client->nic, &trail);

    if (rc != RC_OK) {
        client_text(why, why_capacity, "socket: %s", trail.text);
        return carrier_rc(rc);
    }
    snprintf(client->carrier_text, sizeof(client->carrier_text), "socket: UDP of the kernel");
    return EAGRE_OK;
}

static carrier_open_function *
carrier_load(struct eagre_client *client, char *why, size_t why_capacity)
{
    carrier_open_function *function = NULL;

    if (carrier_dpdk != NULL)
        return carrier_dpdk;
    client->carrier_library = dlopen(CARRIER_DPDK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *symbol = client->carrier_library != NULL
                       ? dlsym(client->carrier_library, CARRIER_DPDK_SYMBOL)
                       : NULL;
    if (symbol == NULL) {
        client_text(why, why_capacity, "%s", dlerror());
        return NULL;
    }
    _Static_assert(sizeof(function) == sizeof(symbol), "POSIX: dlsym gives functions too");
    bytes_copy(&function, sizeof(function), &symbol, sizeof(symbol));
    return function;
}

static int
carrier_open_dpdk(struct eagre_client *client,
                  const struct nic_address *local,
                  char *why,
                  size_t why_capacity)
{
    struct carrier_request request = {
        .request_bytes = sizeof(struct carrier_request),
        .nic_bytes = sizeof(struct nic),
        .config = &client->config,
        .local = *local,
        .peer = client->data,
    };
    carrier_open_function *function = carrier_load(client, why, why_capacity);

    if (function == NULL)
        return EAGRE_UNSUPPORTED;
    int rc = function(&request, &client->nic, client->carrier_text, sizeof(client->carrier_text));
    if (rc != EAGRE_OK)
        client_text(why, why_capacity, "%s", client->carrier_text);
    return rc;
}

int
client__carrier_open(struct eagre_client *client, char *why, size_t why_capacity)
{
    const struct eagre_config *config = &client->config;
    bool is_dpdk = config->carrier == EAGRE_CARRIER_DPDK;
    struct nic_address local = {.port = 0};

    if (is_dpdk && (config->local_address[0] == '\0' || config->data_address[0] == '\0' ||
                    config->dpdk_devargs[0] == '\0')) {
        client_text(why, why_capacity, "dpdk needs dpdk_devargs, local_address and data_address");
        return EAGRE_INVALID;
    }
    int rc = EAGRE_OK;
    if (config->local_address[0] != '\0')
        rc = client__endpoint_parse(config->local_address, 0, &local, why, why_capacity);
    if (rc == EAGRE_OK && config->data_address[0] != '\0')
        rc = client__endpoint_parse(
            config->data_address, client->server.port, &client->data, why, why_capacity);
    if (rc != EAGRE_OK)
        return rc;
    if (is_dpdk && local.port == 0)
        local.port = (uint16_t)(49152 + clock_random_below(&client->clock, 16384));
    return is_dpdk ? carrier_open_dpdk(client, &local, why, why_capacity)
                   : carrier_open_socket(client, &local, why, why_capacity);
}

bool
client__carrier_is_polled(const struct eagre_client *client)
{
    return client->config.carrier == EAGRE_CARRIER_DPDK;
}

bool
client__carrier_renew(struct eagre_client *client)
{
    char why[CLIENT_WHY_BYTES] = "";

    if (!client->carrier_is_stale ||
        strncmp(client->config.dpdk_devargs, "net_virtio_user", 15) != 0)
        return true;
    client__carrier_close(client);
    if (client__carrier_open(client, why, sizeof(why)) != EAGRE_OK) {
        client_say(client, "the carrier cannot be opened anew: %s", why);
        return false;
    }
    client->carrier_is_stale = false;
    return true;
}

void
client__carrier_close(struct eagre_client *client)
{
    nic_close(client->nic);
    client->nic = NULL;
    /* The library stays: EAL's threads run in it, and a process has one EAL. */
}
