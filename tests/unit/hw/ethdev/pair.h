/* Two ports of one process, joined in shared memory: vhost-user is the server, virtio_user the
 * client. EAL starts in the forked test; no privilege, no hugepages. */
#ifndef EAGRE_TESTS_UNIT_HW_ETHDEV_PAIR_H
#define EAGRE_TESTS_UNIT_HW_ETHDEV_PAIR_H

#include "hw/ethdev/ethdev.h"

#define PAIR_PATH_MAX 64u

struct pair {
    char dir[PAIR_PATH_MAX];
    char socket[PAIR_PATH_MAX + 8];
    char server_devargs[2 * PAIR_PATH_MAX];
    char client_devargs[2 * PAIR_PATH_MAX];
    struct ethdev *server_port;
    struct ethdev *client_port;
    struct nic *server[ETHDEV_QUEUES_MAX];
    struct nic *client[ETHDEV_QUEUES_MAX];
    uint32_t queue_count;
};

/* Makes the directory and the devargs; opens nothing. */
void pair_init(struct pair *pair);
void pair_fini(struct pair *pair);
/* 10.0.0.1:9095 and 10.0.0.2:40000, whose peer is the server; queue_count 1, devargs of the pair.
 */
struct ethdev_config pair_server_config(const struct pair *pair);
struct ethdev_config pair_client_config(const struct pair *pair);
/* Open and close; the test fails with the trail. */
void pair_open_server(struct pair *pair, uint32_t queue_count);
void pair_open_client(struct pair *pair, uint32_t queue_count);
void pair_close_server(struct pair *pair);
void pair_close_client(struct pair *pair);
/* All of the above, and polls until the client knows the server. */
void pair_open(struct pair *pair, uint32_t queue_count);
void pair_close(struct pair *pair);
/* Sends one datagram of byte_count bytes that begins with number to peer; false: no buffer. */
bool
pair_send(struct nic *nic, const struct nic_address *peer, uint64_t number, uint32_t byte_count);
/* Polls both ends for ms, at least once, releasing what comes. */
void pair_poll(struct pair *pair, uint32_t ms);
uint64_t pair_now_ns(void);
uint64_t pair_counter(const _Atomic uint64_t *counter);

#endif
