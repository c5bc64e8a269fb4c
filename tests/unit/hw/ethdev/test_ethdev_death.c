/* Goal: either side of the shared memory may die at any moment, by force and under load; the other
 * one lives on, and finds the next life of its partner. Method: the partner's lives are children,
 * forked before EAL starts here, each waiting for its turn; SIGKILL ends them. */
#include "tests/unit/hw/ethdev/pair.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct life {
    pid_t pid;
    int turn_fd;  /* a byte is written: begin */
    int ready_fd; /* a byte is read: the port is open */
};

static void
begin(struct life *life)
{
    char byte = 1;

    cr_assert_eq(write(life->turn_fd, &byte, 1), 1);
    cr_assert_eq(read(life->ready_fd, &byte, 1), 1, "the partner did not open its port");
}

static void
kill_life(struct life *life)
{
    int status;

    cr_assert_eq(kill(life->pid, SIGKILL), 0);
    cr_assert_eq(waitpid(life->pid, &status, 0), life->pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it had died before: %x", status);
}

/* A child that runs work when it is its turn. */
static struct life
fork_life(struct pair *pair, void (*work)(struct pair *pair, int ready_fd))
{
    int turn[2];
    int ready[2];

    cr_assert_eq(pipe(turn), 0);
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char byte;
        (void)alarm(30);
        if (read(turn[0], &byte, 1) == 1)
            work(pair, ready[1]);
        _exit(1);
    }
    (void)close(ready[1]);
    return (struct life){.pid = pid, .turn_fd = turn[1], .ready_fd = ready[0]};
}

static void
serve(struct pair *pair, int ready_fd)
{
    pair_open_server(pair, 1);
    if (write(ready_fd, "", 1) == 1)
        pair_poll(pair, 25000);
}

static void
flood(struct pair *pair, int ready_fd)
{
    struct ethdev_config config = pair_client_config(pair);

    pair_open_client(pair, 1);
    pair->queue_count = 1;
    if (write(ready_fd, "", 1) != 1)
        return;
    for (uint64_t number = 0;; number++) {
        (void)pair_send(pair->client[0], &config.peer, number, 200);
        if (number % NIC_BURST == 0)
            pair_poll(pair, 0);
        if (number % 1000 == 0)
            pair_poll(pair, 1);
    }
}

/* Sends until the server has answered ARP and taken a datagram. */
static bool
reaches_server(struct pair *pair)
{
    struct ethdev_config config = pair_client_config(pair);
    uint64_t end_ns = pair_now_ns() + 3 * NS_PER_S;

    cr_assert(pair_send(pair->client[0], &config.peer, 1, 100));
    while (pair_counter(&pair->client[0]->counters.sent_packets) == 0 && pair_now_ns() < end_ns)
        pair_poll(pair, 1);
    return pair_counter(&pair->client[0]->counters.sent_packets) != 0;
}

Test(ethdev_death, a_client_outlives_its_server_and_finds_the_next_one, .timeout = 60)
{
    struct pair pair;
    struct life lives[2];

    pair_init(&pair);
    for (uint32_t i = 0; i < 2; i++)
        lives[i] = fork_life(&pair, serve);
    begin(&lives[0]);
    pair.queue_count = 1;
    pair_open_client(&pair, 1);
    cr_expect(reaches_server(&pair));
    kill_life(&lives[0]);

    struct ethdev_config config = pair_client_config(&pair);
    for (uint64_t i = 0; i < 20000; i++) { /* more than all rings and queues hold */
        cr_assert(pair_send(pair.client[0], &config.peer, i, 100) || i > 1000);
        if (i % 100 == 0)
            pair_poll(&pair, 0);
    }
    cr_expect_gt(pair_counter(&pair.client[0]->counters.send_dropped), 0);
    pair_close_client(&pair);
    cr_expect_eq(access(pair.socket, F_OK), 0, "what the dead server left");

    begin(&lives[1]);
    pair_open_client(&pair, 1);
    cr_expect(reaches_server(&pair), "the next life of the server");
    pair_close_client(&pair);
    kill_life(&lives[1]);
    pair_fini(&pair);
}

Test(ethdev_death, a_server_outlives_clients_that_die_while_they_flood, .timeout = 60)
{
    struct pair pair;
    struct life lives[3];

    pair_init(&pair);
    for (uint32_t i = 0; i < ARRAY_COUNT(lives); i++)
        lives[i] = fork_life(&pair, flood);
    pair_open_server(&pair, 1);
    for (uint32_t i = 0; i < ARRAY_COUNT(lives); i++) {
        const _Atomic uint64_t *received = &pair.server[0]->counters.received_packets;
        uint64_t before = pair_counter(received);
        uint64_t end_ns = pair_now_ns() + 5 * NS_PER_S;
        begin(&lives[i]);
        while (pair_counter(received) < before + 5000 && pair_now_ns() < end_ns)
            pair_poll(&pair, 1);
        cr_expect_geq(pair_counter(received), before + 5000, "life %u", i);
        kill_life(&lives[i]);
        pair_poll(&pair, 50);
    }
    struct ethdev_stats stats;
    cr_assert_eq(ethdev_stats(pair.server_port, &stats), RC_OK);
    cr_expect_eq(stats.buffers_in_use, 0);
    pair_close_server(&pair);
    pair_fini(&pair);
}
