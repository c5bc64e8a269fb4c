#include "engine/app/native.h"

#include "engine/base/bytes.h"
#include "engine/config/parse.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "hw/nic/nic_socket.h"

/* Ports tried when any free one will do: TCP gave one, UDP may have it in use. */
#define NATIVE_TRIES 16u

static const char devargs_prefix[] = "dpdk:";

static bool
native_is_dpdk(const struct settings *settings)
{
    return strncmp(settings->nic, devargs_prefix, strlen(devargs_prefix)) == 0;
}

static enum rc
native_check(const struct settings *settings, struct diag_trail *trail)
{
    if (!native_is_dpdk(settings) && strcmp(settings->nic, "socket") != 0) {
        diag_trail_add(trail,
                       "nic is '%s', allowed is socket or dpdk:DEVARGS, as in "
                       "dpdk:net_vhost0,iface=/run/eagre/nic0",
                       settings->nic);
        return RC_INVALID;
    }
    if (native_is_dpdk(settings) == (settings->nic_address[0] != '\0'))
        return RC_OK;
    diag_trail_add(trail,
                   native_is_dpdk(settings)
                       ? "a dpdk port needs an address of its own: --nic-address IP/PREFIX"
                       : "nic.address is for a dpdk port; with sockets the native address counts");
    return RC_INVALID;
}

/* "10.0.0.1/24"; without '/' the prefix is 32. */
static enum rc
native_prefix(const char *text,
              struct nic_address *ret_address,
              uint32_t *ret_bits,
              struct diag_trail *trail)
{
    const char *slash = strchr(text, '/');
    char host[CONFIG_TEXT_MAX];
    uint64_t bits = 32;
    bool valid = true;

    (void)snprintf(
        host, sizeof(host), "%.*s", slash != NULL ? (int)(slash - text) : (int)strlen(text), text);
    if (slash != NULL)
        valid = parse_u64(slash + 1, strlen(slash + 1), &bits);
    if (!valid || bits > 32) {
        diag_trail_add(trail, "nic.address '%s' is not IP/PREFIX", text);
        return RC_INVALID;
    }
    *ret_bits = (uint32_t)bits;
    return nic_address_parse(host, 0, ret_address, trail);
}

static void
native_close_nics(struct native *native)
{
    for (uint32_t i = 0; i < native->count; i++)
        nic_close(native->engine.nics[i]);
    native->count = 0;
}

void
native_close(struct native *native)
{
    native_close_nics(native);
    native->ethdev = NULL; /* its last queue took it along */
    if (native->tcp != NULL)
        tcp_close(native->tcp, native->engine.listener_fd);
    native->tcp = NULL;
}

static enum rc
native_open_sockets(struct native *native,
                    const struct nic_address *host,
                    uint32_t net_count,
                    struct diag_trail *trail)
{
    struct nic_socket_config config = {.local = *host};
    enum rc rc = RC_OK;

    for (uint32_t i = 0; rc == RC_OK && i < net_count; i++) {
        config.local.port = (uint16_t)(native->port + i);
        rc = nic_socket_open(&config, &native->engine.nics[i], trail);
        native->count += rc == RC_OK ? 1 : 0;
    }
    if (rc != RC_OK) {
        native_close_nics(native);
        return rc;
    }
    nic_socket_text(native->engine.nics[0], native->carrier, sizeof(native->carrier));
    return RC_OK;
}

static enum rc
native_open_dpdk(const struct settings *settings,
                 struct native *native,
                 uint32_t net_count,
                 struct diag_trail *trail)
{
    struct ethdev_config config = {
        .devargs = settings->nic + strlen(devargs_prefix),
        .queue_count = net_count,
    };
    enum rc rc = native_prefix(settings->nic_address, &config.local, &config.prefix_bits, trail);

    if (rc != RC_OK)
        return rc;
    config.local.port = native->port;
    rc = ethdev_open(&config, &native->ethdev, native->engine.nics, trail);
    if (rc != RC_OK)
        return rc;
    native->count = net_count;
    bytes_copy(native->engine.data_ip,
               sizeof(native->engine.data_ip),
               config.local.ip,
               sizeof(config.local.ip));
    native->engine.is_private = native->engine.is_private && nic_address_is_private(&config.local);
    ethdev_text(native->ethdev, native->carrier, sizeof(native->carrier));
    return RC_OK;
}

/* One try with a listener: TCP first, then UDP of the same number. */
static enum rc
native_try(const struct settings *settings,
           const struct nic_address *host,
           uint32_t net_count,
           struct native *native,
           struct diag_trail *trail)
{
    enum rc rc = tcp_listen(native->tcp,
                            settings->native.host,
                            settings->native.port,
                            &native->engine.listener_fd,
                            &native->port,
                            trail);
    if (rc != RC_OK)
        return rc;
    rc = RC_BUSY;
    if (native->port + net_count - 1 <= UINT16_MAX)
        rc = native_is_dpdk(settings) ? native_open_dpdk(settings, native, net_count, trail)
                                      : native_open_sockets(native, host, net_count, trail);
    if (rc != RC_OK)
        tcp_close(native->tcp, native->engine.listener_fd);
    return rc;
}

enum rc
native_open(const struct settings *settings,
            uint32_t net_count,
            struct tcp *tcp,
            struct native *native,
            struct diag_trail *trail)
{
    struct nic_address host;
    uint32_t tries = settings->native.port == 0 ? NATIVE_TRIES : 1;

    *native = (struct native){.tcp = tcp, .engine = {.listener_fd = -1}};
    enum rc rc = native_check(settings, trail);
    if (rc == RC_OK)
        rc = nic_address_parse(settings->native.host, settings->native.port, &host, trail);
    if (rc != RC_OK)
        goto fail;
    native->engine.is_loopback = nic_address_is_loopback(&host);
    native->engine.is_private = nic_address_is_private(&host);
    if (getrandom(native->engine.cookie_secret, sizeof(native->engine.cookie_secret), 0) !=
        (ssize_t)sizeof(native->engine.cookie_secret)) {
        rc = RC_IO_ERROR;
        goto fail;
    }
    do {
        diag_trail_clear(trail);
        rc = native_try(settings, &host, net_count, native, trail);
    } while (rc == RC_BUSY && --tries > 0);
    if (rc == RC_OK) {
        (void)snprintf(native->note, sizeof(native->note), "%.300s", trail->text);
        diag_trail_clear(trail);
        return RC_OK;
    }
fail:
    diag_trail_add(trail,
                   "--native %s:%u (another address, or off)",
                   settings->native.host,
                   settings->native.port);
    native->tcp = NULL;
    return rc;
}
