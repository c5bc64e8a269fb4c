/* Numbered records: sent by tests, found again in the server's log, given out by subscribers. */
#ifndef EAGRE_TESTS_UNIT_NET_CLIENT_RECORDS_H
#define EAGRE_TESTS_UNIT_NET_CLIENT_RECORDS_H

#include "server.h"

#define RECORDS_MAX 200000u

/* What deliveries said, by the records' numbers (their opaques). */
struct deliveries {
    uint8_t rc[RECORDS_MAX]; /* 255: nothing yet */
    int64_t offset[RECORDS_MAX];
    uint32_t times[RECORDS_MAX];
    uint64_t delivered;
    uint64_t failed;
    uint64_t unknown_offsets;
    uint64_t duplicates;
    uint64_t last; /* highest number delivered so far */
    uint64_t want; /* deliveries_are_there(): so many in all */
    int durability;
    int server_error;
};

struct deliveries *deliveries_new(void);
void deliveries_note(const struct eagre_delivery *delivery, void *context);
bool deliveries_are_there(void *context);

/* Sends the numbers [first, first + count) to a partition, polling both when full. value_bytes:
 * at least 8. key: NULL none. */
struct sending {
    struct eagre_producer *producer;
    struct eagre_client *client;
    struct server *server;
    uint32_t value_bytes;
    int32_t partition;
};
void send_numbers(const struct sending *sending, uint64_t first, uint64_t count);
/* As many as are taken at once. */
uint64_t send_some(const struct sending *sending, uint64_t first, uint64_t count);

/* Checks that a partition's log holds each number of [first, first + count) once and in order,
 * except those for which skip[] is set (NULL: none). */
void check_log(const struct server *server,
               uint32_t partition,
               uint64_t first,
               uint64_t count,
               const struct deliveries *except_failed);
/* Checks that a partition's log holds no number twice, each that was delivered, and none that was
 * not but those of which it is said that they may be stored. */
void check_log_is_truth(const struct server *server,
                        uint32_t partition,
                        uint64_t count,
                        const struct deliveries *deliveries);
uint64_t log_records(const struct server *server, uint32_t partition);

#endif
