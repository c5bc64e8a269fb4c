/* Devargs are read here only as far as we must know: which driver, which files. The driver judges
 * the rest. */
#include "hw/ethdev/ethdev_args.h"

#include "hw/ethdev/ethdev.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADROOM_BYTES 128u /* RTE_PKTMBUF_HEADROOM, asserted where rte_*.h stand */
#define ROOM_BYTES_MIN (2048u + HEADROOM_BYTES)
#define FRAME_OVERHEAD_BYTES (14u + 4u + 4u + 20u + 8u) /* Ethernet, VLAN, CRC, IPv4, UDP */
#define BUFFER_OVERHEAD_BYTES (128u + 64u)              /* struct rte_mbuf, the pool's own header */
#define DESCRIPTORS 1024u
#define DESCRIPTORS_AF_XDP 2048u /* the driver fills this many whatever is asked for */
#define QUEUE_OVERHEAD_BYTES (2 * MIB)
#define FIXED_BYTES (24 * MIB)

/* Keys that the driver needs, and those that we add when they are not there. */
struct kind_rule {
    const char *prefix;
    enum ethdev_kind kind;
    const char *required;  /* NULL: none */
    const char *queue_key; /* NULL: the driver takes the count from the port's set-up */
};

static const struct kind_rule kind_rules[] = {
    {"net_vhost", ETHDEV_VHOST, "iface", "queues"},
    {"eth_vhost", ETHDEV_VHOST, "iface", "queues"},
    {"net_virtio_user", ETHDEV_VIRTIO_USER, "path", "queues"},
    {"virtio_user", ETHDEV_VIRTIO_USER, "path", "queues"},
    {"net_af_xdp", ETHDEV_AF_XDP, "iface", "queue_count"},
    {"net_tap", ETHDEV_TAP, NULL, NULL},
};

bool
ethdev__args_value(const char *devargs, const char *key, char *value, size_t capacity)
{
    size_t key_bytes = strlen(key);

    value[0] = '\0';
    for (const char *at = strchr(devargs, ','); at != NULL; at = strchr(at, ',')) {
        at++;
        if (strncmp(at, key, key_bytes) != 0 || at[key_bytes] != '=')
            continue;
        at += key_bytes + 1;
        int bytes = (int)strcspn(at, ",");
        return snprintf(value, capacity, "%.*s", bytes, at) < (int)capacity;
    }
    return false;
}

static bool
has_key(const char *devargs, const char *key)
{
    char value[ETHDEV_TEXT_MAX];

    return ethdev__args_value(devargs, key, value, sizeof(value));
}

/* "0000:03:00.0" or "03:00.0" */
static bool
is_pci_address(const char *name)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    size_t domain = strspn(name, hex);

    if (domain == 4 && name[4] == ':')
        name += 5;
    return strspn(name, hex) == 2 && name[2] == ':' && strspn(name + 3, hex) == 2 &&
           name[5] == '.' && strspn(name + 6, hex) == 1 && name[7] == '\0';
}

static const struct kind_rule *
rule_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(kind_rules); i++)
        if (strncmp(name, kind_rules[i].prefix, strlen(kind_rules[i].prefix)) == 0)
            return &kind_rules[i];
    return NULL;
}

static void
append(struct ethdev_args *args, const char *key, uint32_t value)
{
    size_t used = strlen(args->text);

    if (!has_key(args->text, key))
        (void)snprintf(args->text + used, sizeof(args->text) - used, ",%s=%u", key, value);
}

/* Packed rings in order are cheaper: 64 + 72 ns against 72 + 88 ns for a datagram of 22 bytes sent
 * and received, 65 + 141 against 83 + 210 ns for 1,400 bytes (both ends on one CPU, 2026-11).
 * Shorter rings are no faster then, and where two sides share a CPU one ring's worth moves per time
 * slice. A buffer takes a whole frame, so none need be merged. The other side may decline each. */
static void
append_virtio(struct ethdev_args *args)
{
    append(args, "queue_size", DESCRIPTORS); /* 256 else */
    append(args, "packed_vq", 1);
    append(args, "in_order", 1);
    append(args, "mrg_rxbuf", 0);
}

static enum rc
read_paths(struct ethdev_args *args, struct diag_trail *trail)
{
    char flag[8];
    bool listens = false;
    const char *key = "path";

    if (args->kind == ETHDEV_VHOST) {
        key = "iface";
        listens = !ethdev__args_value(args->text, "client", flag, sizeof(flag)) || flag[0] == '0';
    } else if (args->kind == ETHDEV_VIRTIO_USER) {
        listens = ethdev__args_value(args->text, "server", flag, sizeof(flag)) && flag[0] != '0';
    }
    if (listens &&
        !ethdev__args_value(args->text, key, args->listen_path, sizeof(args->listen_path))) {
        diag_trail_add(trail,
                       "%s= is longer than a socket's path may be (%u bytes)",
                       key,
                       ETHDEV_PATH_MAX - 1);
        return RC_INVALID;
    }
    if (args->kind == ETHDEV_AF_XDP)
        (void)ethdev__args_value(
            args->text, "xdp_prog", args->object_path, sizeof(args->object_path));
    return RC_OK;
}

/* False with the cause in trail. */
static bool
is_readable(const char *devargs, struct diag_trail *trail)
{
    size_t bytes = devargs == NULL ? 0 : strlen(devargs);
    size_t name_bytes = devargs == NULL ? 0 : strcspn(devargs, ",");

    if (bytes == 0 || name_bytes == 0)
        diag_trail_add(trail, "no device named; as in \"net_vhost0,iface=DIR/nic0\"");
    else if (bytes >= ETHDEV_DEVARGS_MAX)
        diag_trail_add(trail, "devargs of %zu bytes, at most %u", bytes, ETHDEV_DEVARGS_MAX - 1);
    else if (name_bytes >= ETHDEV_NAME_MAX)
        diag_trail_add(
            trail, "device name of %zu bytes, at most %u", name_bytes, ETHDEV_NAME_MAX - 1);
    else
        for (size_t i = 0; i <= bytes; i++) {
            if (i == bytes)
                return true;
            if (devargs[i] <= ' ' || devargs[i] > '~' || devargs[i] == '"') {
                diag_trail_add(trail,
                               "devargs may not hold a blank or byte 0x%02x",
                               (unsigned)(uint8_t)devargs[i]);
                break;
            }
        }
    return false;
}

enum rc
ethdev__args_parse(const char *devargs,
                   uint32_t queue_count,
                   struct ethdev_args *ret_args,
                   struct diag_trail *trail)
{
    struct ethdev_args args = {.kind = ETHDEV_OTHER};

    if (!is_readable(devargs, trail))
        return RC_INVALID;
    (void)snprintf(args.text, sizeof(args.text), "%s", devargs);
    (void)snprintf(args.name, sizeof(args.name), "%.*s", (int)strcspn(devargs, ","), devargs);
    const struct kind_rule *rule = rule_of(args.name);
    if (is_pci_address(args.name))
        args.kind = ETHDEV_PCI;
    if (rule != NULL) {
        args.kind = rule->kind;
        if (rule->required != NULL && !has_key(args.text, rule->required)) {
            diag_trail_add(trail, "%s needs %s=", args.name, rule->required);
            return RC_INVALID;
        }
        if (rule->queue_key != NULL && queue_count > 1)
            append(&args, rule->queue_key, queue_count);
        if (rule->kind == ETHDEV_VIRTIO_USER)
            append_virtio(&args);
    }
    enum rc rc = read_paths(&args, trail);
    if (rc == RC_OK)
        *ret_args = args;
    return rc;
}

enum rc
ethdev__clear_stale_socket(const char *path, struct diag_trail *trail)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat facts;

    if (lstat(path, &facts) != 0) {
        if (errno == ENOENT)
            return RC_OK;
        diag_trail_add(trail, "%s: %s", path, strerror(errno));
        return rc_from_errno(errno);
    }
    if (!S_ISSOCK(facts.st_mode)) {
        diag_trail_add(trail, "%s exists and is not a socket", path);
        return RC_INVALID;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return rc_from_errno(errno);
    int result = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    int error = errno;
    close(fd);
    if (result == 0) {
        diag_trail_add(trail, "another process listens on %s", path);
        return RC_BUSY;
    }
    if (error != ECONNREFUSED || unlink(path) != 0) {
        diag_trail_add(trail,
                       "%s cannot be taken over: %s",
                       path,
                       strerror(error != ECONNREFUSED ? error : errno));
        return RC_DENIED;
    }
    return RC_OK;
}

uint32_t
ethdev__descriptor_count(enum ethdev_kind kind)
{
    return kind == ETHDEV_AF_XDP ? DESCRIPTORS_AF_XDP : DESCRIPTORS;
}

uint32_t
ethdev__pool_count(enum ethdev_kind kind)
{
    uint32_t need = 2 * ethdev__descriptor_count(kind) + 2 * NIC_BURST + NIC_SEND_QUEUE +
                    ETHDEV_POOL_CACHE + ETHDEV_POOL_CACHE / 2;
    uint32_t count = 1;

    while (count - 1 < need)
        count *= 2;
    return count - 1;
}

uint32_t
ethdev__room_bytes(uint32_t datagram_bytes)
{
    uint64_t bytes = round_up(HEADROOM_BYTES + FRAME_OVERHEAD_BYTES + (uint64_t)datagram_bytes,
                              128);

    return (uint32_t)max_u64(bytes, ROOM_BYTES_MIN);
}

uint64_t
ethdev__memory_bytes(enum ethdev_kind kind, uint32_t queue_count, uint32_t room_bytes)
{
    uint64_t pool_bytes = (uint64_t)ethdev__pool_count(kind) *
                          (room_bytes + (uint64_t)BUFFER_OVERHEAD_BYTES);

    return round_up(FIXED_BYTES + 2 * queue_count * (pool_bytes + QUEUE_OVERHEAD_BYTES), 2 * MIB);
}
