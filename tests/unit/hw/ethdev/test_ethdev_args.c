/* Goal: devargs are understood as far as files and sizes depend on them, and refused by name.
 * Method: pure functions; socket files in a directory of the test; no EAL. Bad input first. */
#include "hw/ethdev/ethdev.h"
#include "hw/ethdev/ethdev_args.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct bad_row {
    const char *devargs;
    const char *cause;
};

Test(ethdev_args, are_refused_by_name, .timeout = 10)
{
    static const struct bad_row rows[] = {
        {NULL, "no device named"},
        {"", "no device named"},
        {",iface=/x", "no device named"},
        {"net_vhost0", "net_vhost0 needs iface="},
        {"net_vhost0,path=/x", "net_vhost0 needs iface="},
        {"net_virtio_user0,queues=1", "net_virtio_user0 needs path="},
        {"net_af_xdp0", "net_af_xdp0 needs iface="},
        {"net_vhost0,iface=/a b", "0x20"},
        {"net_vhost0,iface=/a\n", "0x0a"},
        {"net_tap0,iface=\"x\"", "0x22"},
    };
    struct ethdev_args args;

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct diag_trail trail = {""};
        cr_expect_eq(ethdev__args_parse(rows[i].devargs, 1, &args, &trail), RC_INVALID);
        cr_expect_not_null(strstr(trail.text, rows[i].cause), "row %zu: %s", i, trail.text);
    }
}

Test(ethdev_args, too_long_are_refused, .timeout = 10)
{
    char text[ETHDEV_DEVARGS_MAX + 1];
    struct ethdev_args args;
    struct diag_trail trail = {""};

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    cr_expect_eq(ethdev__args_parse(text, 1, &args, &trail), RC_INVALID);
    text[ETHDEV_DEVARGS_MAX - 1] = '\0'; /* fits, but its name does not */
    cr_expect_eq(ethdev__args_parse(text, 1, &args, &trail), RC_INVALID);
    diag_trail_clear(&trail);
    memcpy(text, "net_vhost0,iface=/", 18); /* now the name does, but no socket has such a path */
    cr_expect_eq(ethdev__args_parse(text, 1, &args, &trail), RC_INVALID);
    cr_expect_not_null(strstr(trail.text, "longer than a socket's path"), "%s", trail.text);
}

struct good_row {
    const char *devargs;
    enum ethdev_kind kind;
    const char *name;
    const char *text; /* for two queues */
    const char *listen_path;
};

Test(ethdev_args, are_completed_by_what_the_driver_sets_worse, .timeout = 10)
{
    static const struct good_row rows[] = {
        {"net_vhost0,iface=/n", ETHDEV_VHOST, "net_vhost0", "net_vhost0,iface=/n,queues=2", "/n"},
        {"net_vhost1,iface=/n,client=1",
         ETHDEV_VHOST,
         "net_vhost1",
         "net_vhost1,iface=/n,client=1,queues=2",
         ""},
        {"net_vhost1,iface=/n,client=0,queues=4",
         ETHDEV_VHOST,
         "net_vhost1",
         "net_vhost1,iface=/n,client=0,queues=4",
         "/n"},
        {"net_virtio_user0,path=/n",
         ETHDEV_VIRTIO_USER,
         "net_virtio_user0",
         "net_virtio_user0,path=/n,queues=2,queue_size=1024,packed_vq=1,in_order=1,mrg_rxbuf=0",
         ""},
        {"virtio_user0,path=/n,server=1,queue_size=256,packed_vq=0",
         ETHDEV_VIRTIO_USER,
         "virtio_user0",
         "virtio_user0,path=/n,server=1,queue_size=256,packed_vq=0,queues=2,in_order=1,mrg_rxbuf=0",
         "/n"},
        {"net_af_xdp0,iface=eth0",
         ETHDEV_AF_XDP,
         "net_af_xdp0",
         "net_af_xdp0,iface=eth0,queue_count=2",
         ""},
        {"net_tap0", ETHDEV_TAP, "net_tap0", "net_tap0", ""},
        {"net_null0", ETHDEV_OTHER, "net_null0", "net_null0", ""},
        {"0000:3b:00.1,dv_flow_en=1", ETHDEV_PCI, "0000:3b:00.1", "0000:3b:00.1,dv_flow_en=1", ""},
        {"3b:00.1", ETHDEV_PCI, "3b:00.1", "3b:00.1", ""},
        {"3b:00", ETHDEV_OTHER, "3b:00", "3b:00", ""},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct diag_trail trail = {""};
        struct ethdev_args args = {.name = ""};
        cr_assert_eq(
            ethdev__args_parse(rows[i].devargs, 2, &args, &trail), RC_OK, "%s", trail.text);
        cr_expect_eq(args.kind, rows[i].kind, "%s", rows[i].devargs);
        cr_expect_str_eq(args.name, rows[i].name);
        cr_expect_str_eq(args.text, rows[i].text);
        cr_expect_str_eq(args.listen_path, rows[i].listen_path);
    }
}

Test(ethdev_args, one_queue_needs_no_word, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct ethdev_args args;

    cr_assert_eq(ethdev__args_parse("net_vhost0,iface=/n", 1, &args, &trail), RC_OK);
    cr_expect_str_eq(args.text, "net_vhost0,iface=/n");
}

Test(ethdev_args, values_are_found_by_whole_keys, .timeout = 10)
{
    char value[8];

    cr_expect_not(ethdev__args_value("net_x,xiface=1", "iface", value, sizeof(value)));
    cr_expect_not(ethdev__args_value("iface=1", "iface", value, sizeof(value)), "that is the name");
    cr_expect_not(ethdev__args_value("n,iface=123456789", "iface", value, sizeof(value)),
                  "does not fit");
    cr_expect(ethdev__args_value("n,i=2,iface=1,x=3", "iface", value, sizeof(value)));
    cr_expect_str_eq(value, "1");
    cr_expect(ethdev__args_value("n,iface=", "iface", value, sizeof(value)));
    cr_expect_str_eq(value, "");
}

/* ---- sockets that dead processes leave ---- */

static void
make_path(char *path, size_t capacity)
{
    char dir[] = "/tmp/eagre-unit-XXXXXX";

    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, capacity, "%s/nic0", dir);
}

static int
listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

static void
remove_dir_of(char *path)
{
    (void)unlink(path);
    *strrchr(path, '/') = '\0';
    cr_expect_eq(rmdir(path), 0);
}

Test(ethdev_stale_socket, is_not_removed_when_it_is_a_file, .timeout = 10)
{
    struct diag_trail trail = {""};
    char path[ETHDEV_PATH_MAX];

    make_path(path, sizeof(path));
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    cr_expect_eq(ethdev__clear_stale_socket(path, &trail), RC_INVALID);
    cr_expect_not_null(strstr(trail.text, "not a socket"));
    cr_expect_eq(access(path, F_OK), 0);
    remove_dir_of(path);
}

Test(ethdev_stale_socket, is_not_removed_while_somebody_listens, .timeout = 10)
{
    struct diag_trail trail = {""};
    char path[ETHDEV_PATH_MAX];

    make_path(path, sizeof(path));
    int fd = listen_on(path);
    cr_expect_eq(ethdev__clear_stale_socket(path, &trail), RC_BUSY);
    cr_expect_not_null(strstr(trail.text, path));
    cr_expect_eq(access(path, F_OK), 0);
    close(fd);
    remove_dir_of(path);
}

Test(ethdev_stale_socket, is_removed_when_nobody_does, .timeout = 10)
{
    struct diag_trail trail = {""};
    char path[ETHDEV_PATH_MAX];

    make_path(path, sizeof(path));
    close(listen_on(path));
    cr_expect_eq(access(path, F_OK), 0);
    cr_expect_eq(ethdev__clear_stale_socket(path, &trail), RC_OK, "%s", trail.text);
    cr_expect_neq(access(path, F_OK), 0);
    cr_expect_eq(ethdev__clear_stale_socket(path, &trail), RC_OK, "there is none");
    remove_dir_of(path);
}

/* ---- sizes ---- */

Test(ethdev_sizes, a_pool_fills_rings_and_queues_at_once, .timeout = 10)
{
    for (int kind = ETHDEV_VHOST; kind <= ETHDEV_OTHER; kind++) {
        uint32_t count = ethdev__pool_count((enum ethdev_kind)kind);
        uint32_t rings = 2 * ethdev__descriptor_count((enum ethdev_kind)kind);
        cr_expect_geq(count, rings + NIC_SEND_QUEUE + 2 * NIC_BURST + ETHDEV_POOL_CACHE * 3 / 2);
        cr_expect(is_power_of_two(count + 1), "%u", count);
        cr_expect_lt(count / 4, rings + NIC_SEND_QUEUE, "not far too large: %u", count);
    }
}

Test(ethdev_sizes, a_buffer_takes_a_whole_frame, .timeout = 10)
{
    cr_expect_eq(ethdev__room_bytes(NIC_DATAGRAM_BYTES), 2048 + 128);
    cr_expect_geq(ethdev__room_bytes(NIC_DATAGRAM_BYTES_MAX),
                  NIC_DATAGRAM_BYTES_MAX + 128 + 14 + 4 + 20 + 8);
    uint64_t one = ethdev__memory_bytes(ETHDEV_VHOST, 1, 2176);
    uint64_t four = ethdev__memory_bytes(ETHDEV_VHOST, 4, 2176);
    cr_expect_gt(one, UINT64_C(2) * 4095 * 2176);
    cr_expect_gt(four - one, UINT64_C(6) * 4095 * 2176);
    cr_expect_lt(one, 128 * MIB);
}
