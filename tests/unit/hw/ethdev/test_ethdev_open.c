/* Goal: a port opens or says why not, and leaves the process as it was: affinity, signals, umask,
 * environment, files.
 * Method: EAL in the forked test; vhost and virtio_user need no privilege. Bad input first. */
#include "tests/unit/hw/ethdev/pair.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void
expect_refused(const struct ethdev_config *config, enum rc wanted, const char *cause)
{
    struct diag_trail trail = {""};
    struct nic *queues[ETHDEV_QUEUES_MAX] = {NULL};
    struct ethdev *port = NULL;
    enum rc rc = ethdev_open(config, &port, queues, &trail);

    cr_expect_eq(rc, wanted, "%s, not %s: %s", rc_name(rc), rc_name(wanted), trail.text);
    cr_expect_not_null(strstr(trail.text, cause), "\"%s\" is not in: %s", cause, trail.text);
    cr_expect_null(port);
    cr_expect_null(queues[0]);
}

Test(ethdev_open, refuses_a_bad_configuration_without_starting_anything, .timeout = 20)
{
    struct pair pair;
    struct ethdev_config config;

    pair_init(&pair);
    config = pair_server_config(&pair);
    config.queue_count = 0;
    expect_refused(&config, RC_INVALID, "0 queues");
    config.queue_count = ETHDEV_QUEUES_MAX + 1;
    expect_refused(&config, RC_INVALID, "17 queues");
    config = pair_server_config(&pair);
    config.prefix_bits = 33;
    expect_refused(&config, RC_INVALID, "33 bits");
    config = pair_server_config(&pair);
    config.datagram_bytes_max = 1199;
    expect_refused(&config, RC_INVALID, "1199 bytes");
    config.datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX + 1;
    expect_refused(&config, RC_INVALID, "8901 bytes");
    config = pair_server_config(&pair);
    config.local.ip[15] = 0;
    config.local.ip[12] = 127;
    expect_refused(&config, RC_INVALID, "127.0.0.0:9095");
    memset(config.local.ip, 0x20, sizeof(config.local.ip)); /* IPv6 */
    expect_refused(&config, RC_INVALID, "no IPv4 address");
    config = pair_server_config(&pair);
    config.local.port = 65535;
    config.queue_count = 2;
    expect_refused(&config, RC_INVALID, "do not exist");
    config = pair_client_config(&pair);
    config.peer.ip[14] = 7;
    expect_refused(&config, RC_INVALID, "10.0.7.1:9095 is not in the network of 10.0.0.2/24");
    config.peer = config.local;
    expect_refused(&config, RC_INVALID, "not in the network");
    config = pair_server_config(&pair);
    config.devargs = "";
    expect_refused(&config, RC_INVALID, "no device named");
    config = pair_server_config(&pair);
    config.exception = "net_af_xdp0";
    expect_refused(&config, RC_INVALID, "net_af_xdp0 needs iface=");
    pair_fini(&pair);
}

Test(ethdev_open, tells_what_the_driver_did_not_like_and_can_be_tried_again, .timeout = 30)
{
    struct pair pair;
    struct ethdev_config config;

    pair_init(&pair);
    config = pair_server_config(&pair);
    config.devargs = "net_nosuchdriver0";
    expect_refused(&config, RC_UNSUPPORTED, "net_nosuchdriver0");
    config.devargs = "0000:00:1f.7";
    expect_refused(&config, RC_UNSUPPORTED, "must be the first port");
    config.devargs = "net_null0,nosuchkey=1";
    expect_refused(&config, RC_UNSUPPORTED, "nosuchkey");
    config = pair_server_config(&pair);
    config.hugepages = true;
    expect_refused(&config, RC_UNSUPPORTED, "without hugepages already");
    config = pair_server_config(&pair);
    config.queue_count = 2;
    config.devargs = "net_ring0"; /* many queues, and no way to choose one */
    expect_refused(&config, RC_UNSUPPORTED, "cannot spread");
    config = pair_client_config(&pair);
    expect_refused(&config, RC_NOT_FOUND, pair.socket);
    pair_open_server(&pair, 1);
    pair_open_client(&pair, 1);
    config = pair_server_config(&pair);
    expect_refused(&config, RC_BUSY, "listens on");
    config = pair_client_config(&pair);
    expect_refused(&config, RC_EXISTS, "net_virtio_user0 already");
    pair_close(&pair);
}

Test(ethdev_open, refuses_more_memory_than_was_reserved, .timeout = 30)
{
    struct pair pair;
    struct ethdev_config config;

    pair_init(&pair);
    config = pair_server_config(&pair);
    config.memory_bytes = 8 * MIB;
    expect_refused(&config, RC_NO_MEMORY, "memory_bytes");
    pair_fini(&pair);
}

static uint32_t
count_entries(const char *path)
{
    DIR *dir = opendir(path);
    uint32_t count = 0;

    cr_assert_not_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

Test(ethdev_open, leaves_the_caller_as_it_was, .timeout = 30)
{
    struct pair pair;
    cpu_set_t cpus_before;
    cpu_set_t cpus;
    sigset_t signals_before;
    sigset_t signals;
    mode_t mask_before = umask(0027);

    pair_init(&pair);
    (void)setenv("RUNTIME_DIRECTORY", "/nowhere", 1);
    cr_assert_eq(sched_getaffinity(0, sizeof(cpus_before), &cpus_before), 0);
    sigemptyset(&signals_before);
    sigaddset(&signals_before, SIGUSR1);
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, &signals_before, NULL), 0);
    pair_open_server(&pair, 1);

    cr_assert_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    cr_expect(CPU_EQUAL(&cpus, &cpus_before), "pinned by EAL");
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &signals), 0);
    cr_expect(sigismember(&signals, SIGUSR1) == 1 && sigismember(&signals, SIGTERM) == 0);
    cr_expect_eq(umask(mask_before), 0027);
    cr_expect_str_eq(getenv("RUNTIME_DIRECTORY"), "/nowhere");
    cr_expect_eq(count_entries(pair.dir), 1, "the socket, and nothing else");
    pair_close_server(&pair);
    cr_expect_eq(count_entries(pair.dir), 0);
    pair_fini(&pair);
}

/* A hexadecimal mask in the kernel's status of one thread: "SigBlk:", "Cpus_allowed:". */
static uint64_t
mask_of(const char *task, const char *what)
{
    char path[300];
    char line[128];
    uint64_t mask = 0;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, what, strlen(what)) == 0)
            mask = strtoull(line + strlen(what), NULL, 16);
    (void)fclose(file);
    return mask;
}

Test(ethdev_open, leaves_threads_behind_that_take_no_signals_and_no_cpu_of_their_own, .timeout = 30)
{
    struct pair pair;
    char own[16];
    uint32_t others = 0;
    uint32_t wakeful = 0;

    pair_open(&pair, 1);
    (void)snprintf(own, sizeof(own), "%d", (int)getpid());
    DIR *dir = opendir("/proc/self/task");
    cr_assert_not_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, own) == 0)
            continue;
        uint64_t blocked = mask_of(entry->d_name, "SigBlk:");
        cr_expect_eq(mask_of(entry->d_name, "Cpus_allowed:"),
                     mask_of(own, "Cpus_allowed:"),
                     "pinned: thread %s",
                     entry->d_name);
        cr_expect((blocked >> (SIGTERM - 1) & 1) == 1, "thread %s", entry->d_name);
        cr_expect((blocked >> (SIGINT - 1) & 1) == 1, "thread %s", entry->d_name);
        wakeful += (blocked >> (SIGIO - 1) & 1) == 0;
        others++;
    }
    (void)closedir(dir);
    cr_expect_gt(others, 0);
    cr_expect_gt(wakeful, 0, "one of them must take the signal by which TAP tells of packets");
    pair_close(&pair);
}

Test(ethdev_open, makes_a_socket_for_its_user_alone_where_a_dead_one_was, .timeout = 30)
{
    struct pair pair;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat facts;

    pair_init(&pair);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", pair.socket);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(chmod(pair.socket, 0777), 0);
    close(fd);
    (void)umask(0);
    pair_open_server(&pair, 1);
    cr_assert_eq(stat(pair.socket, &facts), 0);
    cr_expect(S_ISSOCK(facts.st_mode));
    cr_expect_eq(facts.st_mode & 0777, 0600, "%o", facts.st_mode & 0777);
    pair_close_server(&pair);
    pair_fini(&pair);
}

Test(ethdev_open, can_be_closed_and_opened_again_on_either_side, .timeout = 60)
{
    struct pair pair;

    pair_init(&pair);
    pair_open_server(&pair, 1);
    for (uint32_t round = 0; round < 3; round++) {
        pair_open_client(&pair, 1);
        pair_poll(&pair, 250);
        cr_assert(pair_send(pair.client[0], &(struct nic_address){0}, 7, 8));
        cr_assert_eq(pair_counter(&pair.client[0]->counters.send_errors), 1, "sent to nobody");
        struct ethdev_config config = pair_client_config(&pair);
        cr_assert(pair_send(pair.client[0], &config.peer, round, 100));
        pair_poll(&pair, 20);
        cr_expect_eq(pair_counter(&pair.server[0]->counters.received_packets), round + 1);
        pair_close_client(&pair);
    }
    pair_close_server(&pair);
    pair_open_server(&pair, 1);
    pair_open_client(&pair, 1);
    pair_poll(&pair, 250);
    cr_expect_geq(pair_counter(&pair.server[0]->counters.arp_replies), 1);
    pair_close(&pair);
}

static bool
has_hugepages(void)
{
    char line[128];
    unsigned long total = 0;
    FILE *file = fopen("/proc/meminfo", "r");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "HugePages_Total:", 16) == 0)
            total = strtoul(line + 16, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return total != 0;
}

Test(ethdev_open, without_hugepages_says_so_and_does_not_try_twice, .timeout = 30)
{
    struct pair pair;

    if (has_hugepages())
        cr_skip_test("wanted: a host without hugepages");
    pair_init(&pair);
    struct ethdev_config config = pair_server_config(&pair);
    config.hugepages = true;
    expect_refused(&config, RC_NO_MEMORY, "hugepages");
    config.hugepages = false;
    expect_refused(&config, RC_UNSUPPORTED, "once in a process");
    pair_fini(&pair);
}

Test(ethdev_open, drivers_are_there, .timeout = 10)
{
    struct diag_trail trail = {""};

    cr_expect(ethdev_is_available(&trail), "%s", trail.text);
}
