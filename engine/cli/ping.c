/* eagre ping: round trips of the native door, one at a time: of the transport alone, and of one
 * record to a topic that is acknowledged from memory and to one acknowledged from the device. */
#include "engine/cli/native.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PING_TOPIC_MEMORY "eagre-ping-memory"
#define PING_TOPIC_DEVICE "eagre-ping-device"
#define PING_WAIT_S 10

struct ping {
    const struct cli_args *args;
    struct eagre_client *client;
    uint32_t count;
    uint32_t poll_us; /* 0: spins */
    uint64_t *samples;
    uint32_t sample_count;
    int rc; /* of the last delivery */
    bool is_delivered;
    json_t *rows;
};

static uint64_t
ping_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int
ping_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static double
ping_quantile_us(const struct ping *ping, double share)
{
    uint32_t idx = (uint32_t)(share * (double)(ping->sample_count - 1) + 0.5);

    return (double)ping->samples[idx] / 1000.0;
}

static void
ping_report(struct ping *ping, const char *what)
{
    static const struct {
        const char *name;
        double share;
    } columns[] = {
        {"min", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
    json_t *row = json_object();

    if (ping->sample_count == 0) {
        json_decref(row);
        return;
    }
    qsort(ping->samples, ping->sample_count, sizeof(ping->samples[0]), ping_compare);
    json_object_set_new(row, "what", json_string(what));
    json_object_set_new(row, "count", json_integer(ping->sample_count));
    if (!ping->args->json)
        printf("%-28s %8u", what, ping->sample_count);
    for (size_t i = 0; i < ARRAY_COUNT(columns); i++) {
        double us = ping_quantile_us(ping, columns[i].share);
        json_object_set_new(row, columns[i].name, json_real(us));
        if (!ping->args->json)
            printf(" %9.1f", us);
    }
    if (!ping->args->json)
        printf("\n");
    fflush(stdout);
    json_array_append_new(ping->rows, row);
}

static int
ping_transport(struct ping *ping)
{
    uint64_t rtt_ns;

    for (ping->sample_count = 0; ping->sample_count < ping->count && !cli_native_interrupted();) {
        uint64_t end_ns = ping_now_ns() + PING_WAIT_S * UINT64_C(1000000000);
        (void)eagre_ping(ping->client);
        while (eagre_pong(ping->client, &rtt_ns) != EAGRE_OK) {
            if (ping_now_ns() > end_ns || cli_native_interrupted())
                return cli_native_fail(
                    ping->args, EAGRE_TIMED_OUT, "transport", eagre_why(ping->client));
            eagre_poll(ping->client, ping->poll_us);
        }
        ping->samples[ping->sample_count++] = rtt_ns;
    }
    ping_report(ping, "transport");
    return CLI_OK;
}

static void
ping_delivered(const struct eagre_delivery *delivery, void *context)
{
    struct ping *ping = context;

    ping->is_delivered = true;
    ping->rc = delivery->rc;
}

/* One record there and its answer back. */
static int
ping_record(struct ping *ping, struct eagre_producer *producer, uint64_t *ret_ns)
{
    char value[100];
    int why = EAGRE_AGAIN;

    memset(value, 'p', sizeof(value));
    struct eagre_record record = eagre_record_of(NULL, 0, value, sizeof(value));
    record.partition = 0;
    ping->is_delivered = false;
    uint64_t begin_ns = ping_now_ns();
    while (eagre_send(producer, &record, 1, &why) == 0) {
        if (why != EAGRE_AGAIN || cli_native_interrupted())
            return why;
        eagre_poll(ping->client, 1000);
        begin_ns = ping_now_ns();
    }
    while (!ping->is_delivered && !cli_native_interrupted())
        eagre_poll(ping->client, ping->poll_us);
    *ret_ns = ping_now_ns() - begin_ns;
    return ping->rc;
}

static int
ping_topic(struct ping *ping, const char *topic)
{
    struct eagre_producer_options options = eagre_producer_preset(topic);
    struct eagre_producer *producer;
    struct eagre_topic_info info;
    char why[256];
    char what[64];
    uint64_t ns = 0;
    int status = cli_native_topic(ping->args, ping->client, topic, false, &info);

    if (status != CLI_OK)
        return status;
    options.on_delivery = ping_delivered;
    options.context = ping;
    options.delivery_timeout_ms = PING_WAIT_S * 1000;
    int rc = eagre_producer_open(ping->client, &options, &producer, why, sizeof(why));
    if (rc != EAGRE_OK)
        return cli_native_fail(ping->args, rc, topic, why);
    rc = ping_record(ping, producer, &ns); /* the id, and the first batch, are not counted */
    ping->sample_count = 0;
    while (rc == EAGRE_OK && ping->sample_count < ping->count && !cli_native_interrupted()) {
        rc = ping_record(ping, producer, &ns);
        ping->samples[ping->sample_count++] = ns;
    }
    eagre_producer_close(producer);
    if (rc != EAGRE_OK)
        return cli_native_fail(ping->args, rc, topic, NULL);
    snprintf(what, sizeof(what), "record, %s", info.is_durable ? "device" : "memory");
    ping_report(ping, what);
    return CLI_OK;
}

/* A topic of ours with that durability, made through the Kafka door when it is not there. */
static int
ping_made_topic(struct ping *ping, const char *topic, const char *durability)
{
    struct eagre_topic_info info;
    int rc = EAGRE_AGAIN;

    for (uint32_t i = 0; i < 1000 && rc == EAGRE_AGAIN; i++) {
        rc = eagre_get_topic_info(ping->client, topic, 0, &info);
        eagre_poll(ping->client, 10000);
    }
    if (rc == EAGRE_NOT_FOUND) {
        struct cli_args create = *ping->args;
        create.verb = "ping";
        create.words[0] = topic;
        create.word_count = 1;
        create.given_count = 2;
        create.given[0] = (struct cli_given){"partitions", "1"};
        create.given[1] = (struct cli_given){"durability", durability};
        create.quiet = true;
        int status = cli_topic_create(&create);
        if (status != CLI_OK)
            return status;
        for (uint32_t i = 0; i < 500 && rc != EAGRE_OK; i++) {
            rc = eagre_get_topic_info(ping->client, topic, 0, &info);
            eagre_poll(ping->client, 10000);
        }
    }
    return ping_topic(ping, topic);
}

static int
ping_all(struct ping *ping)
{
    const char *topic = cli_text(ping->args, "topic", NULL);
    int status;

    if (!ping->args->json)
        printf("%s\n%-28s %8s %9s %9s %9s %9s %9s %9s us\n",
               eagre_carrier_text(ping->client),
               "round trip",
               "count",
               "min",
               "p50",
               "p90",
               "p99",
               "p99.9",
               "max");
    status = ping_transport(ping);
    if (status != CLI_OK || cli_flag(ping->args, "transport"))
        return status;
    if (topic != NULL)
        return ping_topic(ping, topic);
    status = ping_made_topic(ping, PING_TOPIC_MEMORY, "memory");
    return status == CLI_OK ? ping_made_topic(ping, PING_TOPIC_DEVICE, "device") : status;
}

int
cli_ping(const struct cli_args *args)
{
    struct ping ping = {
        .args = args,
        .count = (uint32_t)cli_number(args, "count", 1000, 1, 10000000),
        .poll_us = cli_flag(args, "spin") ? 0 : 100000,
        .rows = json_array(),
    };

    ping.samples = malloc(ping.count * sizeof(ping.samples[0]));
    if (ping.samples == NULL)
        return cli_fail(args, CLI_FAILED, "no memory");
    cli_native_signals();
    int status = cli_native_open(args, args->words[0], &ping.client);
    if (status == CLI_OK)
        status = ping_all(&ping);
    if (args->json) {
        json_dumpf(ping.rows, stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(ping.rows);
    free(ping.samples);
    eagre_close(ping.client);
    return status;
}
