/* Sends each line of standard input as a record: the smallest whole producer of libeagre.
 *
 *     produce 127.0.0.1:9095 TOPIC < lines
 *
 * Never waits in the middle: when nothing is taken it polls and offers the same line again. */
#define _GNU_SOURCE
#include <eagre/eagre.h>

#include <stdio.h>
#include <stdlib.h>

struct result {
    unsigned long stored;
    unsigned long failed;
    int first_error;
};

/* Called by eagre_poll(), once for each batch. */
static void
delivered(const struct eagre_delivery *delivery, void *context)
{
    struct result *result = context;

    if (delivery->rc == EAGRE_OK) {
        result->stored += delivery->record_count;
        return;
    }
    result->failed += delivery->record_count;
    if (result->first_error == EAGRE_OK)
        result->first_error = delivery->rc;
}

static int
send_line(struct eagre_client *client,
          struct eagre_producer *producer,
          const char *line,
          size_t count)
{
    struct eagre_record record = eagre_record_of(NULL, 0, line, count);
    int why = EAGRE_AGAIN;

    while (eagre_send(producer, &record, 1, &why) == 0) {
        if (why != EAGRE_AGAIN)
            return why;
        eagre_poll(client, 1000); /* full, or the topic is not known yet */
    }
    return EAGRE_OK;
}

int
main(int argc, char **argv)
{
    struct eagre_client *client;
    struct eagre_producer *producer;
    struct result result = {0, 0, EAGRE_OK};
    char why[256];
    char *line = NULL;
    size_t capacity = 0;
    ssize_t count;
    int rc = EAGRE_OK;

    if (argc != 3) {
        fprintf(stderr, "produce HOST:PORT TOPIC < lines\n");
        return 2;
    }
    struct eagre_config config = eagre_config_preset(argv[1]);
    config.connect_timeout_ms = 5000;
    if (eagre_open(&config, &client, why, sizeof(why)) != EAGRE_OK) {
        fprintf(stderr, "produce: %s\n", why);
        return 1;
    }
    struct eagre_producer_options options = eagre_producer_preset(argv[2]);
    options.create_topic = 1;
    options.on_delivery = delivered;
    options.context = &result;
    if (eagre_producer_open(client, &options, &producer, why, sizeof(why)) != EAGRE_OK) {
        fprintf(stderr, "produce: %s\n", why);
        eagre_close(client);
        return 1;
    }
    while (rc == EAGRE_OK && (count = getline(&line, &capacity, stdin)) >= 0) {
        if (count > 0 && line[count - 1] == '\n')
            count--;
        rc = send_line(client, producer, line, (size_t)count);
    }
    if (rc == EAGRE_OK)
        rc = eagre_flush_wait(producer, 30000);
    if (rc == EAGRE_OK)
        rc = result.first_error;
    if (rc != EAGRE_OK)
        fprintf(stderr, "produce: %s %s\n", eagre_rc_text(rc), eagre_why(client));
    printf("%lu stored, %lu failed\n", result.stored, result.failed);
    free(line);
    eagre_close(client);
    return rc == EAGRE_OK ? 0 : 1;
}
