/* Prints a topic's records from its beginning, and goes on as they are written: the smallest whole
 * subscriber of libeagre, in an epoll loop of its own as an event-driven program would have it.
 *
 *     tail 127.0.0.1:9095 TOPIC [COUNT]     ends after COUNT records, else never */
#include <eagre/eagre.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Prints what is there. Returns how many records, or -1 when a partition cannot be read on. */
static long
print_all(struct eagre_subscriber *subscriber, long left)
{
    struct eagre_batch batch;
    struct eagre_received record;
    long printed = 0;

    while (printed < left && eagre_next(subscriber, &batch) == 1) {
        if (batch.rc != EAGRE_OK) {
            fprintf(stderr, "tail: partition %d: %s\n", batch.partition, eagre_rc_text(batch.rc));
            return -1;
        }
        while (printed < left && eagre_record_next(subscriber, &record) == 1) {
            fwrite(record.value, 1, record.value_bytes, stdout);
            putchar('\n');
            printed++;
        }
    }
    fflush(stdout);
    return printed;
}

/* Sleeps until the client has something to do. */
static void
wait_for(struct eagre_client *client, int epoll_fd)
{
    struct epoll_event event;
    uint64_t us = eagre_deadline_us(client);
    int timeout_ms = us > 1000000 ? 1000 : (int)((us + 999) / 1000);

    epoll_wait(epoll_fd, &event, 1, timeout_ms);
}

int
main(int argc, char **argv)
{
    struct eagre_client *client;
    struct eagre_subscriber *subscriber;
    char why[256];

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "tail HOST:PORT TOPIC [COUNT]\n");
        return 2;
    }
    long left = argc == 4 ? strtol(argv[3], NULL, 10) : INT32_MAX;
    struct eagre_config config = eagre_config_preset(argv[1]);
    struct eagre_subscriber_options options = eagre_subscriber_preset(argv[2]);
    if (eagre_open(&config, &client, why, sizeof(why)) != EAGRE_OK) {
        fprintf(stderr, "tail: %s\n", why);
        return 1;
    }
    int epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, eagre_fd(client), &event);
    int rc = eagre_subscribe(client, &options, &subscriber, why, sizeof(why));
    while (rc == EAGRE_OK && left > 0) {
        eagre_poll(client, 0);
        long printed = print_all(subscriber, left);
        if (printed < 0 || eagre_get_state(client) == EAGRE_STATE_REFUSED)
            break;
        left -= printed;
        if (printed == 0)
            wait_for(client, epoll_fd);
    }
    if (eagre_why(client)[0] != '\0')
        fprintf(stderr, "tail: %s\n", eagre_why(client));
    eagre_close(client);
    close(epoll_fd);
    return left <= 0 || argc == 3 ? 0 : 1;
}
